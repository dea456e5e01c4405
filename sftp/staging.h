// Uploads into /Incoming while they are under way: a file in staging/ that the partner's listings
// do not show, what of it has been written, and its SHA-256 as it grows.
//
// Staging belongs to a session and knows its names (see recovery.h); an Upload belongs to one
// handle. One thread. Functions return false or nullptr with errno set.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/bytes.h"
#include "base/c_handle.h"
#include "sftp/areas.h"
#include "sftp/hash_thread.h"
#include "sftp/ranges.h"
#include "sftp/tree.h"

namespace sallyport::sftp {

/// SHA-256 of a file that is being written: of each piece as it comes while they come in order, and
/// of what is left over by reading it back at the end. Large files are left to the second thread
/// where there is one and it is free. Must go before the file is closed.
class GrowingHash {
 public:
  explicit GrowingHash(HashThread* thread = nullptr) : thread_(thread) {}
  ~GrowingHash();
  GrowingHash(const GrowingHash&) = delete;
  GrowingHash& operator=(const GrowingHash&) = delete;

  /// `data` is in the file `fd` at `offset`.
  void written(int fd, std::uint64_t offset, std::span<const std::uint8_t> data);
  void truncated(std::uint64_t size);
  /// nullopt with errno set if the file cannot be read back, or (ECANCELED) as soon as `stopped`,
  /// which is asked now and then while a large one is.
  [[nodiscard]] std::optional<base::Sha256> finish(int fd, std::uint64_t size,
                                                   const std::function<bool()>& stopped = {});

 private:
  void rewritten();

  HashThread* thread_;
  bool in_thread_ = false;
  base::Sha256Stream stream_;
  std::uint64_t position_ = 0;
  bool rewritten_ = false;  ///< something before position_ has changed
};

struct Upload {
  explicit Upload(HashThread* thread) : hash(thread) {}

  VirtualPath path;
  base::UniqueFd fd;
  std::string staging_name;
  std::uint64_t size = 0;
  Ranges written;
  GrowingHash hash;
  /// False for a partial that was opened again and has not grown: its end is as unknown as before.
  bool touched = true;
  /// A WRITE was refused or failed: whatever else is there, it is not all that the client sent.
  bool broken = false;
  std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();

  [[nodiscard]] bool complete() const { return touched && !broken && written.covers(size); }
};

class Staging {
 public:
  /// `hash_thread` may be null.
  Staging(Tree& tree, std::string session_id, HashThread* hash_thread)
      : tree_(tree), session_id_(std::move(session_id)), hash_thread_(hash_thread) {}
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  /// A new, empty upload. Its mode is a partial's until it is complete, so that whoever finds it
  /// after a crash need not judge.
  [[nodiscard]] std::unique_ptr<Upload> create(const VirtualPath& path);
  /// Takes a partial or waiting file of the tree up again, out of the tree: to be written to (it is
  /// a partial from now on), or to be taken as it is.
  enum class Use { write, take };
  [[nodiscard]] std::unique_ptr<Upload> resume(const VirtualPath& path, Use use);
  /// Puts it into the tree under its own name: as a partial, which yields to a complete file of
  /// that name and then stays in staging/; or as a complete file, which replaces what is there.
  struct Kept {
    bool done = false;
    bool shown = false;
    std::optional<std::uint64_t> replaced;  ///< the size of an older partial
  };
  [[nodiscard]] Kept keep_partial(Upload& upload);
  /// With RENAME_NOREPLACE nothing is replaced.
  [[nodiscard]] bool place_complete(Upload& upload, unsigned flags = 0);
  /// Moves it to spool/<file id>, durably. move_back() undoes that.
  [[nodiscard]] bool move_to_spool(Upload& upload, const std::string& file_id);
  [[nodiscard]] bool move_back(Upload& upload, const std::string& file_id);

 private:
  bool add_name(const VirtualPath& path, std::string& staging_name);
  Kept show_partial(const Upload& upload);

  Tree& tree_;
  std::string session_id_;
  HashThread* hash_thread_;
  base::UniqueFd names_;
  std::uint64_t count_ = 0;
  bool left_behind_ = false;  ///< a file stays in staging/: so does the list of names
};

}  // namespace sallyport::sftp

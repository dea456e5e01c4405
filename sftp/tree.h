// A partner's directory as the session reaches it: everything by openat2 below one descriptor, with
// no symbolic link, no magic link and no way up, whatever lies there.
//
// Owned by one session; one thread. Functions that can fail for reasons of the peer return -1,
// nullopt or false with errno set, as the system calls do.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/c_handle.h"
#include "sftp/areas.h"

namespace sallyport::sftp {

/// openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS), O_CLOEXEC | O_NOFOLLOW |
/// O_NONBLOCK | O_NOCTTY added to `flags`.
[[nodiscard]] base::UniqueFd open_beneath(int directory, const char* path, int flags,
                                          mode_t mode = 0);

class Tree {
 public:
  /// Takes the partner's directory. Throws base::SystemError if tree/, staging/ or spool/ is
  /// missing.
  explicit Tree(base::UniqueFd partner_directory);

  [[nodiscard]] int partner() const { return partner_.get(); }
  [[nodiscard]] int root() const { return root_.get(); }
  [[nodiscard]] int staging() const { return staging_.get(); }
  [[nodiscard]] int spool() const { return spool_.get(); }

  /// Of a regular file or a directory; anything else does not exist (ENOENT).
  [[nodiscard]] std::optional<struct stat> status(const VirtualPath& path);
  /// A regular file; anything else is EACCES, a directory EISDIR.
  [[nodiscard]] base::UniqueFd open_file(const VirtualPath& path, int flags, mode_t mode = 0,
                                         struct stat* status = nullptr);
  [[nodiscard]] base::UniqueFd open_directory(const VirtualPath& path);
  [[nodiscard]] bool remove_file(const VirtualPath& path);
  [[nodiscard]] bool remove_directory(const VirtualPath& path);
  [[nodiscard]] bool make_directory(const VirtualPath& path, mode_t mode);
  /// renameat2 with `flags`.
  [[nodiscard]] bool rename(const VirtualPath& from, const VirtualPath& to, unsigned flags);
  /// A file or a folder, for reading: modes and times are changed by descriptor, never by name.
  [[nodiscard]] base::UniqueFd open_any(const VirtualPath& path);
  /// The folder that holds `path`, for the *at calls; valid until the next call of this class.
  [[nodiscard]] int parent(const VirtualPath& path);
  /// fsync of the folder that holds `path`.
  [[nodiscard]] bool sync_parent(const VirtualPath& path);

 private:
  base::UniqueFd partner_;
  base::UniqueFd root_;
  base::UniqueFd staging_;
  base::UniqueFd spool_;
  // The last folder asked for. Kept between calls only where folders are fixed: in /Shared another
  // session may have moved it meanwhile.
  base::UniqueFd parent_;
  std::string parent_path_;
};

/// A folder's entries, as many at a time as are asked for.
class DirectoryStream {
 public:
  explicit DirectoryStream(base::UniqueFd directory);

  struct Entry {
    std::string_view name;  ///< valid until the next call
    struct stat status;
  };
  /// Calls `each` for regular files and directories until it returns false (that entry is given
  /// again next time) or the end is reached. False with errno set if the folder cannot be read.
  [[nodiscard]] bool read(const std::function<bool(const Entry&)>& each);
  [[nodiscard]] bool finished() const { return finished_; }
  [[nodiscard]] int descriptor() const { return directory_.get(); }

 private:
  bool refill();

  base::UniqueFd directory_;
  std::vector<char> buffer_;
  std::size_t at_ = 0;
  std::size_t end_ = 0;
  bool finished_ = false;
};

}  // namespace sallyport::sftp

// Where originals go after their time in the archive (spec/gateway.md 7): a directory or an object
// store. What put() returns is safe there: its SHA-256 was compared with what was read back, or
// with what the store's own checksum said of each part.
//
// With backup.encrypt_to, what is not an encrypted message already is encrypted to that key of ours
// on its way; the journal's verdict then holds what lies there ("backup": key, size, SHA-256), and
// what comes back is decrypted and compared with the original's digest.
//
// Threads: any; a target is made for each use. Failures: BackupError with a sentence for the
// operator; nothing was recorded or removed then.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/error.h"
#include "daemon/files/context.h"
#include "store/files.h"

namespace sallyport::daemon {

class BackupError : public base::Error {
 public:
  using base::Error::Error;
};

/// The original itself cannot be backed up: it is not what was received any more, or no file. Other
/// files can.
class OriginalChanged : public BackupError {
 public:
  using BackupError::BackupError;
};

class BackupTarget {
 public:
  virtual ~BackupTarget() = default;
  /// Copies all of `fd` under `key`, a relative path of checked components that no other file has.
  /// Putting the same again is fine. Returns where it is, for fetch().
  virtual std::string put(int fd, const std::string& key, std::uint64_t size,
                          const base::Sha256& sha256) = 0;
  /// Writes what is at `location` to `fd` from its start.
  virtual void fetch(const std::string& location, int fd) = 0;
};

[[nodiscard]] std::unique_ptr<BackupTarget> make_backup_target(const Config& config);
/// For a location that some target gave, whatever the configuration is now.
[[nodiscard]] std::unique_ptr<BackupTarget> backup_target_of(const Config& config,
                                                             const std::string& location);

/// Puts the original; writes where and how it lies there into `file` (backup_at, verdict).
void put_backup(const FileContext& context, store::File& file, int fd);
/// The original back to `fd`; compares its SHA-256 with the journal's.
void fetch_backup(const FileContext& context, const store::File& file, int fd);

[[nodiscard]] std::unique_ptr<BackupTarget> make_directory_target(const std::string& root);
[[nodiscard]] std::unique_ptr<BackupTarget> make_s3_target(const Config& config);

}  // namespace sallyport::daemon

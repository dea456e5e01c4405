// File work that survives a power cut: write, fsync, rename, fsync the directory (a rename without
// the last came back under the old name on ext4 and XFS).
//
// Thread-safe. Everything throws SystemError that names the path.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/c_handle.h"

namespace sallyport::base {

/// open(2) with O_CLOEXEC.
[[nodiscard]] UniqueFd open_file(const std::filesystem::path& path, int flags, mode_t mode = 0600);
void write_all(int fd, std::string_view data, const std::string& what);
[[nodiscard]] std::string read_file(const std::filesystem::path& path,
                                    std::size_t limit = 16 * 1024 * 1024);

void fsync_file(int fd, const std::string& what);
void fsync_directory(const std::filesystem::path& directory);

/// Replaces `path` by a file with `content`: hidden temporary beside it, fsync, rename, fsync of the
/// directory.
void write_file_durably(const std::filesystem::path& path, std::string_view content,
                        mode_t mode = 0600);

/// Renames within one file system and fsyncs both directories. Replaces nothing: returns false when
/// the target exists (renameat2 RENAME_NOREPLACE).
[[nodiscard]] bool rename_durably(const std::filesystem::path& from,
                                  const std::filesystem::path& to);

/// Makes the directory and its parents; existing ones are left as they are.
void make_directories(const std::filesystem::path& path, mode_t mode = 0750);

struct FileDigest {
  std::uint64_t size = 0;
  Sha256 sha256{};
};
[[nodiscard]] FileDigest digest_file(int fd, const std::string& what);

}  // namespace sallyport::base

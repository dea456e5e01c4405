// An open directory and what is done in it. All work on partners' trees, on inbound, outbound and
// backup goes through descriptors: below the directory that was opened, never through a symbolic
// link, so that nothing that somebody plants in a tree leads out of it.
//
// Names are single components, relative paths are checked (daemon/files/names.h). Thread-safe as
// far as the file system is. Failures throw base::SystemError that names the path; what is expected
// (not there, name taken) is a value.
#pragma once

#include <sys/stat.h>

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/c_handle.h"

namespace sallyport::daemon {

class Directory {
 public:
  /// The configured root itself may be reached through links; nothing below it may.
  [[nodiscard]] static Directory open(const std::filesystem::path& path);

  /// A directory below this one; "" is this one again. nullopt if it (or a part of the way) is not
  /// there. Throws if a part of the way is a link or no directory.
  [[nodiscard]] std::optional<Directory> find(std::string_view relative) const;
  /// As find(), making what is missing, synced, with `mode` whatever the umask and the group of the
  /// directory above if `mode` gives the group anything.
  [[nodiscard]] Directory make(std::string_view relative, mode_t mode) const;

  /// What is there under the name, a link itself, not what it leads to. nullopt: nothing.
  [[nodiscard]] std::optional<struct ::stat> look(std::string_view name) const;
  /// A regular file for reading; nullopt if there is nothing of the name. Throws for anything else
  /// that has the name.
  [[nodiscard]] std::optional<base::UniqueFd> open_file(std::string_view name) const;
  /// A new file for reading and writing; one of the same name that a crash left is removed first.
  [[nodiscard]] base::UniqueFd make_file(std::string_view name, mode_t mode) const;
  /// Gives a file a second name here, taking it from what has it; false where the file system has
  /// no such thing.
  [[nodiscard]] bool link_file(std::string_view name, std::string_view second) const;
  /// False if there was none.
  bool remove_file(std::string_view name) const;
  [[nodiscard]] std::vector<std::string> list() const;
  void sync() const;

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  Directory(base::UniqueFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
  base::UniqueFd fd_;
  std::string path_;  ///< for messages
};

enum class Moved { yes, no_source, name_taken };
/// Renames within one file system, replacing nothing, and syncs both directories, the target
/// first.
[[nodiscard]] Moved move_file(const Directory& from, std::string_view name, const Directory& to,
                              std::string_view new_name);

/// A file of ours for those who share the directory by its group: that group and `mode`, whatever
/// the umask.
void share_file(int fd, const Directory& directory, mode_t mode, const std::string& what);

/// Copies all of `from` (from its start) to `to` (at its start), by reflink or in the kernel where
/// the file systems can. Not synced.
void copy_content(int from, int to, const std::string& what);

}  // namespace sallyport::daemon

// Virtual paths and the areas of a partner's tree: what a peer's path means, which part of the tree
// it lies in, and what may be done there (spec/gateway.md 2). One place holds the permissions;
// every request goes through allowed().
//
// Pure and thread-safe; nothing here fails but by its return value.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sftp/broker.h"

namespace sallyport::sftp {

/// A broken or incomplete upload of tree/Incoming, told from a complete file by the group's execute
/// bit: a mode survives renames, needs no extended attributes (tmpfs of Linux 6.1 has none), and
/// partners cannot change modes there.
inline constexpr mode_t complete_mode = 0660;
inline constexpr mode_t partial_mode = 0670;
[[nodiscard]] constexpr bool is_partial(mode_t mode) noexcept {
  return (mode & 0010) != 0;
}

/// What a partner may make of the mode of something in /Shared. Its sessions have to be able to
/// open it, to change that again; and the daemon, which is of the group, looks into folders to
/// measure the quota.
[[nodiscard]] constexpr mode_t kept_mode(std::uint32_t wanted, bool is_folder) noexcept {
  return (wanted & 0777) | (is_folder ? 0550 : 0400);
}

enum class Area { top, incoming, outgoing, archive, shared };

/// An absolute path of the partner's view without ".", ".." and empty parts: "/", "/Incoming/a".
class VirtualPath {
 public:
  /// The root.
  VirtualPath() = default;

  /// What the peer's `raw` means when it is in `base`. ".." at the root stays at the root. nullopt
  /// if a part is no UTF-8, longer than 255 bytes or holds control characters, or if the whole is
  /// longer than 4096 bytes: why_bad() then says so to the peer.
  [[nodiscard]] static std::optional<VirtualPath> resolve(std::string_view base,
                                                          std::string_view raw);
  [[nodiscard]] static std::string_view why_bad(std::string_view base, std::string_view raw);

  [[nodiscard]] const std::string& text() const { return text_; }
  /// The same without the slash in front, "." for the root: for openat2 below tree/.
  [[nodiscard]] const char* relative() const { return text_.size() == 1 ? "." : text_.c_str() + 1; }
  /// The last part; empty for the root.
  [[nodiscard]] std::string_view name() const;
  /// The path without its last part, as relative() writes it.
  [[nodiscard]] std::string parent() const;
  [[nodiscard]] std::size_t depth() const { return depth_; }
  [[nodiscard]] std::string_view part(std::size_t index) const;
  [[nodiscard]] Area area() const;
  /// Below /Incoming: the folder's name, empty for a file directly in it. `depth` counts the file.
  [[nodiscard]] std::string_view object() const {
    return depth_ >= 3 ? part(1) : std::string_view{};
  }
  /// True if it was written as a folder's: with a slash at its end. "put x /Incoming/Invocies/"
  /// must not make a file of that name.
  [[nodiscard]] bool for_folder() const { return for_folder_; }
  /// True if `other` is this path or lies below it.
  [[nodiscard]] bool holds(const VirtualPath& other) const;

 private:
  std::string text_ = "/";
  std::size_t depth_ = 0;
  bool for_folder_ = false;
};

enum class Operation {
  look,  ///< STAT, LSTAT, OPENDIR
  read,
  write,  ///< create, overwrite or truncate a file
  remove,
  rename,  ///< asked for both names
  make_directory,
  remove_directory,
  set_times_or_size,
};

/// The one permission check.
[[nodiscard]] bool allowed(Operation operation, const VirtualPath& path,
                           const SessionPolicy& policy);
/// False for what the partner must not even know of (/Shared while it is off).
[[nodiscard]] bool visible(const VirtualPath& path, const SessionPolicy& policy);

/// How a file or folder of this area looks to the partner, as mode bits with type.
[[nodiscard]] mode_t shown_mode(Area area, std::size_t depth, mode_t mode,
                                const SessionPolicy& policy);

/// True if one of the patterns (with * and ?) matches the whole name: such a file waits for its
/// ready name.
[[nodiscard]] bool is_not_ready(std::string_view name, const std::vector<std::string>& patterns);
[[nodiscard]] bool matches(std::string_view pattern, std::string_view name);

}  // namespace sallyport::sftp

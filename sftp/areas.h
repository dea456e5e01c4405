// The areas of a partner's tree: which part of it a virtual path lies in, and what may be done
// there (spec/gateway.md 2). One place holds the permissions; every request goes through allowed().
//
// Pure and thread-safe; nothing here fails.
#pragma once

#include <sys/stat.h>

#include <string>
#include <string_view>

namespace sallyport::sftp {

/// A broken or incomplete upload of tree/Incoming, told from a complete file by the group's execute
/// bit: a mode survives renames, needs no extended attributes (tmpfs of Linux 6.1 has none), and
/// partners cannot change modes there.
inline constexpr mode_t complete_mode = 0660;
inline constexpr mode_t partial_mode = 0670;
[[nodiscard]] constexpr bool is_partial(mode_t mode) noexcept {
  return (mode & 0010) != 0;
}

}  // namespace sallyport::sftp

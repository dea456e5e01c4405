// What files are called on their way: the name without its PGP ending, names that give way to one
// that is taken, virtual paths, and which parts of a path may be used at all.
//
// Pure and thread-safe. Names come from partners: everything here works on single path components
// and never makes a separator, "." or ".." out of one.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/instant.h"

namespace sallyport::daemon {

/// The longest name a file system takes.
inline constexpr std::size_t max_name_bytes = 255;

/// The components of a relative path, if each of them may be used: UTF-8 of 1 to 255 bytes without
/// control characters, neither "." nor "..". nullopt otherwise, and for the empty path.
[[nodiscard]] std::optional<std::vector<std::string>> split_name(std::string_view relative);
[[nodiscard]] bool is_component(std::string_view text);

/// True for NAME.pgp, NAME.gpg and NAME.asc in any case, where NAME is not empty.
[[nodiscard]] bool has_pgp_ending(std::string_view name);
[[nodiscard]] std::string without_pgp_ending(std::string_view name);

/// "invoice.csv" and "2" become "invoice-2.csv", "invoice.csv.pgp" becomes "invoice-2.csv.pgp". The
/// stem is cut (between characters) where the name would be longer than a file system takes.
[[nodiscard]] std::string with_tag(std::string_view name, std::string_view tag);
/// `name` and `ending`, the name cut where both would be too long.
[[nodiscard]] std::string with_ending(std::string_view name, std::string_view ending);

/// "20261122T143000Z": an instant as part of a name.
[[nodiscard]] std::string name_time(base::Instant instant);

/// "/Archive/Incoming/Invoices/2026/x.csv" of "/Archive/Incoming", "Invoices", "2026/x.csv".
[[nodiscard]] std::string virtual_path(std::string_view area, std::string_view object,
                                       std::string_view name);
/// The directory and the last component of a relative path: "2026/x.csv" -> {"2026", "x.csv"}.
struct SplitPath {
  std::string directory;
  std::string name;
};
[[nodiscard]] SplitPath split_last(std::string_view path);
[[nodiscard]] std::string join(std::string_view directory, std::string_view name);

}  // namespace sallyport::daemon

// Percent-encoding and query strings. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sallyport::daemon {

/// nullopt for a broken escape, a NUL, or what is not UTF-8 afterwards. `plus_is_space` for queries
/// and forms.
[[nodiscard]] std::optional<std::string> percent_decode(std::string_view text, bool plus_is_space);

/// Every byte but unreserved ones (RFC 3986) encoded.
[[nodiscard]] std::string percent_encode(std::string_view text);

/// For the value of a header: printable ASCII stays, but for '%', anything in `also`, and spaces at
/// the ends; the rest is percent-encoded. Nothing that ends a header comes through.
[[nodiscard]] std::string header_encode(std::string_view text, std::string_view also = {});
void append_header_encoded(std::string& out, std::string_view text, std::string_view also = {});

/// "a=1&b=2", names and values decoded, in order; nullopt if any of it is malformed.
[[nodiscard]] std::optional<std::vector<std::pair<std::string, std::string>>> parse_query(
    std::string_view text);

}  // namespace sallyport::daemon

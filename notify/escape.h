// Makes foreign text (names, reasons, server answers) harmless before it is put into a subject, a
// mail body or HTML. Pure.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sallyport::notify {

/// One line: control characters, line and paragraph separators become a space, bidirectional
/// overrides vanish, ill-formed UTF-8 becomes U+FFFD, runs of spaces become one; cut to at most
/// `max_code_points` with an ellipsis.
[[nodiscard]] std::string clean_line(std::string_view text, std::size_t max_code_points = 200);

/// Escapes & < > " ' for element content and quoted attributes.
[[nodiscard]] std::string html_escape(std::string_view text);

/// `text` as one word of a POSIX shell: as it is where that is safe, else in single quotes.
[[nodiscard]] std::string shell_word(std::string_view text);

/// True for an http or https URL of printable ASCII that may become a link.
[[nodiscard]] bool is_web_link(std::string_view url) noexcept;

}  // namespace sallyport::notify

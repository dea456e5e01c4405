#include "notify/escape.h"

#include <algorithm>
#include <cstdint>

namespace sallyport::notify {
namespace {

constexpr char32_t replacement = 0xFFFD;

struct Decoded {
  char32_t code_point;
  std::size_t length;  // bytes used, at least 1
};

/// The code point that starts `text`; U+FFFD and one byte where it is ill-formed.
Decoded decode(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t first = byte(0);
  if (first < 0x80) return {first, 1};
  const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < length) return {replacement, 1};
  char32_t value = first & (0xFFU >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0U) != 0x80) return {replacement, 1};
    value = (value << 6) | (byte(i) & 0x3FU);
  }
  constexpr char32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  if (value < least[length] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF))
    return {replacement, 1};
  return {value, length};
}

bool is_separator(char32_t c) {
  return c <= 0x20 || (c >= 0x7F && c <= 0xA0) || c == 0x2028 || c == 0x2029;
}

/// Characters that reorder or hide the text around them: a name must not rewrite a warning.
bool is_invisible_control(char32_t c) {
  return (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069) || c == 0x200E ||
         c == 0x200F || c == 0x061C || c == 0xFEFF || (c >= 0xE0000 && c <= 0xE007F);
}

}  // namespace

std::string clean_line(std::string_view text, std::size_t max_code_points) {
  std::string out;
  std::size_t count = 0;
  bool space_due = false;
  std::size_t keep = 0;  // where to cut if an ellipsis has to fit
  while (!text.empty()) {
    const Decoded next = decode(text);
    const std::string_view raw = text.substr(0, next.length);
    text.remove_prefix(next.length);
    if (is_separator(next.code_point)) {
      space_due = !out.empty();
      continue;
    }
    if (is_invisible_control(next.code_point)) continue;
    if (count + (space_due ? 2 : 1) > max_code_points) {
      out.resize(keep);
      return out + "\u2026";
    }
    if (space_due) {
      out += ' ';
      ++count;
      space_due = false;
    }
    if (next.code_point == replacement)
      out += "\uFFFD";
    else
      out += raw;
    ++count;
    if (count < max_code_points) keep = out.size();
  }
  return out;
}

std::string html_escape(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string shell_word(std::string_view text) {
  const bool safe =
      !text.empty() && text.front() != '-' && std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               std::string_view("_-./:@%+,").find(c) != std::string_view::npos;
      });
  if (safe) return std::string(text);
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'')
      out += "'\\''";
    else
      out += c;
  }
  return out + "'";
}

bool is_web_link(std::string_view url) noexcept {
  const bool scheme = url.starts_with("https://") || url.starts_with("http://");
  return scheme && url.size() <= 2000 &&
         std::all_of(url.begin(), url.end(), [](char c) { return c > ' ' && c < '\x7f'; });
}

}  // namespace sallyport::notify

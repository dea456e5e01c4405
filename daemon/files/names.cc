#include "daemon/files/names.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "base/bytes.h"

namespace sallyport::daemon {
namespace {

constexpr std::array<std::string_view, 3> pgp_endings{".pgp", ".gpg", ".asc"};

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
    return std::tolower(x) == std::tolower(y);
  });
}

/// At most `limit` bytes of `text`, never ending within a character.
std::string_view cut(std::string_view text, std::size_t limit) {
  if (text.size() <= limit) return text;
  while (limit > 0 && (static_cast<unsigned char>(text[limit]) & 0xC0) == 0x80) --limit;
  return text.substr(0, limit);
}

/// Where the extension begins: ".csv" of "x.csv", ".csv.pgp" of "x.csv.pgp". A leading dot begins
/// no extension.
std::size_t extension_start(std::string_view name) {
  std::size_t end = name.size();
  if (has_pgp_ending(name)) end -= 4;
  const std::size_t dot = name.substr(0, end).rfind('.');
  return dot == std::string_view::npos || dot == 0 ? end : dot;
}

}  // namespace

bool is_component(std::string_view text) {
  return !text.empty() && text.size() <= max_name_bytes && text != "." && text != ".." &&
         text.find('/') == std::string_view::npos && !base::has_control(text) &&
         base::is_utf8(text);
}

std::optional<std::vector<std::string>> split_name(std::string_view relative) {
  std::vector<std::string> parts;
  for (;;) {
    const std::size_t slash = relative.find('/');
    const std::string_view part = relative.substr(0, slash);
    if (!is_component(part)) return std::nullopt;
    parts.emplace_back(part);
    if (slash == std::string_view::npos) return parts;
    relative.remove_prefix(slash + 1);
  }
}

bool has_pgp_ending(std::string_view name) {
  return name.size() > 4 &&
         std::any_of(pgp_endings.begin(), pgp_endings.end(), [name](std::string_view ending) {
           return equal_ignoring_case(name.substr(name.size() - 4), ending);
         });
}

std::string without_pgp_ending(std::string_view name) {
  if (has_pgp_ending(name)) {
    const std::string_view stem = name.substr(0, name.size() - 4);
    if (is_component(stem)) return std::string(stem);
  }
  return std::string(name);
}

std::string with_tag(std::string_view name, std::string_view tag) {
  const std::size_t start = extension_start(name);
  std::string_view stem = name.substr(0, start);
  std::string_view extension = name.substr(start);
  const std::size_t more = tag.size() + 1;
  // An extension that fills the name is no extension worth keeping whole.
  extension = cut(extension, max_name_bytes / 2);
  stem = cut(stem, max_name_bytes - more - extension.size());
  std::string result(stem);
  result += '-';
  result += tag;
  result += extension;
  return result;
}

std::string with_ending(std::string_view name, std::string_view ending) {
  return std::string(cut(name, max_name_bytes - ending.size())) + std::string(ending);
}

std::string name_time(base::Instant instant) {
  std::string text = base::format_iso(instant);
  text.erase(std::remove_if(text.begin(), text.end(), [](char c) { return c == '-' || c == ':'; }),
             text.end());
  return text;
}

std::string virtual_path(std::string_view area, std::string_view object, std::string_view name) {
  std::string path(area);
  if (!object.empty()) path.append("/").append(object);
  return path.append("/").append(name);
}

SplitPath split_last(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return {"", std::string(path)};
  return {std::string(path.substr(0, slash)), std::string(path.substr(slash + 1))};
}

std::string join(std::string_view directory, std::string_view name) {
  if (directory.empty()) return std::string(name);
  if (name.empty()) return std::string(directory);
  return std::string(directory).append("/").append(name);
}

}  // namespace sallyport::daemon

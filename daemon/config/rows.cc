#include "daemon/config/rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

#include "base/bytes.h"
#include "daemon/config/nearest.h"
#include "daemon/net/ip.h"

namespace sallyport::daemon::rows {
namespace {

bool all_of(std::string_view text, std::string_view more) {
  return std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           more.find(c) != more.npos;
  });
}

struct Unit {
  std::string_view name;
  std::uint64_t bytes;
};
// The largest first, so that printing takes the shortest form.
constexpr std::array<Unit, 5> units{
    {{"TiB", 1ULL << 40}, {"GiB", 1ULL << 30}, {"MiB", 1ULL << 20}, {"KiB", 1ULL << 10}, {"B", 1}}};

}  // namespace

Problem anything(const std::string& text) {
  if (base::has_control(text)) return "has control characters";
  return std::nullopt;
}

Problem not_empty(const std::string& text) {
  if (text.empty()) return "must not be empty";
  return anything(text);
}

Problem absolute_path(const std::string& text) {
  if (text.front() != '/' || base::has_control(text)) return "must be an absolute path";
  return std::nullopt;
}

Problem identifier(const std::string& text) {
  if (text.empty() || text.size() > 64 || !all_of(text, "-_.")) {
    return "must be 1 to 64 letters, digits, '-', '_' or '.'";
  }
  return std::nullopt;
}

Problem mail_address(const std::string& text) {
  const std::size_t at = text.rfind('@');
  const bool good = at != text.npos && at > 0 && at + 1 < text.size() && text.size() <= 254 &&
                    text.find('@') == at && all_of(text.substr(at + 1), "-.") &&
                    all_of(text.substr(0, at), "!#$%&'*+/=?^_`{|}~.-");
  if (!good) return "must be a mail address such as ops@example.com (ASCII only)";
  return std::nullopt;
}

Problem listen_address(const std::string& text) {
  const Problem wrong = "must be ADDRESS:PORT such as 127.0.0.1:8480 or [::1]:8480";
  const std::size_t colon = text.rfind(':');
  if (colon == text.npos || colon == 0) return wrong;
  std::string host = text.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
    if (host.find(':') == host.npos) return wrong;
  } else if (host.find(':') != host.npos) {
    return wrong;
  }
  unsigned port = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data() + colon + 1, end, port);
  if (error != std::errc{} || stop != end || port > 65535 || !IpAddress::parse(host)) return wrong;
  return std::nullopt;
}

Problem ip_range(const std::string& text) {
  auto parsed = IpRange::parse(text);
  if (!parsed.range) return "is no range: " + parsed.problem;
  return std::nullopt;
}

Problem http_url(const std::string& text) {
  const bool scheme = text.rfind("https://", 0) == 0 || text.rfind("http://", 0) == 0;
  const bool printable =
      std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f && c != '"'; });
  if (!scheme || !printable || text.find("//") + 2 >= text.size()) {
    return "must be an http:// or https:// address";
  }
  return std::nullopt;
}

Problem name_pattern(const std::string& text) {
  if (text.empty() || text.size() > 255 || base::has_control(text) || text.find('/') != text.npos) {
    return "must be a file name with * and ?";
  }
  return std::nullopt;
}

Problem object_name(const std::string& text) {
  if (text.empty() || text.size() > 64 || !all_of(text, "-_ .") || text.front() == '.' ||
      text.front() == ' ' || text.back() == ' ') {
    return "must be a folder name of letters, digits, '-', '_', '.' or spaces";
  }
  return std::nullopt;
}

Problem virtual_directory(const std::string& text) {
  if (text.front() != '/' || base::has_control(text) || (text + "/").find("/../") != text.npos ||
      (text + "/").find("/./") != text.npos || text.find("//") != text.npos) {
    return "must be a path from '/' without '.' and '..'";
  }
  return std::nullopt;
}

Problem credential(const std::string& text) {
  if (text.find('/') == text.npos) return identifier(text);
  return absolute_path(text);
}

Problem read(const RawValue& raw, bool& value) {
  const bool* got = std::get_if<bool>(&raw.value);
  if (got == nullptr) return "must be true or false";
  value = *got;
  return std::nullopt;
}

Problem read(const RawValue& raw, std::int64_t& value) {
  const auto* got = std::get_if<std::int64_t>(&raw.value);
  if (got == nullptr) return "must be a whole number";
  value = *got;
  return std::nullopt;
}

Problem read_size(const RawValue& raw, std::uint64_t& value) {
  const Problem wrong = "must be a number of bytes, or a text such as \"64 MiB\" or \"unlimited\"";
  if (const auto* number = std::get_if<std::int64_t>(&raw.value)) {
    if (*number < 0) return wrong;
    value = static_cast<std::uint64_t>(*number);
    return std::nullopt;
  }
  const auto* text = std::get_if<std::string>(&raw.value);
  if (text == nullptr) return wrong;
  if (*text == "unlimited") {
    value = no_limit;
    return std::nullopt;
  }
  std::uint64_t count = 0;
  const char* end = text->data() + text->size();
  const auto [stop, error] = std::from_chars(text->data(), end, count);
  if (error != std::errc{}) return wrong;
  std::string_view rest(stop, static_cast<std::size_t>(end - stop));
  if (!rest.empty() && rest.front() == ' ') rest.remove_prefix(1);
  for (const Unit& unit : units) {
    if (rest == unit.name || (rest.empty() && unit.bytes == 1)) {
      if (count > std::numeric_limits<std::int64_t>::max() / unit.bytes) return wrong;
      value = count * unit.bytes;
      return std::nullopt;
    }
  }
  return wrong;
}

Problem read(const RawValue& raw, base::Seconds& value) {
  if (const auto* text = std::get_if<std::string>(&raw.value)) {
    if (const auto parsed = base::parse_duration(*text)) {
      value = *parsed;
      return std::nullopt;
    }
  }
  return "must be a length of time such as \"90s\", \"10min\", \"2h\" or \"7d\"";
}

Problem read(const RawValue& raw, base::Period& value) {
  if (const auto* text = std::get_if<std::string>(&raw.value)) {
    if (const auto parsed = base::parse_period(*text)) {
      value = *parsed;
      return std::nullopt;
    }
  }
  return "must be a calendar period such as \"P1Y\" or \"P6M\"";
}

Problem read(const RawValue& raw, std::string& value) {
  const auto* got = std::get_if<std::string>(&raw.value);
  if (got == nullptr) return "must be a text in quotes";
  if (!base::is_utf8(*got) || got->find('\0') != got->npos) return "must be UTF-8 text";
  value = *got;
  return std::nullopt;
}

Problem read(const RawValue& raw, std::vector<std::string>& value) {
  const auto* items = std::get_if<std::vector<RawValue>>(&raw.value);
  if (items == nullptr) return "must be a list of texts: [\"...\", \"...\"]";
  for (const RawValue& item : *items) {
    if (auto problem = read(item, value.emplace_back())) return "must be a list of texts";
  }
  return std::nullopt;
}

Problem read(const RawValue& raw, std::vector<base::Seconds>& value) {
  const auto* items = std::get_if<std::vector<RawValue>>(&raw.value);
  if (items == nullptr) return "must be a list of lengths of time: [\"7d\", \"2d\"]";
  for (const RawValue& item : *items) {
    if (auto problem = read(item, value.emplace_back())) return problem;
  }
  return std::nullopt;
}

Problem read_entries(const RawValue& raw, const std::vector<Column>& columns,
                     std::vector<TableEntry>& entries) {
  const auto* items = std::get_if<std::vector<RawValue>>(&raw.value);
  if (items == nullptr) return "must be written as tables: [[...]]";
  for (const RawValue& item : *items) {
    const auto* table = std::get_if<std::shared_ptr<RawTable>>(&item.value);
    if (table == nullptr) return "must be written as tables: [[...]]";
    TableEntry& entry = entries.emplace_back();
    entry.position = fmt::format("line {}", item.line);
    for (const auto& field : **table) {
      const auto column = std::find_if(columns.begin(), columns.end(),
                                       [&](const Column& one) { return one.name == field.first; });
      if (column == columns.end()) {
        std::vector<std::string> names;
        for (const Column& one : columns) names.emplace_back(one.name);
        return fmt::format("has an unknown '{}' in line {}{}", field.first, field.second.line,
                           did_you_mean(field.first, names));
      }
      Problem problem;
      switch (column->type) {
        case Column::text: {
          std::string text;
          problem = read(field.second, text);
          entry.values[field.first] = std::move(text);
          break;
        }
        case Column::number: {
          std::int64_t number = 0;
          problem = read(field.second, number);
          if (!problem && number < 0) problem = "must not be negative";
          entry.values[field.first] = number;
          break;
        }
        case Column::flag: {
          bool on = false;
          problem = read(field.second, on);
          entry.values[field.first] = on;
          break;
        }
        case Column::list: {
          std::vector<std::string> texts;
          problem = read(field.second, texts);
          entry.values[field.first] = std::move(texts);
          break;
        }
      }
      if (problem) {
        return fmt::format("has '{}' in line {}, which {}", field.first, field.second.line,
                           *problem);
      }
    }
    for (const Column& column : columns) {
      if (column.required && !entry.has(column.name)) {
        return fmt::format("lacks '{}' in the table of line {}", column.name, item.line);
      }
    }
  }
  return std::nullopt;
}

std::string toml_text(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(static_cast<unsigned char>(c)));
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string print_size(std::uint64_t bytes) {
  if (bytes == no_limit) return "\"unlimited\"";
  for (const Unit& unit : units) {
    if (unit.bytes > 1 && bytes >= unit.bytes && bytes % unit.bytes == 0) {
      return fmt::format("\"{} {}\"", bytes / unit.bytes, unit.name);
    }
  }
  return std::to_string(bytes);
}

std::string print_list(const std::vector<std::string>& texts) {
  std::string out = "[";
  for (const std::string& text : texts) out += (out.size() > 1 ? ", " : "") + toml_text(text);
  return out + "]";
}

std::string print_list(const std::vector<base::Seconds>& lengths) {
  std::vector<std::string> texts;
  for (const base::Seconds length : lengths) texts.push_back(base::format_duration(length));
  return print_list(texts);
}

}  // namespace sallyport::daemon::rows

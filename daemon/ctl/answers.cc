#include "daemon/ctl/answers.h"

#include <fmt/format.h>

namespace sallyport::daemon::ctl {

std::string text_of(const Json& value) {
  if (const auto* text = value.if_string()) return *text;
  return value.is_null() ? "" : value.dump();
}

std::int64_t number_of(const Json& value) {
  const auto* number = value.if_int();
  return number == nullptr ? 0 : *number;
}

bool is_true(const Json& value) {
  const bool* flag = value.if_bool();
  return flag != nullptr && *flag;
}

const Json::Array& items_of(const Json& list) {
  static const Json::Array none;
  const auto* items = list.if_array();
  return items == nullptr ? none : *items;
}

std::string joined(const Json& list, std::string_view when_empty) {
  std::string out;
  for (const Json& item : items_of(list)) {
    const bool named = item.find("displayName") != nullptr;
    out += (out.empty() ? "" : ", ") + text_of(named ? item["displayName"] : item);
  }
  return out.empty() ? std::string(when_empty) : out;
}

std::optional<base::Instant> instant_of(const Json& milliseconds) {
  const auto* number = milliseconds.if_int();
  if (number == nullptr) return std::nullopt;
  return base::from_unix(*number / 1000);
}

std::string when(const Json& milliseconds) {
  const auto instant = instant_of(milliseconds);
  return instant ? base::format_utc(*instant) : "";
}

std::string time_text(const std::string& iso) {
  if (iso.size() != 20) return iso;
  return iso.substr(0, 10) + " " + iso.substr(11, 8);
}

std::string time_or_never(const Json& iso) {
  return iso.is_null() ? "never" : time_text(text_of(iso));
}

std::string size_text(std::int64_t bytes) {
  constexpr std::int64_t kibi = 1024;
  if (bytes < kibi) return fmt::format("{} B", bytes);
  const char* const units[] = {"KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  int unit = -1;
  while (value >= 1024 && unit < 3) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{:.1f} {}", value, units[unit]);
}

}  // namespace sallyport::daemon::ctl

#include "base/instant.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

namespace sallyport::base {
namespace {

namespace chrono = std::chrono;

/// Reads a whole run of digits at `position` and moves past it; nullopt for none or too many.
std::optional<std::int64_t> digits(std::string_view text, std::size_t& position, std::size_t most) {
  const std::size_t start = position;
  while (position < text.size() && text[position] >= '0' && text[position] <= '9') ++position;
  if (position == start || position - start > most) return std::nullopt;
  std::int64_t value = 0;
  std::from_chars(text.data() + start, text.data() + position, value);
  return value;
}

std::optional<std::int64_t> fixed_digits(std::string_view text, std::size_t at, std::size_t count) {
  if (at + count > text.size()) return std::nullopt;
  std::size_t position = at;
  const auto value = digits(text.substr(0, at + count), position, count);
  return position == at + count ? value : std::nullopt;
}

struct Unit {
  std::string_view name;
  std::int64_t seconds;
};
constexpr std::array duration_units{Unit{"w", 7 * 86400}, Unit{"d", 86400}, Unit{"h", 3600},
                                    Unit{"min", 60}, Unit{"s", 1}};

}  // namespace

Instant start_of_day(Instant instant) {
  return chrono::floor<chrono::days>(instant);
}

Instant end_of_day(Instant instant) {
  return start_of_day(instant) + one_day;
}

std::optional<Period> parse_period(std::string_view text) {
  if (text.size() < 2 || text.front() != 'P') return std::nullopt;
  Period period;
  const std::array<std::pair<char, std::int32_t*>, 4> parts{
      {{'Y', &period.years}, {'M', &period.months}, {'W', &period.weeks}, {'D', &period.days}}};
  std::size_t position = 1;
  std::size_t next_part = 0;
  while (position < text.size()) {
    const auto value = digits(text, position, 5);
    if (!value || position >= text.size()) return std::nullopt;
    while (next_part < parts.size() && parts[next_part].first != text[position]) ++next_part;
    if (next_part == parts.size()) return std::nullopt;
    // Beyond these the calendar's own years would wrap.
    if (text[position] == 'Y' && *value > 9999) return std::nullopt;
    *parts[next_part++].second = static_cast<std::int32_t>(*value);
    ++position;
  }
  return period;
}

std::string format_period(const Period& period) {
  if (period.is_zero()) return "P0D";
  std::string text = "P";
  if (period.years != 0) text += fmt::format("{}Y", period.years);
  if (period.months != 0) text += fmt::format("{}M", period.months);
  if (period.weeks != 0) text += fmt::format("{}W", period.weeks);
  if (period.days != 0) text += fmt::format("{}D", period.days);
  return text;
}

Instant add(Instant instant, const Period& period) {
  const chrono::sys_days day = chrono::floor<chrono::days>(instant);
  const Seconds time_of_day = instant - day;
  chrono::year_month_day date{day};
  date += chrono::years{period.years} + chrono::months{period.months};
  if (!date.ok()) date = date.year() / date.month() / chrono::last;
  const chrono::sys_days moved =
      chrono::sys_days{date} + chrono::weeks{period.weeks} + chrono::days{period.days};
  return moved + time_of_day;
}

std::string format_iso(Instant instant) {
  const chrono::sys_days day = chrono::floor<chrono::days>(instant);
  const chrono::year_month_day date{day};
  const chrono::hh_mm_ss time{instant - day};
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     time.hours().count(), time.minutes().count(), time.seconds().count());
}

std::string format_utc(Instant instant) {
  std::string text = format_iso(instant);
  text[text.size() - 10] = ' ';
  text.back() = ' ';
  return text + "UTC";
}

std::string format_date(Instant instant) {
  const std::string text = format_iso(instant);
  return text.substr(0, text.find('T'));
}

std::string format_relative(Instant instant, Instant now) {
  const std::int64_t seconds = (instant - now).count();
  const std::int64_t distance = seconds < 0 ? -seconds : seconds;
  const auto [unit, size] = [distance]() -> std::pair<const char*, std::int64_t> {
    if (distance >= 86400) return {"day", 86400};
    if (distance >= 3600) return {"hour", 3600};
    if (distance >= 60) return {"minute", 60};
    return {"second", 1};
  }();
  if (distance == 0) return "now";
  const std::int64_t count = distance / size;
  const std::string amount = fmt::format("{} {}{}", count, unit, count == 1 ? "" : "s");
  return seconds > 0 ? "in " + amount : amount + " ago";
}

std::optional<Instant> parse_instant(std::string_view text) {
  if (text.size() != 10 && text.size() != 20) return std::nullopt;
  const auto year = fixed_digits(text, 0, 4);
  const auto month = fixed_digits(text, 5, 2);
  const auto day = fixed_digits(text, 8, 2);
  if (!year || !month || !day || text[4] != '-' || text[7] != '-') return std::nullopt;
  const chrono::year_month_day date{chrono::year{static_cast<int>(*year)},
                                    chrono::month{static_cast<unsigned>(*month)},
                                    chrono::day{static_cast<unsigned>(*day)}};
  if (!date.ok()) return std::nullopt;
  Instant instant = chrono::sys_days{date};
  if (text.size() == 10) return instant;
  const auto hour = fixed_digits(text, 11, 2);
  const auto minute = fixed_digits(text, 14, 2);
  const auto second = fixed_digits(text, 17, 2);
  if (!hour || !minute || !second || *hour > 23 || *minute > 59 || *second > 59)
    return std::nullopt;
  if (text[10] != 'T' || text[13] != ':' || text[16] != ':' || text[19] != 'Z') return std::nullopt;
  return instant + chrono::hours{*hour} + chrono::minutes{*minute} + Seconds{*second};
}

std::optional<Seconds> parse_duration(std::string_view text) {
  if (text == "0") return Seconds{0};
  std::size_t position = 0;
  const auto value = digits(text, position, 12);
  if (!value) return std::nullopt;
  const std::string_view unit = text.substr(position);
  for (const Unit& known : duration_units) {
    if (known.name != unit) continue;
    if (*value > std::numeric_limits<std::int64_t>::max() / known.seconds) return std::nullopt;
    return Seconds{*value * known.seconds};
  }
  return std::nullopt;
}

std::string format_duration(Seconds duration) {
  if (duration.count() == 0) return "0";
  for (const Unit& unit : duration_units) {
    if (unit.name == "w") continue;  // "14d" reads better than "2w"
    if (duration.count() % unit.seconds == 0)
      return fmt::format("{}{}", duration.count() / unit.seconds, unit.name);
  }
  return fmt::format("{}s", duration.count());
}

}  // namespace sallyport::base

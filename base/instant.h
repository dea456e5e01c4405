// Instants and UTC calendar arithmetic.
//
// An Instant is whole seconds since 1970-01-01 00:00:00 UTC, without leap seconds, as the store
// keeps it. Everything here is pure and safe from any thread. Rules take `now` as an argument; only
// base::Clock knows what time it is.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sallyport::base {

using Seconds = std::chrono::seconds;
using Instant = std::chrono::sys_seconds;

inline constexpr Seconds one_day{86400};

constexpr Instant from_unix(std::int64_t seconds) {
  return Instant{Seconds{seconds}};
}
constexpr std::int64_t to_unix(Instant instant) {
  return instant.time_since_epoch().count();
}

/// 00:00:00 UTC of the day that holds `instant`.
[[nodiscard]] Instant start_of_day(Instant instant);
/// The end of the UTC day that holds `instant`: 00:00:00 UTC of the next one (spec/api-keys.md 4).
[[nodiscard]] Instant end_of_day(Instant instant);

/// A calendar period: ISO-8601 years, months, weeks and days; none is negative.
struct Period {
  std::int32_t years = 0;
  std::int32_t months = 0;
  std::int32_t weeks = 0;
  std::int32_t days = 0;

  friend bool operator==(const Period&, const Period&) = default;
  [[nodiscard]] bool is_zero() const { return *this == Period{}; }
};

/// Parses "P1Y2M3W4D" (any part may be missing, upper case, no time part, no sign, at most 5 digits
/// a part). nullopt if it is none of that; a zero period parses.
[[nodiscard]] std::optional<Period> parse_period(std::string_view text);
[[nodiscard]] std::string format_period(const Period& period);

/// `instant` plus a calendar period in UTC: years and months first, with the day clamped to the
/// month's end (31 January + P1M = 28 or 29 February), then weeks and days. The time of day stays.
[[nodiscard]] Instant add(Instant instant, const Period& period);

/// "2026-11-22T14:30:00Z"
[[nodiscard]] std::string format_iso(Instant instant);
/// "2026-11-22 14:30:00 UTC", for people.
[[nodiscard]] std::string format_utc(Instant instant);
/// "2026-11-22"
[[nodiscard]] std::string format_date(Instant instant);
/// "in 7 days", "in 3 hours", "2 days ago", "now": the largest unit that fits, rounded down.
[[nodiscard]] std::string format_relative(Instant instant, Instant now);
/// Parses "2026-11-22" (start of day) and "2026-11-22T14:30:00Z".
[[nodiscard]] std::optional<Instant> parse_instant(std::string_view text);

/// Parses a length of time: a number and one of s, min, h, d, w ("90s", "10min", "7d"); "0" is
/// zero.
[[nodiscard]] std::optional<Seconds> parse_duration(std::string_view text);
/// The shortest form that parse_duration reads back as the same: "7d", "90s".
[[nodiscard]] std::string format_duration(Seconds duration);

}  // namespace sallyport::base

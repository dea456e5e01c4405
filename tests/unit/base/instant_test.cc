#include "base/instant.h"

#include <gtest/gtest.h>

namespace sallyport::base {
namespace {

Instant at(std::string_view text) {
  const auto instant = parse_instant(text);
  EXPECT_TRUE(instant.has_value()) << text;
  return instant.value_or(Instant{});
}

std::string plus(std::string_view start, std::string_view period) {
  return format_iso(add(at(start), parse_period(period).value()));
}

TEST(Period, ParsesEveryPartAndPrintsItBack) {
  for (const char* text : {"P14D", "P1M", "P1Y", "P2W", "P1Y2M3W4D", "P99999D"}) {
    const auto period = parse_period(text);
    ASSERT_TRUE(period.has_value()) << text;
    EXPECT_EQ(format_period(*period), text);
  }
  EXPECT_TRUE(parse_period("P0D")->is_zero());
}

TEST(Period, RefusesWhatIsNoPeriodOfDays) {
  for (const char* text : {"", "P", "1D", "P1", "PT1H", "P1DT1H", "P-1D", "p1d", "P1D1Y", "P1D1D",
                           "P1.5D", "P100000D", "P10000Y", "P65536Y", " P1D", "P1D ", "P1H"})
    EXPECT_FALSE(parse_period(text).has_value()) << text;
}

TEST(Calendar, ClampsTheDayToTheEndOfTheMonth) {
  EXPECT_EQ(plus("2026-01-31T10:20:30Z", "P1M"), "2026-02-28T10:20:30Z");
  EXPECT_EQ(plus("2028-01-31", "P1M"), "2028-02-29T00:00:00Z");
  EXPECT_EQ(plus("2028-02-29", "P1Y"), "2029-02-28T00:00:00Z");
  EXPECT_EQ(plus("2028-02-29", "P4Y"), "2032-02-29T00:00:00Z");
  EXPECT_EQ(plus("2026-12-31", "P2M"), "2027-02-28T00:00:00Z");
  EXPECT_EQ(plus("2026-10-31", "P1M1D"), "2026-12-01T00:00:00Z");
  EXPECT_EQ(plus("2099-12-31", "P2M"), "2100-02-28T00:00:00Z");  // 2100 is no leap year
}

TEST(Calendar, CountsWeeksAndDaysAfterYearsAndMonths) {
  EXPECT_EQ(plus("2026-02-27", "P1W2D"), "2026-03-08T00:00:00Z");
  EXPECT_EQ(plus("2028-02-28", "P1D"), "2028-02-29T00:00:00Z");
}

TEST(Calendar, EndsADayAtTheNextMidnight) {
  EXPECT_EQ(format_iso(end_of_day(at("2026-11-22T23:59:59Z"))), "2026-11-23T00:00:00Z");
  EXPECT_EQ(format_iso(end_of_day(at("2026-11-22T00:00:00Z"))), "2026-11-23T00:00:00Z");
  EXPECT_EQ(format_iso(start_of_day(from_unix(-1))), "1969-12-31T00:00:00Z");
}

TEST(InstantText, ReadsWhatItWrites) {
  for (const char* text : {"1970-01-01T00:00:00Z", "2028-02-29T23:59:59Z", "9999-12-31T23:59:59Z"})
    EXPECT_EQ(format_iso(at(text)), text);
  EXPECT_EQ(format_utc(at("2026-11-22T14:30:00Z")), "2026-11-22 14:30:00 UTC");
  EXPECT_EQ(format_date(at("2026-11-22T14:30:00Z")), "2026-11-22");
}

TEST(InstantText, RefusesOtherForms) {
  for (const char* text :
       {"", "2026-13-01", "2026-02-30", "2026-2-3", "2026-11-22T24:00:00Z", "2026-11-22 14:30:00Z",
        "2026-11-22T14:30:00", "2026-11-22T14:30:60Z", "20a6-11-22", "-026-11-22"})
    EXPECT_FALSE(parse_instant(text).has_value()) << text;
}

TEST(InstantText, SaysHowFarAway) {
  const Instant now = at("2026-11-22T12:00:00Z");
  EXPECT_EQ(format_relative(now + Seconds{7 * 86400}, now), "in 7 days");
  EXPECT_EQ(format_relative(now + Seconds{86399}, now), "in 23 hours");
  EXPECT_EQ(format_relative(now - Seconds{86400}, now), "1 day ago");
  EXPECT_EQ(format_relative(now + Seconds{61}, now), "in 1 minute");
  EXPECT_EQ(format_relative(now, now), "now");
}

TEST(Duration, ReadsAndWritesUnits) {
  EXPECT_EQ(parse_duration("90s"), Seconds{90});
  EXPECT_EQ(parse_duration("10min"), Seconds{600});
  EXPECT_EQ(parse_duration("48h"), Seconds{172800});
  EXPECT_EQ(parse_duration("2w"), Seconds{14 * 86400});
  EXPECT_EQ(parse_duration("0"), Seconds{0});
  for (const char* text : {"", "1", "d", "-1d", "1 d", "1y", "1.5h", "1234567890123s"})
    EXPECT_FALSE(parse_duration(text).has_value()) << text;
  for (const char* text : {"90s", "10min", "2d", "25h", "14d", "0"})
    EXPECT_EQ(format_duration(*parse_duration(text)), text);
}

}  // namespace
}  // namespace sallyport::base

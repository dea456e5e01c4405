#include "daemon/files/expectations.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gateway.h"

namespace sallyport::daemon::test {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

TableEntry entry(std::string days = "weekdays", std::string by = "06:00") {
  TableEntry result;
  result.values = {{"partner", std::string("acme")}, {"object", std::string("Invoices")},
                   {"days", std::move(days)},        {"by", std::move(by)},
                   {"min_files", std::int64_t{1}},   {"max_files", std::int64_t{3}},
                   {"min_bytes", std::int64_t{4}}};
  return result;
}

base::Instant at(const char* text) {
  return base::parse_instant(text).value();
}

Expectation parsed(const TableEntry& from) {
  std::string problem;
  auto result = parse_expectation(from, problem);
  EXPECT_TRUE(result) << problem;
  return result.value_or(Expectation{});
}

TEST(Expectations, OccurrencesFollowTheCalendar) {
  const Expectation weekdays = parsed(entry());
  // 2026-11-20 is a Friday.
  EXPECT_EQ(weekdays.next(at("2026-11-20T05:59:59Z")), at("2026-11-20T06:00:00Z"));
  EXPECT_EQ(weekdays.next(at("2026-11-20T06:00:00Z")), at("2026-11-23T06:00:00Z"));
  EXPECT_EQ(weekdays.previous(at("2026-11-23T06:00:00Z")), at("2026-11-20T06:00:00Z"));
  EXPECT_EQ(weekdays.words, "on weekdays by 06:00 UTC, 1 to 3 files of at least 4 bytes");
  const Expectation some = parsed(entry("mon, thu", "23:30"));
  EXPECT_EQ(some.next(at("2026-11-20T00:00:00Z")), at("2026-11-23T23:30:00Z"));
  EXPECT_EQ(some.next(at("2026-11-23T23:30:00Z")), at("2026-11-26T23:30:00Z"));
  EXPECT_NE(some.id(), weekdays.id());
}

TEST(Expectations, EntriesWithoutSenseAreRefusedWithWords) {
  for (const auto& [days, by] :
       std::vector<std::pair<std::string, std::string>>{{"", "06:00"},
                                                        {"mon,", "06:00"},
                                                        {"monday", "06:00"},
                                                        {"daily", "24:00"},
                                                        {"daily", "6:00"},
                                                        {"daily", "06:60"},
                                                        {"daily", "-1:00"}}) {
    std::string problem;
    EXPECT_FALSE(parse_expectation(entry(days, by), problem)) << days << " " << by;
    EXPECT_FALSE(problem.empty());
  }
  TableEntry wrong = entry();
  wrong.values["max_files"] = std::int64_t{0};
  std::string problem;
  EXPECT_FALSE(parse_expectation(wrong, problem));
}

TEST(Expectations, FindingsSayWhatDoesNotFit) {
  const Expectation rule = parsed(entry());
  EXPECT_EQ(judge(rule, {2, 0}, 0), "");
  EXPECT_EQ(judge(rule, {0, 0}, 0), "no file had arrived");
  EXPECT_EQ(judge(rule, {4, 1}, 0),
            "4 files had arrived, at most 3 were expected; 1 of 4 files had less than 4 bytes");
  EXPECT_EQ(judge(rule, {4, 0}, 1), "") << "one of them was a late one of the day before";
}

class ExpectationsTest : public testing::Test {
 protected:
  ExpectationsTest()
      : gateway([](Config& config) {
          config.files.expectations = {entry("daily", "06:00")};
          config.partner.signature = "optional";
        }) {
    gateway.clock.set(at("2026-11-23T12:00:00Z"));
    pass();
  }
  void pass() { work.run_pass(gateway.clock.now()); }
  std::vector<store::Notice> missed() { return gateway.notices("expectation_missed"); }

  Gateway gateway;
  ExpectationWork work{*gateway.context};
};

TEST_F(ExpectationsTest, WhatIsMissingIsAnnouncedOnceForEachOccurrence) {
  EXPECT_EQ(work.earliest(), at("2026-11-24T06:00:00Z"));
  EXPECT_THAT(missed(), IsEmpty());
  gateway.clock.set(at("2026-11-24T06:00:00Z"));
  pass();
  pass();
  EXPECT_THAT(missed(), SizeIs(2)) << "one notice for each recipient";
  EXPECT_THAT(missed()[0].facts, HasSubstr("no file had arrived"));
  gateway.clock.set(at("2026-11-25T06:00:00Z"));
  pass();
  EXPECT_THAT(missed(), SizeIs(4));
}

TEST_F(ExpectationsTest, WhatArrivesInTimeIsFineWhateverBecomesOfIt) {
  gateway.clock.set(at("2026-11-24T05:59:59Z"));
  gateway.upload("Invoices", "a.csv.pgp", "not a message");
  gateway.clock.set(at("2026-11-24T06:00:00Z"));
  pass();
  EXPECT_THAT(missed(), IsEmpty());
}

TEST_F(ExpectationsTest, WhoIsLateEveryDayIsAnnouncedEveryDay) {
  for (const char* day : {"24", "25", "26", "27"}) {
    const std::string date = std::string("2026-11-") + day;
    gateway.clock.set(at((date + "T06:00:00Z").c_str()));
    pass();
    gateway.clock.set(at((date + "T14:00:00Z").c_str()));
    gateway.upload("Invoices", std::string(day) + ".csv", "12345");
  }
  EXPECT_THAT(missed(), SizeIs(8)) << "four days, two recipients";
}

TEST_F(ExpectationsTest, AfterADayThatWasLeftOutTheNextIsFine) {
  gateway.clock.set(at("2026-11-24T06:00:00Z"));
  pass();
  ASSERT_THAT(missed(), SizeIs(2));
  for (const char* day : {"25", "26"}) {
    const std::string date = std::string("2026-11-") + day;
    gateway.clock.set(at((date + "T05:00:00Z").c_str()));
    gateway.upload("Invoices", std::string(day) + ".csv", "12345");
    gateway.clock.set(at((date + "T06:00:00Z").c_str()));
    pass();
  }
  EXPECT_THAT(missed(), SizeIs(2));
}

TEST_F(ExpectationsTest, OccurrencesWhileTheDaemonWasDownAreLookedAtLater) {
  gateway.clock.set(at("2026-11-27T12:00:00Z"));
  pass();
  EXPECT_THAT(missed(), SizeIs(8)) << "four days, two recipients";
}

TEST_F(ExpectationsTest, TooSmallAndTooManyAreAnnounced) {
  for (int i = 0; i < 4; ++i) gateway.upload("Invoices", std::to_string(i), i == 0 ? "x" : "12345");
  gateway.clock.set(at("2026-11-24T06:00:00Z"));
  pass();
  ASSERT_THAT(missed(), SizeIs(2));
  EXPECT_THAT(missed()[0].facts, HasSubstr("1 of 4 files had less than 4 bytes"));
}

}  // namespace
}  // namespace sallyport::daemon::test

// The three timers at their boundaries, to the second.
#include <gtest/gtest.h>

#include <algorithm>

#include "daemon/lifecycle/events.h"
#include "daemon/lifecycle/exposure.h"
#include "tests/unit/daemon/lifecycle/sample_key.h"

namespace sallyport::daemon::lifecycle {
namespace {

using notify::Kind;
using store::KeyState;
using store::NoticeState;

constexpr Seconds day{86400};

struct Written {
  Kind kind;
  std::int64_t days;
  NoticeState state;
  friend bool operator==(const Written&, const Written&) = default;
};

std::vector<Written> written(const Evaluation& evaluation) {
  std::vector<Written> out;
  for (const auto& notice : evaluation.notices) {
    out.push_back({notice.kind, notice.offset.count() / 86400, notice.state});
  }
  return out;
}

void PrintTo(const Written& written, std::ostream* out) {
  *out << notify::to_string(written.kind) << " " << written.days << "d state "
       << static_cast<int>(written.state);
}

Evaluation look(store::ApiKey& key, Instant now, Facts facts = {}, const Policy& policy = {}) {
  Evaluation evaluation = evaluate(key, facts, policy, now);
  key = evaluation.key;
  return evaluation;
}

// ---- expiry

TEST(Expiry, MonthFromThe31stOfJanuaryEndsWithFebruary) {
  EXPECT_EQ(expiry_after(at("2027-01-31T10:00:00Z"), base::Period{0, 1, 0, 0}), at("2027-03-01"));
  EXPECT_EQ(expiry_after(at("2028-01-31T10:00:00Z"), base::Period{0, 1, 0, 0}), at("2028-03-01"));
}

TEST(Expiry, LeapDayPlusOneYearEndsOnThe28th) {
  EXPECT_EQ(expiry_after(at("2028-02-29T23:59:59Z"), base::Period{1, 0, 0, 0}), at("2029-03-01"));
}

TEST(Expiry, FourteenDaysAreGoodThroughTheLastSecondOfTheDay) {
  store::ApiKey key = sample_key(at("2027-05-01T09:30:00Z"));
  key.expires_at = expiry_after(key.created, base::Period{0, 0, 0, 14});
  EXPECT_EQ(*key.expires_at, at("2027-05-16"));
  EXPECT_TRUE(is_usable(key, at("2027-05-15T23:59:59Z")));
  EXPECT_FALSE(is_usable(key, at("2027-05-16T00:00:00Z")));
  EXPECT_EQ(displayed_status(key, {}, at("2027-05-15T23:59:59Z")), Status::soon_to_be_expired);
  EXPECT_EQ(displayed_status(key, {}, at("2027-05-16T00:00:00Z")), Status::expired);
  EXPECT_EQ(look(key, at("2027-05-15T23:59:59Z")).transitions.size(), 0U);
  const auto end = look(key, at("2027-05-16T00:00:00Z"));
  ASSERT_EQ(end.transitions.size(), 1U);
  EXPECT_EQ(key.state, KeyState::expired);
  EXPECT_FALSE(key.next_due);
}

TEST(Expiry, IsAnnouncedSevenDaysAndTwoDaysBeforeAndWhenItHasHappened) {
  store::ApiKey key = sample_key(at("2027-05-01T09:30:00Z"));
  key.expires_at = at("2027-06-01");
  look(key, key.created);
  ASSERT_EQ(key.next_due, at("2027-05-25"));
  EXPECT_TRUE(look(key, at("2027-05-24T23:59:59Z")).notices.empty());
  EXPECT_EQ(displayed_status(key, {}, at("2027-05-24T23:59:59Z")), Status::enabled);
  EXPECT_EQ(displayed_status(key, {}, at("2027-05-25")), Status::soon_to_be_expired);
  EXPECT_EQ(written(look(key, at("2027-05-25"))),
            (std::vector<Written>{{Kind::key_expiring, 7, NoticeState::pending}}));
  ASSERT_EQ(key.next_due, at("2027-05-30"));
  EXPECT_EQ(written(look(key, at("2027-05-30"))),
            (std::vector<Written>{{Kind::key_expiring, 2, NoticeState::pending}}));
  ASSERT_EQ(key.next_due, at("2027-06-01"));
  EXPECT_EQ(written(look(key, at("2027-06-01"))),
            (std::vector<Written>{{Kind::key_expired, 0, NoticeState::pending}}));
}

TEST(Expiry, OffsetsPassedAtCreationAreRecordedAsNotApplicable) {
  store::ApiKey key = sample_key(at("2027-05-01T09:30:00Z"));
  key.expires_at = at("2027-05-06");
  EXPECT_EQ(written(look(key, key.created)),
            (std::vector<Written>{{Kind::key_expiring, 7, NoticeState::not_applicable}}));
  ASSERT_EQ(key.next_due, at("2027-05-04"));
}

TEST(Expiry, AMachineAsleepForThreeWeeksMailsOnlyThatItHasExpired) {
  store::ApiKey key = sample_key(at("2027-05-01"));
  key.expires_at = at("2027-06-01");
  look(key, key.created);
  EXPECT_EQ(written(look(key, at("2027-06-12T03:04:05Z"))),
            (std::vector<Written>{{Kind::key_expiring, 7, NoticeState::superseded},
                                  {Kind::key_expiring, 2, NoticeState::superseded},
                                  {Kind::key_expired, 0, NoticeState::pending}}));
}

TEST(Expiry, ADisabledKeyStillExpiresWithoutMail) {
  store::ApiKey key = sample_key(at("2027-05-01"), "INTEGRATION");
  key.expires_at = at("2027-06-01");
  look(key, key.created);
  disable(key, at("2027-05-02"));
  for (const auto& evaluation :
       {look(key, at("2027-05-25")), look(key, at("2027-05-30")), look(key, at("2027-06-01"))}) {
    for (const auto& notice : evaluation.notices) {
      EXPECT_EQ(notice.state, NoticeState::not_applicable);
    }
  }
  EXPECT_EQ(key.state, KeyState::expired);
}

TEST(Expiry, WaitsForATrustedClockButVerificationDoesNot) {
  store::ApiKey key = sample_key(at("2027-05-01"));
  key.expires_at = at("2027-06-01");
  Facts facts;
  facts.hold_final = true;
  EXPECT_TRUE(look(key, at("2027-06-01"), facts).transitions.empty());
  EXPECT_EQ(key.next_due, at("2027-06-01") + clock_recheck);
  EXPECT_FALSE(is_usable(key, at("2027-06-01")));
  EXPECT_EQ(look(key, at("2027-06-02")).transitions.size(), 1U);
}

// ---- clock jumps

TEST(ClockJumps, ADayForwardAndBackRepeatsNothing) {
  store::ApiKey key = sample_key(at("2027-05-01"));
  key.expires_at = at("2027-06-01");
  look(key, key.created);
  EXPECT_EQ(look(key, at("2027-05-25T12:00:00Z")).notices.size(), 1U);  // a day ahead of true time
  EXPECT_TRUE(look(key, at("2027-05-24T12:00:00Z")).notices.empty());
  EXPECT_EQ(key.next_due, at("2027-05-30"));
  EXPECT_TRUE(look(key, at("2027-05-25")).notices.empty());
  EXPECT_EQ(look(key, at("2027-05-30")).notices.size(), 1U);
}

// ---- inactivity

TEST(Inactivity, EndsTheDayOneCalendarYearAfterTheClocksDate) {
  store::ApiKey key = sample_key(at("2028-02-29T13:00:00Z"));
  EXPECT_EQ(inactivity_deadline(key, {}), at("2029-03-01"));
  key.last_used = at("2028-03-01T00:00:00Z");
  EXPECT_EQ(inactivity_deadline(key, {}), at("2029-03-02"));
  key.last_used = at("2028-12-31T23:59:59Z");
  EXPECT_EQ(inactivity_deadline(key, {}), at("2030-01-01"));
}

struct Idle {
  store::ApiKey key = sample_key(at("2027-01-10T10:00:00Z"));
  Instant deadline = at("2028-01-11");
  void warn() {
    look(key, key.created);
    for (const int days : {30, 15, 1}) {
      EXPECT_EQ(key.next_due, deadline - days * day);
      EXPECT_EQ(written(look(key, deadline - days * day)),
                (std::vector<Written>{{Kind::key_inactive, days, NoticeState::pending}}));
    }
    EXPECT_EQ(key.next_due, deadline);
  }
};

Facts accepted(Instant when) {
  Facts facts;
  facts.warning_accepted = when;
  return facts;
}

TEST(Inactivity, WarnsThreeTimesThenDisables) {
  Idle idle;
  idle.warn();
  const auto end = look(idle.key, idle.deadline, accepted(idle.deadline - day + Seconds{40}));
  EXPECT_EQ(written(end),
            (std::vector<Written>{{Kind::key_inactive_disabled, 0, NoticeState::pending}}));
  EXPECT_EQ(idle.key.state, KeyState::disabled_for_inactivity);
  EXPECT_EQ(idle.key.disabled, idle.deadline);
}

TEST(Inactivity, WithoutAnAcceptedWarningTheKeyStaysUsable) {
  Idle idle;
  idle.warn();
  ASSERT_TRUE(needs_acceptance(idle.key, {}, idle.deadline));
  const auto evaluation = look(idle.key, idle.deadline);
  EXPECT_TRUE(evaluation.inactivity_pending);
  EXPECT_TRUE(evaluation.transitions.empty());
  EXPECT_TRUE(is_usable(idle.key, idle.deadline + 100 * day));
  EXPECT_EQ(idle.key.next_due, idle.deadline + pending_recheck);
}

TEST(Inactivity, ALateAcceptanceMovesTheDeadlineOnce) {
  Idle idle;
  idle.warn();
  look(idle.key, idle.deadline);
  const Instant late = idle.deadline + 3 * day + Seconds{3600};
  const auto moved = look(idle.key, late, accepted(late));
  EXPECT_FALSE(moved.inactivity_pending);
  EXPECT_EQ(idle.key.inactivity_moved_to, idle.deadline + 5 * day);
  EXPECT_EQ(idle.key.next_due, idle.deadline + 5 * day);
  EXPECT_FALSE(needs_acceptance(idle.key, {}, idle.deadline + 5 * day));
  EXPECT_EQ(look(idle.key, idle.deadline + 5 * day).transitions.size(), 1U);
}

TEST(Inactivity, AnAcceptanceLessThanADayBeforeMovesTheDeadlineToo) {
  Idle idle;
  idle.warn();
  look(idle.key, idle.deadline, accepted(idle.deadline - Seconds{3600 * 10}));
  EXPECT_EQ(idle.key.inactivity_moved_to, idle.deadline + day);
}

TEST(Inactivity, MovedDeadlineIsTheEndOfTheDayThatLies24HoursAfter) {
  EXPECT_EQ(moved_inactivity_deadline(at("2028-01-10T00:00:00Z")), at("2028-01-11"));
  EXPECT_EQ(moved_inactivity_deadline(at("2028-01-10T00:00:01Z")), at("2028-01-12"));
  EXPECT_EQ(moved_inactivity_deadline(at("2028-01-10T23:59:59Z")), at("2028-01-12"));
}

TEST(Inactivity, AsleepForThreeWeeksOverTheDeadlineWarnsFirst) {
  Idle idle;
  look(idle.key, idle.key.created);
  look(idle.key, idle.deadline - 30 * day);
  look(idle.key, idle.deadline - 15 * day);
  const auto awake = look(idle.key, idle.deadline + 6 * day);
  EXPECT_EQ(written(awake), (std::vector<Written>{{Kind::key_inactive, 1, NoticeState::pending}}));
  EXPECT_TRUE(awake.inactivity_pending);
  EXPECT_EQ(idle.key.state, KeyState::enabled);
}

TEST(Inactivity, AKeyImportedOldIsWarnedBeforeItIsDisabled) {
  store::ApiKey key = sample_key(at("2020-01-01"));
  const auto evaluation = look(key, at("2027-01-01T10:00:00Z"));
  EXPECT_EQ(written(evaluation),
            (std::vector<Written>{{Kind::key_inactive, 30, NoticeState::superseded},
                                  {Kind::key_inactive, 15, NoticeState::superseded},
                                  {Kind::key_inactive, 1, NoticeState::pending}}));
  EXPECT_TRUE(evaluation.transitions.empty());
  EXPECT_TRUE(evaluation.inactivity_pending);
}

TEST(Inactivity, AUseInTheWarningPeriodCancelsAndStartsANewCycle) {
  Idle idle;
  look(idle.key, idle.key.created);
  look(idle.key, idle.deadline - 30 * day);
  idle.key.last_used = idle.deadline - 20 * day;
  const auto evaluation = look(idle.key, idle.deadline - 20 * day);
  EXPECT_EQ(evaluation.cancelled, std::vector<Timer>{Timer::inactivity});
  EXPECT_FALSE(idle.key.inactivity_progress.cycle);
  EXPECT_EQ(displayed_status(idle.key, {}, idle.deadline), Status::enabled);
  EXPECT_EQ(
      idle.key.next_due,
      base::end_of_day(base::add(idle.deadline - 20 * day, base::Period{1, 0, 0, 0})) - 30 * day);
}

TEST(Inactivity, AUseAtTheLastSecondCounts) {
  Idle idle;
  idle.warn();
  idle.key.last_used = idle.deadline - Seconds{1};
  EXPECT_TRUE(look(idle.key, idle.deadline, accepted(idle.deadline - day)).transitions.empty());
}

TEST(Inactivity, WaitsUntilEveryNodeHasFlushedItsUses) {
  Idle idle;
  idle.warn();
  Facts facts = accepted(idle.deadline - day);
  facts.usage_known_until = idle.deadline - Seconds{1};
  EXPECT_TRUE(look(idle.key, idle.deadline, facts).transitions.empty());
  EXPECT_EQ(idle.key.next_due, idle.deadline + usage_recheck);
  facts.usage_known_until = idle.deadline;
  EXPECT_EQ(look(idle.key, idle.deadline + usage_recheck, facts).transitions.size(), 1U);
}

TEST(Inactivity, DoesNotRunWhileTheKeyIsDisabled) {
  Idle idle;
  look(idle.key, idle.deadline - 30 * day);
  disable(idle.key, idle.deadline - 29 * day);
  const auto evaluation = look(idle.key, idle.deadline - 29 * day);
  EXPECT_EQ(evaluation.cancelled, std::vector<Timer>{Timer::inactivity});
  EXPECT_FALSE(idle.key.next_due);
}

// ---- exposure

ExposureReport report(store::Severity severity, std::string url = "https://example.org/leak") {
  ExposureReport out;
  out.id = "r";
  out.severity = severity;
  out.reason = "seen in a public repository";
  out.url = std::move(url);
  out.reported_by = "anna@example.com";
  return out;
}

const Instant found = at("2027-04-01T10:00:00Z");

std::vector<Kind> kinds(const std::vector<PlannedNotice>& notices) {
  std::vector<Kind> out;
  for (const auto& notice : notices) {
    if (notice.state == NoticeState::pending) out.push_back(notice.kind);
  }
  return out;
}

TEST(Exposure, SeveritySetsTheDeadline) {
  const std::pair<store::Severity, int> days[] = {{store::Severity::high, 2},
                                                  {store::Severity::medium, 7},
                                                  {store::Severity::low, 14},
                                                  {store::Severity::warn, 30}};
  for (const auto& [severity, count] : days) {
    store::ApiKey key = sample_key(at("2027-01-01"));
    EXPECT_EQ(report_exposure(key, report(severity), {}, found).outcome, ReportOutcome::flagged);
    EXPECT_EQ(key.exposure->deadline, found + count * day);
    EXPECT_TRUE(is_usable(key, found + count * day - Seconds{1}));
    EXPECT_FALSE(is_usable(key, found + count * day));
    EXPECT_EQ(displayed_status(key, {}, found + count * day), Status::disabled_exposed);
  }
}

TEST(Exposure, CriticalEndsAtOnceWithOneMail) {
  store::ApiKey key = sample_key(at("2027-01-01"));
  const auto result = report_exposure(key, report(store::Severity::critical), {}, found);
  EXPECT_TRUE(result.notices.empty());
  const auto evaluation = look(key, found);
  EXPECT_EQ(key.state, KeyState::disabled_exposed);
  EXPECT_EQ(kinds(evaluation.notices), std::vector<Kind>{Kind::exposure_critical});
}

TEST(Exposure, TwoDaysHaveNoThreeDayNotice) {
  store::ApiKey key = sample_key(at("2027-01-01"));
  const auto result = report_exposure(key, report(store::Severity::high), {}, found);
  EXPECT_EQ(kinds(result.notices), std::vector<Kind>{Kind::exposure_flagged});
  EXPECT_EQ(written(look(key, found)),
            (std::vector<Written>{{Kind::exposure_deadline, 3, NoticeState::not_applicable}}));
  EXPECT_EQ(written(look(key, found + day)),
            (std::vector<Written>{{Kind::exposure_deadline, 1, NoticeState::pending}}));
  EXPECT_EQ(written(look(key, found + 2 * day)),
            (std::vector<Written>{{Kind::exposure_disabled, 0, NoticeState::pending}}));
  EXPECT_EQ(key.state, KeyState::disabled_exposed);
  EXPECT_EQ(key.disabled, found + 2 * day);
}

TEST(Exposure, AFurtherReportOnlyBringsTheDeadlineForward) {
  store::ApiKey key = sample_key(at("2027-01-01"));
  (void)report_exposure(key, report(store::Severity::low), {}, found);
  look(key, found);
  auto further =
      report_exposure(key, report(store::Severity::warn, "https://example.org/2"), {}, found + day);
  EXPECT_EQ(further.outcome, ReportOutcome::added);
  EXPECT_EQ(kinds(further.notices), std::vector<Kind>{Kind::exposure_reported});
  EXPECT_EQ(key.exposure->deadline, found + 14 * day);
  EXPECT_EQ(key.exposure->severity, store::Severity::low);
  further = report_exposure(key, report(store::Severity::high, "https://example.org/3"), {},
                            found + 2 * day);
  EXPECT_EQ(key.exposure->deadline, found + 4 * day);
  EXPECT_EQ(key.exposure->severity, store::Severity::high);
  EXPECT_EQ(key.exposure->reasons.size(), 3U);
}

TEST(Exposure, CriticalAfterHighSendsOneMoreMailOnly) {
  store::ApiKey key = sample_key(at("2027-01-01"));
  (void)report_exposure(key, report(store::Severity::high), {}, found);
  look(key, found);
  const auto further = report_exposure(
      key, report(store::Severity::critical, "https://example.org/2"), {}, found + Seconds{60});
  EXPECT_TRUE(further.notices.empty());
  EXPECT_EQ(kinds(look(key, found + Seconds{60}).notices),
            std::vector<Kind>{Kind::exposure_critical});
}

TEST(Exposure, APublicKeyIsRecordedOnlyUnlessSuspicious) {
  store::ApiKey key = sample_key(at("2027-01-01"));
  key.is_public = true;
  auto result = report_exposure(key, report(store::Severity::critical), {}, found);
  EXPECT_EQ(result.outcome, ReportOutcome::recorded);
  EXPECT_TRUE(result.notices.empty());
  EXPECT_FALSE(is_flagged(key));
  EXPECT_TRUE(look(key, found + 100 * day).transitions.empty());
  ExposureReport suspicious = report(store::Severity::high, "https://example.org/2");
  suspicious.suspicious_activity = true;
  result = report_exposure(key, suspicious, {}, found + day);
  EXPECT_EQ(result.outcome, ReportOutcome::flagged);
  EXPECT_EQ(key.exposure->deadline, found + 3 * day);
}

TEST(Exposure, TheSameReportTwiceChangesNothing) {
  store::ApiKey key = sample_key(at("2027-01-01"));
  (void)report_exposure(key, report(store::Severity::high), {}, found);
  const auto again = report_exposure(key, report(store::Severity::high), {}, found + Seconds{600});
  EXPECT_EQ(again.outcome, ReportOutcome::repeated);
  EXPECT_TRUE(again.notices.empty());
  EXPECT_EQ(key.exposure->reasons.size(), 1U);
}

TEST(Exposure, WithdrawnThenReportedAgainIsRecordedNotApplied) {
  store::ApiKey key = sample_key(at("2027-01-01"));
  (void)report_exposure(key, report(store::Severity::medium), {}, found);
  look(key, found);
  look(key, found + 4 * day);
  EXPECT_EQ(kinds(withdraw_exposure(key, "a sample, not the key", found + 5 * day)),
            std::vector<Kind>{Kind::exposure_withdrawn});
  EXPECT_EQ(look(key, found + 5 * day).cancelled, std::vector<Timer>{Timer::exposure});
  EXPECT_TRUE(is_usable(key, found + 50 * day));
  const auto again = report_exposure(key, report(store::Severity::critical), {}, found + 6 * day);
  EXPECT_EQ(again.outcome, ReportOutcome::not_applied);
  EXPECT_TRUE(is_usable(key, found + 50 * day));
  for (int replay = 0; replay < 5; ++replay) {
    (void)report_exposure(key, report(store::Severity::critical), {}, found + 6 * day);
  }
  EXPECT_EQ(key.exposure->reasons.size(), 2U);
  const auto other = report_exposure(
      key, report(store::Severity::high, "https://example.org/other"), {}, found + 7 * day);
  EXPECT_EQ(other.outcome, ReportOutcome::flagged);
  EXPECT_EQ(key.exposure->deadline, found + 9 * day);
}

TEST(Exposure, ADisabledKeyIsFlaggedButItsDeadlineEndsNothing) {
  store::ApiKey key = sample_key(at("2027-01-01"), "INTEGRATION");
  disable(key, found);
  const auto result = report_exposure(key, report(store::Severity::critical), {}, found);
  EXPECT_EQ(kinds(result.notices), std::vector<Kind>{Kind::exposure_flagged});
  EXPECT_TRUE(kinds(look(key, found + 5 * day).notices).empty());
  EXPECT_EQ(key.state, KeyState::disabled);
  EXPECT_EQ(check(Event::activate, key, {}, found).error_code, "API_KEY_EXPOSED");
}

TEST(Exposure, AReportOnAnEndedKeyIsRecorded) {
  store::ApiKey key = sample_key(at("2027-01-01"));
  revoke(key, at("2027-02-01"));
  EXPECT_EQ(report_exposure(key, report(store::Severity::high), {}, found).outcome,
            ReportOutcome::recorded);
  EXPECT_EQ(displayed_status(key, {}, found + 30 * day), Status::revoked);
}

// ---- several at once

TEST(Timers, ExpiryBeforeTheExposureDeadlineWins) {
  store::ApiKey key = sample_key(at("2027-01-01"));
  key.expires_at = at("2027-04-02");
  (void)report_exposure(key, report(store::Severity::high), {}, found);
  EXPECT_EQ(displayed_status(key, {}, found + 10 * day), Status::expired);
  look(key, found + 10 * day);
  EXPECT_EQ(key.state, KeyState::expired);
}

TEST(Timers, ExposureAndExpiryAtOneInstantIsExposure) {
  store::ApiKey key = sample_key(at("2027-01-01"));
  key.expires_at = at("2027-04-03");
  (void)report_exposure(key, report(store::Severity::high), {}, at("2027-04-01"));
  EXPECT_EQ(displayed_status(key, {}, at("2027-04-03")), Status::disabled_exposed);
  look(key, at("2027-04-03"));
  EXPECT_EQ(key.state, KeyState::disabled_exposed);
}

TEST(Timers, ExpiryAndInactivityAtOneInstantIsExpiry) {
  store::ApiKey key = sample_key(at("2027-01-10T10:00:00Z"));
  key.expires_at = at("2028-01-11");
  look(key, at("2028-01-11"), accepted(at("2028-01-10")));
  EXPECT_EQ(key.state, KeyState::expired);
}

TEST(Timers, SoonToBeExpiredIsShownBeforeSoonToBeDisabled) {
  store::ApiKey key = sample_key(at("2027-01-10T10:00:00Z"));
  const Instant now = at("2028-01-05");
  EXPECT_EQ(displayed_status(key, {}, now), Status::soon_to_be_disabled);
  key.expires_at = at("2028-01-11");
  EXPECT_EQ(displayed_status(key, {}, now), Status::soon_to_be_expired);
  key.state = KeyState::disabled;
  EXPECT_EQ(displayed_status(key, {}, now), Status::disabled);
}

}  // namespace
}  // namespace sallyport::daemon::lifecycle

#include "daemon/outbox/retry.h"

#include <gtest/gtest.h>

namespace sallyport::daemon {
namespace {

using base::Instant;
using base::Seconds;
using notify::Delivery;
using notify::Outcome;
using store::NoticeState;

constexpr Instant start = base::from_unix(1795357800);
const RetryPolicy policy;

store::Notice claimed() {
  store::Notice notice;
  notice.state = NoticeState::claimed;
  notice.created = notice.due = notice.next_attempt = start;
  notice.claimed_by = "node";
  notice.claimed_until = start + Seconds{60};
  return notice;
}

const Delivery refused_by_server{Outcome::permanent_failure, 550, "550 no", false};
const Delivery unreachable{Outcome::temporary_failure, 0, "away", true};
const Delivery accepted{Outcome::accepted, 250, "250 ok", false};
const Delivery malformed{Outcome::permanent_failure, 0, "no address", false};

TEST(Retry, PausesDoubleFromAMinuteToAnHour) {
  const std::int64_t expected[] = {60, 120, 240, 480, 960, 1920, 3600, 3600};
  for (std::int32_t i = 0; i < 8; ++i) EXPECT_EQ(pause_after(i + 1, policy).count(), expected[i]);
  EXPECT_EQ(pause_after(2000000000, policy).count(), 3600);
  EXPECT_EQ(pause_after(1, {Seconds{7200}, Seconds{3600}, Seconds{86400}}).count(), 3600);
}

TEST(Retry, AnAcceptedNoticeIsSent) {
  store::Notice notice = claimed();
  apply(notice, accepted, policy, start + Seconds{5});
  EXPECT_EQ(notice.state, NoticeState::sent);
  EXPECT_EQ(notice.finished, start + Seconds{5});
  EXPECT_EQ(notice.attempts, 1);
  EXPECT_EQ(notice.answer, "250 ok");
  EXPECT_TRUE(notice.claimed_by.empty());
  EXPECT_FALSE(notice.claimed_until);
}

/// Driven by its own next attempts, a notice is tried for five days and then given up.
TEST(Retry, FiveDaysOfAttemptsThenFailed) {
  for (const Delivery& delivery : {unreachable, refused_by_server}) {
    store::Notice notice = claimed();
    Instant now = start;
    while (true) {
      apply(notice, delivery, policy, now);
      if (notice.state == NoticeState::failed) break;
      ASSERT_EQ(notice.state, NoticeState::pending);
      ASSERT_GT(notice.next_attempt, now);
      ASSERT_LE(notice.next_attempt, now + Seconds{3600});
      now = notice.next_attempt;
    }
    EXPECT_GE(now, start + Seconds{5 * 86400});
    EXPECT_LE(now, start + Seconds{5 * 86400 + 3600});
    EXPECT_EQ(notice.answer, delivery.answer);
    EXPECT_EQ(notice.finished, now);
  }
}

TEST(Retry, WhatWeRefuseOurselvesFailsAtOnce) {
  store::Notice notice = claimed();
  apply(notice, malformed, policy, start);
  EXPECT_EQ(notice.state, NoticeState::failed);
}

TEST(Retry, ADaemonThatWasDownForAWeekTriesAgain) {
  store::Notice notice = claimed();
  apply(notice, unreachable, policy, start + Seconds{7 * 86400});
  EXPECT_EQ(notice.state, NoticeState::pending);
}

TEST(Supersedes, OnlyATighterOneOfTheSameTimerAndRecipient) {
  store::Notice warning;
  warning.kind = "key_inactive";
  warning.cycle = 5;
  warning.offset = 15 * 86400;
  warning.recipient = "a@example.com";
  store::Notice tighter = warning;
  tighter.offset = 86400;
  EXPECT_TRUE(supersedes(tighter, warning));
  EXPECT_FALSE(supersedes(warning, tighter));
  EXPECT_FALSE(supersedes(warning, warning));

  store::Notice after = warning;
  after.kind = "key_inactive_disabled";
  after.offset = 0;
  EXPECT_TRUE(supersedes(after, warning));
  EXPECT_FALSE(supersedes(warning, after));

  store::Notice other = tighter;
  other.recipient = "b@example.com";
  EXPECT_FALSE(supersedes(other, warning));
  other = tighter;
  other.cycle = 6;
  EXPECT_FALSE(supersedes(other, warning));
  other = tighter;
  other.state = NoticeState::not_applicable;
  EXPECT_FALSE(supersedes(other, warning));
  other = tighter;
  other.channel = store::Channel::webhook;
  EXPECT_FALSE(supersedes(other, warning));
  other = after;
  other.kind = "key_expired";
  EXPECT_FALSE(supersedes(other, warning));
}

}  // namespace
}  // namespace sallyport::daemon

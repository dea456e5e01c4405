// The outbox with a real store (SQLite), a real mail server and real webhooks; only time is driven.
#include <gmock/gmock.h>

#include <functional>
#include <thread>

#include "outbox_fixture.h"
#include "store/activity.h"

namespace sallyport::daemon {
namespace {

using ::testing::HasSubstr;

TEST_F(OutboxTest, ADueNoticeIsSentAndTheAnswerRecorded) {
  const test::MailServer server;
  Node node(*this, "n1", config_for(server.port()));
  const Notice notice = add("admin@example.com");
  node.run();
  const Notice sent = now_in_store(notice);
  EXPECT_EQ(sent.state, NoticeState::sent);
  EXPECT_EQ(sent.attempts, 1);
  EXPECT_EQ(sent.finished, clock_.now());
  EXPECT_THAT(sent.answer, HasSubstr("Kept as 1"));
  const std::string mail = server.mail(1);
  EXPECT_THAT(mail, HasSubstr("X-Envelope-To: admin@example.com"));
  EXPECT_THAT(mail, HasSubstr("X-Sallyport-Kind: key_expired\r\n"));
  EXPECT_THAT(mail, HasSubstr("List-Id: <notices.gate1.example.com>"));
  EXPECT_THAT(mail, HasSubstr("Auto-Submitted: auto-generated"));
  EXPECT_TRUE(node.health.good());
  EXPECT_EQ(node.outbox.earliest(), std::nullopt) << "nothing to wake up for";
  const auto log =
      store_->read([](store::Unit& unit) { return store::list_activity(unit, {}, 0, 10); });
  ASSERT_EQ(log.size(), 1U);
  EXPECT_EQ(log[0].operation, "NOTIFY");
  EXPECT_EQ(log[0].resource_id, notice.id);
  EXPECT_EQ(log[0].result, "SUCCESS");
}

TEST_F(OutboxTest, WhatIsNotDueWaitsAndSaysWhen) {
  const test::MailServer server;
  Node node(*this, "n1", config_for(server.port()));
  clock_.advance(Seconds{3600});
  (void)add("admin@example.com");
  clock_.advance(Seconds{-3600});
  node.run();
  EXPECT_EQ(server.count(), 0U);
  EXPECT_EQ(node.outbox.earliest(), clock_.now() + Seconds{3600});
  clock_.advance(Seconds{3600});
  node.run();
  EXPECT_EQ(server.count(), 1U);
}

TEST_F(OutboxTest, SeveralBatchesEachRecipientOnce) {
  const test::MailServer server;
  Node node(*this, "n1", config_for(server.port()));
  for (int i = 0; i < 100; ++i) (void)add("a" + std::to_string(i) + "@example.com");
  node.run();
  EXPECT_EQ(server.count(), 100U);
  EXPECT_EQ(count(NoticeState::sent), 100);
}

TEST_F(OutboxTest, AServerThatIsAwayIsRetriedWithGrowingPausesUntilItIsBack) {
  std::uint16_t port = 0;
  {
    test::MailServer gone;
    port = gone.port();
  }
  Node node(*this, "n1", config_for(port));
  const Notice notice = add("admin@example.com");
  for (const int pause : {60, 120, 240}) {
    node.run();
    const Notice waiting = now_in_store(notice);
    ASSERT_EQ(waiting.state, NoticeState::pending);
    ASSERT_EQ(waiting.next_attempt, clock_.now() + Seconds{pause});
    ASSERT_THAT(waiting.answer, HasSubstr("cannot connect"));
    EXPECT_THAT(conditions(node), ::testing::ElementsAre("mail.unreachable"));
    clock_.set(waiting.next_attempt);
  }
  const test::MailServer back({"--port", std::to_string(port)});
  node.run();
  EXPECT_EQ(now_in_store(notice).state, NoticeState::sent);
  EXPECT_TRUE(node.health.good());
}

TEST_F(OutboxTest, GivenUpAfterFiveDaysShownAndRequeued) {
  std::uint16_t port = 0;
  {
    test::MailServer gone;
    port = gone.port();
  }
  Node node(*this, "n1", config_for(port));
  const Notice notice = add("admin@example.com");
  node.run();
  clock_.advance(Seconds{5 * 86400});
  node.run();
  EXPECT_EQ(now_in_store(notice).state, NoticeState::failed);
  EXPECT_THAT(conditions(node), ::testing::Contains("notices.failed"));

  const test::MailServer back({"--port", std::to_string(port)});
  clock_.advance(Seconds{60});
  const auto requeue = [&] {
    return store_->write(
        [&](store::Unit& unit) { return requeue_notice(unit, notice.id, clock_.now()); });
  };
  EXPECT_TRUE(requeue());
  EXPECT_FALSE(requeue()) << "only what has failed";
  node.run();
  EXPECT_EQ(now_in_store(notice).state, NoticeState::sent);
  EXPECT_EQ(back.count(), 1U);
  EXPECT_TRUE(node.health.good());
}

/// A daemon that was down for longer than the days of retrying still has them before it.
TEST_F(OutboxTest, TheDaysOfRetryingBeginWithTheFirstAttempt) {
  std::uint16_t port = 0;
  {
    test::MailServer gone;
    port = gone.port();
  }
  Node node(*this, "n1", config_for(port));
  const Notice notice = add("admin@example.com");
  clock_.advance(Seconds{8 * 86400});
  const Instant begin = clock_.now();
  while (now_in_store(notice).state == NoticeState::pending) {
    clock_.set(now_in_store(notice).next_attempt > begin ? now_in_store(notice).next_attempt
                                                         : begin);
    node.run();
  }
  EXPECT_EQ(now_in_store(notice).state, NoticeState::failed);
  EXPECT_EQ(now_in_store(notice).first_attempt, begin);
  EXPECT_GE(clock_.now(), begin + Seconds{5 * 86400});
  EXPECT_LE(clock_.now(), begin + Seconds{5 * 86400 + 3600});
}

TEST_F(OutboxTest, WhatIsCancelledDuringItsAttemptIsNotTriedAgainNorWhatWaitedBehindIt) {
  for (const bool accepted : {false, true}) {
    std::vector<std::string> options{"--delay", "1"};
    if (!accepted) options.insert(options.end(), {"--fail", "451:1000"});
    const test::MailServer server(options);
    Node node(*this, "n1", config_for(server.port()));
    const std::string subject = accepted ? "accepted" : "refused";
    const auto kind = notify::Kind::key_expiring;
    const Notice one = add("a@example.com", subject, kind, Seconds{86400});
    const Notice other = add("b@example.com", subject, kind, Seconds{86400});
    {
      std::jthread pass([&] { node.run(); });
      while (count(NoticeState::claimed) < 2) std::this_thread::yield();
      // The first of them is being handed over or will be; the server takes a second for it.
      EXPECT_EQ(store_->write([&](store::Unit& unit) {
        return store::cancel_notices(unit, "api_key", subject, "key_expiring", clock_.now());
      }),
                2U);
    }
    unsigned accepted_rows = 0;
    for (const Notice& notice : {one, other}) {
      const NoticeState state = now_in_store(notice).state;
      if (state == NoticeState::sent)
        ++accepted_rows;
      else
        EXPECT_EQ(state, NoticeState::cancelled);
    }
    EXPECT_EQ(accepted_rows, server.count()) << "what a server has taken is recorded as sent";
    EXPECT_LE(accepted_rows, accepted ? 1U : 0U);
    EXPECT_EQ(node.outbox.earliest(), std::nullopt);
  }
}

TEST_F(OutboxTest, ARefusedRecipientIsRetriedAndDoesNotHoldUpOthers) {
  const test::MailServer server;
  Node node(*this, "n1", config_for(server.port()));
  const Notice refused = add("refused@example.com");
  const Notice good = add("admin@example.com");
  node.run();
  EXPECT_EQ(now_in_store(refused).state, NoticeState::pending);
  EXPECT_THAT(now_in_store(refused).answer, HasSubstr("550"));
  EXPECT_EQ(now_in_store(good).state, NoticeState::sent);
  EXPECT_TRUE(node.health.good()) << "the server is not away";
}

TEST_F(OutboxTest, WhatCannotBeSentAtAllFailsAtOnce) {
  const test::MailServer server;
  Node node(*this, "n1", config_for(server.port()));
  const Notice address =
      add("b\xc3\xbc"
          "cher@example.com");
  Notice facts = add("admin@example.com");
  store_->write([&](store::Unit& unit) {
    facts.facts = "{}";
    EXPECT_TRUE(store::update_notice(unit, facts));
  });
  node.run();
  EXPECT_EQ(now_in_store(address).state, NoticeState::failed);
  EXPECT_EQ(now_in_store(facts).state, NoticeState::failed);
  EXPECT_EQ(server.count(), 0U);
}

TEST_F(OutboxTest, TwoNodesSendEachNoticeOnce) {
  const test::MailServer server;
  Node one(*this, "n1", config_for(server.port()));
  Node two(*this, "n2", config_for(server.port()));
  for (int i = 0; i < 120; ++i) (void)add("a" + std::to_string(i) + "@example.com");
  {
    std::jthread first([&] { one.run(); });
    std::jthread second([&] { two.run(); });
  }
  EXPECT_EQ(server.count(), 120U);
  EXPECT_EQ(count(NoticeState::sent), 120);
}

TEST_F(OutboxTest, TheClaimOfADeadNodeEndsAndOursAreTakenBackAtOnce) {
  const test::MailServer server;
  const auto claimed_by = [&](const char* node, const char* recipient) {
    Notice notice = add(recipient);
    notice.state = NoticeState::claimed;
    notice.claimed_by = node;
    notice.claimed_until = clock_.now() + Seconds{240};
    store_->write([&](store::Unit& unit) { EXPECT_TRUE(store::update_notice(unit, notice)); });
    return notice;
  };
  const Notice of_other = claimed_by("n2", "other@example.com");
  const Notice of_ours = claimed_by("n1", "ours@example.com");
  Node node(*this, "n1", config_for(server.port()));
  node.run();
  EXPECT_EQ(now_in_store(of_ours).state, NoticeState::sent);
  EXPECT_EQ(now_in_store(of_other).state, NoticeState::claimed);
  const auto next = node.outbox.earliest();
  ASSERT_TRUE(next);
  clock_.set(*next);
  node.run();
  EXPECT_EQ(now_in_store(of_other).state, NoticeState::sent);
}

TEST_F(OutboxTest, ARepeatAfterALostAnswerHasTheSameMessageId) {
  const test::MailServer server({"--close-before-250", "1"});
  Node node(*this, "n1", config_for(server.port()));
  const Notice notice = add("admin@example.com");
  node.run();
  EXPECT_EQ(now_in_store(notice).state, NoticeState::pending);
  clock_.advance(Seconds{60});
  node.run();
  EXPECT_EQ(now_in_store(notice).state, NoticeState::sent);
  ASSERT_EQ(server.count(), 2U);
  const auto id_line = [](const std::string& mail) {
    const auto begin = mail.find("Message-ID:");
    return mail.substr(begin, mail.find("\r\n", begin) - begin);
  };
  EXPECT_EQ(id_line(server.mail(1)), id_line(server.mail(2)));
}

TEST_F(OutboxTest, ARetryThatATighterWarningHasOvertakenIsSuperseded) {
  std::uint16_t port = 0;
  {
    test::MailServer gone;
    port = gone.port();
  }
  Node node(*this, "n1", config_for(port));
  const Notice wide =
      add("admin@example.com", "k1", notify::Kind::key_expiring, Seconds{7 * 86400});
  const Notice tight =
      add("admin@example.com", "k1", notify::Kind::key_expiring, Seconds{2 * 86400});
  node.run();
  EXPECT_EQ(now_in_store(wide).state, NoticeState::superseded);
  EXPECT_EQ(now_in_store(tight).state, NoticeState::pending);
}

TEST_F(OutboxTest, StopGivesBackWhatIsUnsent) {
  const test::MailServer server({"--delay", "30"});
  Config config = config_for(server.port());
  config.smtp.timeout = Seconds{20};
  Node node(*this, "n1", std::move(config));
  for (int i = 0; i < 5; ++i) (void)add("a" + std::to_string(i) + "@example.com");
  const auto begin = std::chrono::steady_clock::now();
  {
    std::jthread pass([&] { (void)node.outbox.run_pass(clock_.now()); });
    while (count(NoticeState::claimed) == 0) std::this_thread::yield();
    node.outbox.stop();
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds{15});
  EXPECT_EQ(count(NoticeState::pending), 5);
  EXPECT_EQ(count(NoticeState::claimed), 0);
  Node again(*this, "n1", config_for(server.port()));
  EXPECT_TRUE(again.outbox.earliest());
}

/// A repeat is allowed only after a crash: while the daemon lives, an answer that the store did not
/// take is kept and recorded before anything else is sent.
TEST_F(OutboxTest, AnAnswerThatTheStoreDidNotTakeIsRecordedLaterAndNothingIsSentTwice) {
  for (const bool commits : {false, true}) {
    const test::MailServer server;
    Node node(*this, "n1", config_for(server.port()));
    node.run();
    const std::string subject = commits ? "committed" : "lost";
    const Notice first = add("first@example.com", subject);
    const Notice second = add("second@example.com", subject);
    store_->commits_before_failing = commits;
    store_->good_writes = 1;  // the claim; then the first record fails
    EXPECT_THROW((void)node.outbox.run_pass(clock_.now()), store::Error);
    EXPECT_EQ(server.count(), 1U) << "nothing more is sent while answers cannot be recorded";
    EXPECT_EQ(node.outbox.earliest(), clock_.now()) << "tries again as soon as it may";
    EXPECT_THROW((void)node.outbox.run_pass(clock_.now()), store::Error);
    EXPECT_EQ(server.count(), 1U);
    store_->good_writes = 1000000;
    node.run();
    EXPECT_EQ(server.count(), 2U);
    EXPECT_EQ(now_in_store(first).state, NoticeState::sent);
    EXPECT_EQ(now_in_store(second).state, NoticeState::sent);
    EXPECT_EQ(now_in_store(first).attempts, 1);
    store::ActivityFilter filter;
    filter.resource_ids = {first.id};
    EXPECT_EQ(store_->read([&](store::Unit& unit) { return store::count_activity(unit, filter); }),
              1);
  }
}

TEST_F(OutboxTest, SettingsThatCannotWorkWaitAndSaySo) {
  Config config = config_for(25);
  config.smtp.user = "gate";
  config.smtp.password_file = (directory_.path() / "missing").string();
  Node node(*this, "n1", std::move(config));
  const Notice notice = add("admin@example.com");
  node.run();
  EXPECT_EQ(now_in_store(notice).state, NoticeState::pending);
  EXPECT_THAT(now_in_store(notice).answer, HasSubstr("missing"));
  EXPECT_THAT(conditions(node), ::testing::ElementsAre("mail.unreachable"));
}

TEST_F(OutboxWebhookTest, WebhooksGoThroughTheSameLedger) {
  const std::string hooks = (directory_.path() / "hooks").string();
  const test::PythonServer good(test::source_root() / "tests/unit/notify/webhook_sink",
                                {"--dir", hooks});
  const test::PythonServer bad(test::source_root() / "tests/unit/notify/webhook_sink",
                               {"--dir", hooks, "--status", "503"});
  const test::MailServer mail;
  Config config = config_for(mail.port());
  config.notify.webhooks = {webhook("good", good.port()), webhook("bad", bad.port())};
  Node node(*this, "n1", std::move(config));
  const auto kind = notify::Kind::key_expired;
  const Notice to_good = add("good", "k1", kind, Seconds{0}, store::Channel::webhook);
  const Notice to_bad = add("bad", "k1", kind, Seconds{0}, store::Channel::webhook);
  const Notice to_gone = add("gone", "k1", kind, Seconds{0}, store::Channel::webhook);
  const Notice by_mail = add("admin@example.com");
  node.run();
  EXPECT_EQ(now_in_store(to_good).state, NoticeState::sent);
  EXPECT_THAT(now_in_store(to_good).answer, HasSubstr("204"));
  EXPECT_EQ(now_in_store(to_bad).state, NoticeState::pending);
  EXPECT_THAT(now_in_store(to_bad).answer, HasSubstr("503"));
  EXPECT_EQ(now_in_store(to_gone).state, NoticeState::failed);
  EXPECT_EQ(now_in_store(by_mail).state, NoticeState::sent);
  EXPECT_THAT(test::file_content(directory_.path() / "hooks" / "1.json"),
              HasSubstr("webhook-signature"));
}

}  // namespace
}  // namespace sallyport::daemon

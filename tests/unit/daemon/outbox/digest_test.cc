// Digests: several notices in one mail, one record each, and a Message-ID and members that stay.
#include <gmock/gmock.h>

#include <set>

#include "outbox_fixture.h"
#include "store/activity.h"

namespace sallyport::daemon {
namespace {

using notify::Kind;
using ::testing::HasSubstr;
using ::testing::Not;

class DigestTest : public OutboxTest {
 protected:
  static Config digests_to(std::uint16_t port) {
    Config config = config_for(port);
    config.notify.digest = true;
    config.notify.digest_wait = Seconds{600};
    return config;
  }
  Notice expiring(const std::string& key, const std::string& recipient = "admin@example.com") {
    return add(recipient, key, Kind::key_expiring, Seconds{7 * 86400});
  }
  void wait() { clock_.advance(Seconds{600}); }

  static std::string header(const std::string& mail, const std::string& name) {
    const auto begin = mail.find("\r\n" + name + ":");
    if (begin == std::string::npos) return "";
    const auto value = mail.find_first_not_of(" \r\n", begin + name.size() + 3);
    return mail.substr(value, mail.find("\r\n", value) - value);
  }
  std::string message_id(const Notice& notice) {
    return "<" + message_id_of(now_in_store(notice), config_for(1)) + ">";
  }
};

TEST_F(DigestTest, WhatComesWithinTheWaitGoesOutInOneMailWithARecordEach) {
  const test::MailServer server;
  Node node(*this, "n1", digests_to(server.port()));
  const std::vector<Notice> first{expiring("k1"), expiring("k2")};
  node.run();
  EXPECT_EQ(server.count(), 0U);
  EXPECT_EQ(node.outbox.earliest(), clock_.now() + Seconds{600});
  clock_.advance(Seconds{300});
  const Notice later = expiring("k3");
  node.run();
  EXPECT_EQ(server.count(), 0U);
  clock_.advance(Seconds{300});
  node.run();
  ASSERT_EQ(server.count(), 1U);
  const std::string mail = server.mail(1);
  EXPECT_EQ(header(mail, "X-Sallyport-Kind"), "digest");
  EXPECT_EQ(header(mail, "X-Sallyport-Members"), "3");
  EXPECT_THAT(mail, HasSubstr("Subject: 3 API keys: 3 expire soon\r\n"));
  for (const char* key : {"k1", "k2", "k3"}) EXPECT_THAT(mail, HasSubstr(key));
  for (const Notice& notice : {first[0], first[1], later}) {
    EXPECT_EQ(now_in_store(notice).state, NoticeState::sent);
    EXPECT_EQ(now_in_store(notice).attempts, 1);
    EXPECT_EQ(message_id(notice), header(mail, "Message-ID"));
    store::ActivityFilter filter;
    filter.resource_ids = {notice.id};
    EXPECT_EQ(store_->read([&](store::Unit& unit) { return store::count_activity(unit, filter); }),
              1);
  }
  EXPECT_EQ(node.outbox.earliest(), std::nullopt);
}

TEST_F(DigestTest, AKeyAloneAndWhatIsUrgentGoOutAsTheyDoOtherwise) {
  const test::MailServer server;
  Node node(*this, "n1", digests_to(server.port()));
  const Notice exposed = add("admin@example.com", "k1", Kind::exposure_flagged);
  const Notice file = add("admin@example.com", "f1", Kind::file_failed);
  const Notice alone = expiring("k2");
  const Notice of_another = expiring("k2", "contact@example.net");
  node.run();
  EXPECT_EQ(server.count(), 2U);
  EXPECT_EQ(now_in_store(exposed).state, NoticeState::sent);
  EXPECT_EQ(now_in_store(file).state, NoticeState::sent);
  wait();
  node.run();
  ASSERT_EQ(server.count(), 4U);
  for (const Notice& notice : {alone, of_another}) {
    EXPECT_EQ(now_in_store(notice).state, NoticeState::sent);
    EXPECT_EQ(now_in_store(notice).digest_id, "");
  }
  EXPECT_EQ(header(server.mail(3), "X-Sallyport-Kind"), "key_expiring");
}

TEST_F(DigestTest, ManyKeysMakeSeveralDigests) {
  const test::MailServer server;
  Node node(*this, "n1", digests_to(server.port()));
  for (int i = 0; i < 230; ++i) (void)expiring("k" + std::to_string(i));
  node.run();
  wait();
  node.run();
  EXPECT_EQ(server.count(), 3U);
  EXPECT_EQ(count(NoticeState::sent), 230);
}

/// The promise: a digest's row is there before the first attempt, and a repeat after a crash has
/// the same Message-ID and tells of the same keys, whatever has come since and is configured now.
TEST_F(DigestTest, ARepeatAfterACrashHasTheSameMessageIdAndMembers) {
  for (const bool was_sent : {false, true}) {
    const test::MailServer server;
    const std::string run = was_sent ? "b" : "a";
    const std::string recipient = run + "@example.com";
    const Notice first = expiring(run + "1", recipient);
    const Notice second = expiring(run + "2", recipient);
    wait();
    {
      Node dying(*this, "n1", digests_to(server.port()));
      (void)dying.outbox.earliest();
      if (was_sent) {
        store_->good_writes = 2;  // what the start takes back, and the claim
        EXPECT_THROW((void)dying.outbox.run_pass(clock_.now()), store::Error);
        EXPECT_EQ(server.count(), 1U);
      } else {
        store_->write([&](store::Unit& unit) {
          ClaimPolicy policy;
          policy.node = "n1";
          policy.digest = true;
          EXPECT_EQ(claim_due(unit, policy, clock_.now()).parcels.size(), 1U);
        });
      }
    }
    store_->good_writes = 1000000;
    EXPECT_EQ(now_in_store(first).state, NoticeState::claimed);
    EXPECT_NE(now_in_store(first).digest_id, "");
    const Notice third = expiring(run + "3", recipient);
    Config config = digests_to(server.port());
    config.notify.digest = was_sent;  // off in the other run: the digest stays one
    Node again(*this, "n1", std::move(config));
    again.run();
    const unsigned digests = was_sent ? 2U : 1U;
    ASSERT_EQ(server.count(), was_sent ? 2U : 2U);
    std::set<std::string> ids;
    unsigned found = 0;
    for (unsigned i = 1; i <= server.count(); ++i) {
      const std::string mail = server.mail(i);
      if (header(mail, "X-Sallyport-Kind") != "digest") continue;
      ++found;
      ids.insert(header(mail, "Message-ID"));
      EXPECT_EQ(header(mail, "X-Sallyport-Members"), "2");
      EXPECT_THAT(mail, HasSubstr("    " + run + "1\r\n"));
      EXPECT_THAT(mail, HasSubstr("    " + run + "2\r\n"));
      EXPECT_THAT(mail, Not(HasSubstr("    " + run + "3\r\n")));
    }
    EXPECT_EQ(found, digests);
    EXPECT_EQ(ids, std::set<std::string>{message_id(first)});
    EXPECT_EQ(now_in_store(first).state, NoticeState::sent);
    EXPECT_EQ(now_in_store(second).state, NoticeState::sent);
    EXPECT_EQ(now_in_store(third).digest_id, "");
  }
}

TEST_F(DigestTest, AMemberThatAppliesNoMoreIsToldAsSuchAndOneOfThoseAloneIsNotSent) {
  std::uint16_t port = 0;
  {
    test::MailServer gone;
    port = gone.port();
  }
  Node node(*this, "n1", digests_to(port));
  const Notice stays = expiring("k1");
  const Notice cancelled = expiring("k2");
  const Notice lost = expiring("k3", "other@example.com");
  const Notice lost_too = expiring("k4", "other@example.com");
  wait();
  node.run();
  EXPECT_EQ(now_in_store(stays).state, NoticeState::pending);
  EXPECT_EQ(now_in_store(stays).attempts, 1);
  store_->write([&](store::Unit& unit) {
    for (const char* key : {"k2", "k3", "k4"})
      EXPECT_EQ(store::cancel_notices(unit, "api_key", key, "key_expiring", clock_.now()), 1U);
  });
  const test::MailServer back({"--port", std::to_string(port)});
  clock_.set(now_in_store(stays).next_attempt);
  node.run();
  ASSERT_EQ(back.count(), 1U);
  const std::string mail = back.mail(1);
  EXPECT_EQ(header(mail, "X-Sallyport-Members"), "2");
  EXPECT_THAT(mail, HasSubstr("Subject: 2 API keys: 1 expires soon\r\n"));
  EXPECT_THAT(mail, HasSubstr("No longer applies"));
  EXPECT_EQ(now_in_store(stays).state, NoticeState::sent);
  EXPECT_EQ(now_in_store(cancelled).state, NoticeState::cancelled);
  EXPECT_EQ(now_in_store(lost).state, NoticeState::cancelled);
  EXPECT_EQ(now_in_store(lost_too).state, NoticeState::cancelled);
}

TEST_F(DigestTest, OneThatWasGivenUpIsRequeuedAsAWhole) {
  std::uint16_t port = 0;
  {
    test::MailServer gone;
    port = gone.port();
  }
  Node node(*this, "n1", digests_to(port));
  const Notice one = expiring("k1");
  const Notice other = expiring("k2");
  wait();
  node.run();
  clock_.advance(Seconds{5 * 86400});
  node.run();
  EXPECT_EQ(now_in_store(one).state, NoticeState::failed);
  EXPECT_EQ(now_in_store(other).state, NoticeState::failed);
  const std::string id = message_id(one);
  const test::MailServer back({"--port", std::to_string(port)});
  clock_.advance(Seconds{60});
  EXPECT_TRUE(store_->write(
      [&](store::Unit& unit) { return requeue_notice(unit, other.id, clock_.now()); }));
  node.run();
  ASSERT_EQ(back.count(), 1U);
  EXPECT_EQ(header(back.mail(1), "Message-ID"), id);
  EXPECT_EQ(now_in_store(one).state, NoticeState::sent);
  EXPECT_EQ(now_in_store(other).state, NoticeState::sent);
}

/// What may have been sent by itself before must not come again under another Message-ID.
TEST_F(DigestTest, WhatWasBegunAloneStaysAlone) {
  const test::MailServer server;
  const Notice begun = expiring("k1");
  {
    Node dying(*this, "n1", config_for(server.port()));
    store_->good_writes = 2;
    EXPECT_THROW((void)dying.outbox.run_pass(clock_.now()), store::Error);
    store_->good_writes = 1000000;
  }
  ASSERT_EQ(server.count(), 1U);
  (void)expiring("k2");
  wait();
  Node again(*this, "n1", digests_to(server.port()));
  again.run();
  ASSERT_EQ(server.count(), 3U);
  EXPECT_EQ(now_in_store(begun).digest_id, "");
  EXPECT_EQ(header(server.mail(1), "Message-ID"), message_id(begun));
}

}  // namespace
}  // namespace sallyport::daemon

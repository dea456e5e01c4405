// SSH keys, logins, failures, quotas and expiry: the decisions alone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <future>

#include "base/bytes.h"
#include "base/file_io.h"
#include "daemon/partners/credential_expiry.h"
#include "daemon/partners/failures.h"
#include "daemon/partners/login.h"
#include "daemon/partners/password.h"
#include "daemon/partners/refusal_rows.h"
#include "daemon/partners/ssh_key.h"
#include "daemon/partners/taken_files.h"
#include "daemon/partners/usage_table.h"

namespace sallyport::daemon {
namespace {

using base::from_unix;
using base::one_day;
using base::Seconds;
using ::testing::HasSubstr;

// Keys made by the stock ssh-keygen, once.
class SshKeyFiles : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    directory_ = std::filesystem::temp_directory_path() / ("ssh-keys-" + base::random_id());
    std::filesystem::create_directories(directory_);
    run("ssh-keygen -q -t rsa -b 2048 -N '' -C 'acme, Erp \"one\"' -f rsa2048");
    run("ssh-keygen -q -t rsa -b 1024 -N '' -C weak -f rsa1024");
    run("ssh-keygen -q -t ed25519 -N '' -C ed -f ed25519");
    for (const char* bits : {"256", "384", "521"}) {
      run(std::string("ssh-keygen -q -t ecdsa -N '' -C ec -b ") + bits + " -f ecdsa" + bits);
    }
    run("openssl genpkey -algorithm ed25519 -out ed.pem && openssl pkey -in ed.pem -pubout -out "
        "ed-public.pem");
    run("openssl ecparam -name secp256k1 -genkey -noout | openssl ec -pubout -out k1.pem");
  }
  static void TearDownTestSuite() { std::filesystem::remove_all(directory_); }

  static void run(const std::string& command) {
    const std::string line =
        "cd '" + directory_.string() + "' && { " + command + " ; } >/dev/null 2>&1";
    ASSERT_EQ(std::system(line.c_str()), 0) << command;
  }
  static std::string file(const std::string& name) { return base::read_file(directory_ / name); }
  static std::string converted(const std::string& name, const std::string& format) {
    run("ssh-keygen -e -m " + format + " -f " + name + ".pub > out");
    return file("out");
  }
  static std::string openssh_fingerprint(const std::string& name) {
    run("ssh-keygen -l -f " + name + ".pub | cut -d' ' -f2 > out");
    std::string text = file("out");
    while (!text.empty() && text.back() == '\n') text.pop_back();
    return text;
  }

  static inline std::filesystem::path directory_;
};

TEST_F(SshKeyFiles, EveryKindIsTakenWithOpensshsFingerprint) {
  for (const char* name : {"rsa2048", "ed25519", "ecdsa256", "ecdsa384", "ecdsa521"}) {
    const SshKeyResult result = parse_ssh_key(file(std::string(name) + ".pub"));
    ASSERT_TRUE(result.key) << name << ": " << result.refusal;
    EXPECT_EQ(result.key->fingerprint, openssh_fingerprint(name));
  }
  EXPECT_EQ(parse_ssh_key(file("rsa2048.pub")).key->comment, "acme, Erp \"one\"");
  EXPECT_EQ(parse_ssh_key(file("rsa2048.pub")).key->bits, 2048U);
}

TEST_F(SshKeyFiles, OtherFormatsHoldTheSameKey) {
  for (const char* name : {"rsa2048", "ed25519", "ecdsa521"}) {
    const std::string blob = parse_ssh_key(file(std::string(name) + ".pub")).key->blob;
    const SshKeyResult rfc = parse_ssh_key(converted(name, "RFC4716"));
    ASSERT_TRUE(rfc.key) << rfc.refusal;
    EXPECT_EQ(rfc.key->blob, blob) << name;
  }
  for (const char* name : {"rsa2048", "ecdsa256", "ecdsa384", "ecdsa521"}) {
    const std::string blob = parse_ssh_key(file(std::string(name) + ".pub")).key->blob;
    const SshKeyResult pem = parse_ssh_key(converted(name, "PKCS8"));
    ASSERT_TRUE(pem.key) << name << ": " << pem.refusal;
    EXPECT_EQ(pem.key->blob, blob) << name;
  }
  const SshKeyResult pkcs1 = parse_ssh_key(converted("rsa2048", "PEM"));
  ASSERT_TRUE(pkcs1.key) << pkcs1.refusal;
  EXPECT_EQ(pkcs1.key->fingerprint, openssh_fingerprint("rsa2048"));
  EXPECT_EQ(parse_ssh_key(file("ed-public.pem")).key->type, "ssh-ed25519");
}

TEST_F(SshKeyFiles, WindowsLineEndsAndCommentsDoNotMatter) {
  std::string text = "# for acme\r\n\r\n" + file("ed25519.pub");
  text.insert(text.size() - 1, "\r");
  EXPECT_TRUE(parse_ssh_key(text).key);
}

TEST_F(SshKeyFiles, WhatIsWeakOrNoPublicKeyIsRefusedWithAReason) {
  EXPECT_THAT(parse_ssh_key(file("rsa1024.pub")).refusal, HasSubstr("1024 bits"));
  EXPECT_THAT(parse_ssh_key(converted("rsa1024", "PKCS8")).refusal, HasSubstr("too weak"));
  EXPECT_THAT(parse_ssh_key(file("rsa2048")).refusal, HasSubstr("private key"));
  EXPECT_THAT(parse_ssh_key("PuTTY-User-Key-File-3: ssh-rsa\n").refusal, HasSubstr("private key"));
  EXPECT_THAT(parse_ssh_key(file("k1.pem")).refusal, HasSubstr("P-256"));
  EXPECT_THAT(judge_ssh_blob(std::string("\0\0\0\x07ssh-dss", 11)).refusal, HasSubstr("DSA"));
  EXPECT_THAT(judge_ssh_blob(std::string("\0\0\0\x20ssh-ed25519-cert-v01@openssh.com", 36)).refusal,
              HasSubstr("certificate"));
  EXPECT_THAT(parse_ssh_key("").refusal, HasSubstr("no key"));
  EXPECT_THAT(parse_ssh_key("hello world").refusal, HasSubstr("no SSH public key"));
  EXPECT_THAT(parse_ssh_key(file("ed25519.pub") + file("rsa2048.pub")).refusal,
              HasSubstr("exactly one"));
  EXPECT_THAT(parse_ssh_key(std::string(70'000, 'A')).refusal, HasSubstr("too large"));
  const std::string key = file("ed25519.pub");
  EXPECT_THAT(parse_ssh_key("ssh-rsa" + key.substr(key.find(' '))).refusal,
              HasSubstr("says ssh-rsa but holds"));
}

TEST_F(SshKeyFiles, EveryTruncationAndEveryChangedByteIsARefusalNotACrash) {
  for (const char* name : {"rsa2048", "ed25519", "ecdsa256"}) {
    const std::string blob = parse_ssh_key(file(std::string(name) + ".pub")).key->blob;
    for (std::size_t size = 0; size < blob.size(); ++size) {
      EXPECT_FALSE(judge_ssh_blob(blob.substr(0, size)).key) << name << " " << size;
    }
    EXPECT_FALSE(judge_ssh_blob(blob + '\0').key);
    for (std::size_t i = 0; i < blob.size(); ++i) {
      std::string changed = blob;
      changed[i] = static_cast<char>(changed[i] ^ 0x80);
      static_cast<void>(judge_ssh_blob(changed));
    }
  }
}

class LoginDecisions : public ::testing::Test {
 protected:
  LoginDecisions() {
    partner_.name = "acme";
    key_.id = "k1";
    // A well-formed Ed25519 blob.
    blob_ = std::string("\0\0\0\x0bssh-ed25519\0\0\0\x20", 19) + std::string(32, 'k');
    key_.blob = base::to_base64(blob_);
    key_.fingerprint = "SHA256:x";
    by_key_.address = "192.0.2.7";
    by_key_.key = blob_;
    by_password_.address = "192.0.2.7";
    by_password_.by_password = true;
    by_password_.password_right = true;
  }
  LoginDecision decide(const LoginAttempt& attempt) {
    return decide_login(partner_, {key_}, attempt, now_);
  }
  using Outcome = LoginDecision::Outcome;

  base::Instant now_ = from_unix(1'700'000'000);
  store::Partner partner_;
  store::SshKey key_;
  std::string blob_;
  LoginAttempt by_key_;
  LoginAttempt by_password_;
};

TEST_F(LoginDecisions, AKnownKeyIsLetIn) {
  EXPECT_EQ(decide(by_key_).outcome, Outcome::allow);
  EXPECT_EQ(decide(by_key_).key_id, "k1");
}

TEST_F(LoginDecisions, EveryReasonAgainstIt) {
  EXPECT_EQ(decide_login(std::nullopt, {key_}, by_key_, now_).reason, "unknown_user");
  LoginAttempt other = by_key_;
  other.key.back() = 'x';
  EXPECT_EQ(decide(other).reason, "unknown_key");
  other.key.clear();
  EXPECT_EQ(decide(other).reason, "key_needed_first");
  key_.expires = now_;
  EXPECT_EQ(decide(by_key_).reason, "expired_key");
  key_.expires = now_ + Seconds{1};
  EXPECT_EQ(decide(by_key_).outcome, Outcome::allow);
  partner_.allowed_ips = {"198.51.100.0/24"};
  EXPECT_EQ(decide(by_key_).reason, "address_not_allowed");
  partner_.allowed_ips.push_back("192.0.2.0/25");
  EXPECT_EQ(decide(by_key_).outcome, Outcome::allow);
  by_key_.address = "nonsense";
  EXPECT_EQ(decide(by_key_).reason, "address_not_allowed");
  partner_.allowed_ips.clear();
  partner_.active = false;
  EXPECT_EQ(decide(by_key_).reason, "suspended");
}

TEST_F(LoginDecisions, Passwords) {
  EXPECT_EQ(decide(by_password_).reason, "no_password_set");
  partner_.password_hash = "$y$...";
  EXPECT_EQ(decide(by_password_).outcome, Outcome::allow);
  by_password_.password_right = false;
  EXPECT_EQ(decide(by_password_).reason, "wrong_password");
  by_password_.password_right = true;
  partner_.auth = "key";
  EXPECT_EQ(decide(by_password_).reason, "password_not_allowed");
  partner_.auth = "password";
  EXPECT_EQ(decide(by_password_).outcome, Outcome::allow);
  EXPECT_EQ(decide(by_key_).reason, "key_not_allowed");
}

TEST_F(LoginDecisions, KeyAndPasswordAreBothNeeded) {
  partner_.auth = "key+password";
  partner_.password_hash = "$y$...";
  EXPECT_EQ(decide(by_key_).outcome, Outcome::partial);
  EXPECT_EQ(decide(by_password_).reason, "key_needed_first");
  by_password_.proven_key = blob_ + "x";
  EXPECT_EQ(decide(by_password_).reason, "unknown_key");
  by_password_.proven_key = blob_;
  EXPECT_EQ(decide(by_password_).outcome, Outcome::allow);
  by_password_.password_right = false;
  EXPECT_EQ(decide(by_password_).reason, "wrong_password");
}

TEST(PartnerNames, AreAsTheSpecificationSays) {
  for (const char* good : {"a", "acme", "0", "acme-2", "a23456789012345678901234567890ab"}) {
    EXPECT_TRUE(is_partner_name(good)) << good;
  }
  for (const char* bad :
       {"", "-a", "Acme", "a_b", "a.b", "..", "a/b", "a b", "a23456789012345678901234567890abc"}) {
    EXPECT_FALSE(is_partner_name(bad)) << bad;
  }
}

TEST(Failures, AreSlowedThenBannedPerNetwork) {
  FailureCounter counter;
  const FailurePolicy policy{5, Seconds{600}, Seconds{1800}, {"198.51.100.0/24"}};
  base::Instant now = from_unix(1'700'000'000);
  EXPECT_EQ(counter.failed("192.0.2.7", policy, now).delay_ms, 0U);
  EXPECT_EQ(counter.failed("192.0.2.7", policy, now).delay_ms, 0U);
  EXPECT_EQ(counter.failed("192.0.2.7", policy, now).delay_ms, 250U);
  EXPECT_EQ(counter.failed("192.0.2.7", policy, now).delay_ms, 500U);
  EXPECT_EQ(counter.failed("192.0.2.8", policy, now).delay_ms, 0U);
  EXPECT_EQ(counter.failed("192.0.2.7", policy, now).banned_until, now + Seconds{1800});
  // IPv6 counts by /64.
  for (int i = 1; i < 5; ++i) {
    EXPECT_FALSE(
        counter.failed("2001:db8::" + std::to_string(i), policy, now).banned_until.has_value());
  }
  EXPECT_TRUE(counter.failed("2001:db8::ffff", policy, now).banned_until);
  for (int i = 0; i < 20; ++i) {
    const auto verdict = counter.failed("198.51.100.9", policy, now);
    EXPECT_EQ(verdict.delay_ms, 0U);
    EXPECT_FALSE(verdict.banned_until);
  }
}

TEST(Unfinished, AreCountedByMinute) {
  UnfinishedCounter counter;
  const auto start = base::from_unix(1'000'000);
  EXPECT_EQ(counter.ended("192.0.2.1", 5, start), 5U);
  EXPECT_EQ(counter.ended("192.0.2.2", 1, start), 1U);
  EXPECT_EQ(counter.ended("192.0.2.1", 5, start + base::Seconds{59}), 10U);
  EXPECT_EQ(counter.ended("192.0.2.1", 5, start + base::Seconds{60}), 5U);
  EXPECT_EQ(counter.ended("192.0.2.1", 5, start), 5U) << "the clock was put back";
}

TEST(RefusalRows, TellOfTheFirstAndThenHourly) {
  RefusalRows rows;
  const auto start = base::from_unix(1'000'000);
  EXPECT_EQ(rows.add("192.0.2.1", "banned", 3, start), 3U);
  EXPECT_EQ(rows.add("192.0.2.1", "banned", 4, start + base::Seconds{10}), 0U);
  EXPECT_EQ(rows.add("192.0.2.2", "banned", 1, start + base::Seconds{10}), 1U);
  EXPECT_EQ(rows.add("192.0.2.1", "max_connections", 1, start + base::Seconds{10}), 1U);
  EXPECT_EQ(rows.add("192.0.2.1", "banned", 5, start + base::Seconds{3600}), 9U);
  EXPECT_EQ(rows.add("192.0.2.1", "banned", 1, start), 1U) << "the clock was put back";
  // Strangers from everywhere make no more rows than are remembered.
  std::uint64_t told = 0;
  for (int i = 0; i < 20'000; ++i)
    told += rows.add("x" + std::to_string(i), "banned", 1, start + base::Seconds{4000});
  EXPECT_LE(told, 10'000U);
  EXPECT_EQ(rows.add("late", "banned", 1, start + base::Seconds{9000}), 1U);
}

TEST(Failures, OldOnesAreForgotten) {
  FailureCounter counter;
  const FailurePolicy policy{3, Seconds{600}, Seconds{1800}, {}};
  base::Instant now = from_unix(1'700'000'000);
  for (int i = 0; i < 10; ++i) {
    EXPECT_FALSE(counter.failed("192.0.2.7", policy, now).banned_until);
    now += Seconds{301};
  }
  // A clock that goes back must not keep times that lie in its future.
  now -= one_day;
  EXPECT_FALSE(counter.failed("192.0.2.7", policy, now).banned_until);
}

TEST(Passwords, YescryptHashesAreChecked) {
  const base::Secret password(std::string("correct horse battery"));
  const std::string hash = hash_password(password);
  EXPECT_EQ(hash.substr(0, 3), "$y$");
  EXPECT_TRUE(check_password(password, hash));
  EXPECT_FALSE(check_password(base::Secret(std::string("correct horse batterz")), hash));
  EXPECT_FALSE(check_password(password, dummy_password_hash()));
  EXPECT_FALSE(check_password(password, ""));
  EXPECT_FALSE(check_password(password, "*"));
  EXPECT_NE(hash_password(password), hash);
}

TEST(Passwords, OneAddressCannotKeepOthersWaiting) {
  PasswordQueue queue(1);
  std::promise<void> gate;
  std::shared_future<void> opened(gate.get_future());
  std::mutex mutex;
  std::vector<std::string> order;
  std::promise<void> done;
  ASSERT_TRUE(queue.submit("192.0.2.1", [opened] { opened.wait(); }));
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(queue.submit("192.0.2.1", [&] {
      const std::lock_guard lock(mutex);
      order.emplace_back("flood");
    }));
  }
  ASSERT_TRUE(queue.submit("192.0.2.2", [&] {
    const std::lock_guard lock(mutex);
    order.emplace_back("other");
    done.set_value();
  }));
  int refused = 0;
  for (int i = 0; i < 100; ++i) refused += queue.submit("192.0.2.1", [] {}) ? 0 : 1;
  EXPECT_GT(refused, 0);
  gate.set_value();
  ASSERT_EQ(done.get_future().wait_for(std::chrono::seconds{20}), std::future_status::ready);
  const std::lock_guard lock(mutex);
  EXPECT_LE(std::find(order.begin(), order.end(), "other") - order.begin(), 1);
}

TEST(Taken, IsRememberedForAWhilePerPartner) {
  TakenFiles taken;
  const auto now = TakenFiles::Clock::now();
  taken.remember("acme", "/Incoming/a", {10, 99, now + std::chrono::seconds{60}});
  EXPECT_EQ(taken.find("acme", "/Incoming/a", 0, now)->size, 10U);
  EXPECT_FALSE(taken.find("other", "/Incoming/a", 0, now));
  EXPECT_EQ(taken.find("acme", "/Incoming/a", 123, now)->modified, 123);
  EXPECT_EQ(taken.find("acme", "/Incoming/a", 0, now)->modified, 123);
  EXPECT_FALSE(taken.find("acme", "/Incoming/a", 0, now + std::chrono::seconds{60}));
}

TEST(Taken, OfTooManyTheOldestAreForgotten) {
  TakenFiles taken;
  const auto now = TakenFiles::Clock::now();
  const auto until = [&](int number) {
    return now + std::chrono::seconds{60} + std::chrono::microseconds{number};
  };
  constexpr int many = 50'100;
  for (int i = 0; i < many; ++i) {
    taken.remember("acme", std::to_string(i), {1, 1, until(i)});
    // One name comes again and again: it is the youngest.
    if (i % 1000 == 0) taken.remember("acme", "again", {2, 1, until(i)});
  }
  EXPECT_FALSE(taken.find("acme", "0", 0, now));
  EXPECT_TRUE(taken.find("acme", "1000", 0, now));
  EXPECT_TRUE(taken.find("acme", std::to_string(many - 1), 0, now));
  EXPECT_TRUE(taken.find("acme", "again", 0, now));
}

struct QuotaTest : testing::Test {
  QuotaTest() {
    policy.quota_bytes = 150;
    policy.quota_files = 5;
  }
  QuotaLeft left(std::int64_t bytes = 0, std::int64_t files = 0, Usage wanted = {}) {
    return usage.left("acme", policy, {bytes, files, wanted});
  }
  int measured = 0;
  UsageTable usage{[this](const std::string&) {
    ++measured;
    if (meanwhile) meanwhile();
    return Usage{100, 2};
  }};
  std::function<void()> meanwhile;
  PartnerPolicy policy;
};

TEST_F(QuotaTest, IsMeasuredOnceAndCountedOn) {
  policy.quota_bytes = no_limit;
  policy.quota_files = no_limit;
  EXPECT_EQ(left().bytes, no_limit);
  EXPECT_EQ(measured, 0);
  policy.quota_bytes = 150;
  policy.quota_files = 3;
  EXPECT_EQ(left().bytes, 50U);
  EXPECT_EQ(left(30, 1).files, 0U);
  EXPECT_EQ(left(30, 0).bytes, 0U);
  EXPECT_EQ(left(-60, -1).bytes, 50U);
  EXPECT_EQ(measured, 1);
}

TEST_F(QuotaTest, GrantsWhatThereIsRoomForAndNothingOtherwise) {
  EXPECT_TRUE(left(0, 0, {50, 1}).granted) << "measured just now: it is not on the disk yet";
  EXPECT_EQ(left().bytes, 0U);
  EXPECT_FALSE(left(0, 0, {1, 0}).granted);
  EXPECT_EQ(left().files, 2U);
  EXPECT_TRUE(left(0, 0, {0, 1}).granted) << "bytes that are used up are no reason";
  EXPECT_FALSE(left(-10, 0, {10, 2}).granted);
  EXPECT_EQ(left().bytes, 10U);
  EXPECT_TRUE(left(0, 0, {10, 1}).granted);
  EXPECT_EQ(measured, 1);
}

TEST_F(QuotaTest, CountsWhatSessionsHoldUntilTheyDoNot) {
  usage.holds("acme", "first", {{{1, 1}, 10}});
  usage.holds("acme", "second", {{{1, 2}, 20}});
  EXPECT_EQ(left().bytes, 20U);
  EXPECT_EQ(left().files, 1U);
  usage.holds("acme", "first", {{{1, 1}, 15}});
  EXPECT_EQ(left().bytes, 15U) << "instead of what it held before";
  usage.holds("acme", "second", {{{1, 1}, 15}, {{2, 1}, 5}});
  EXPECT_EQ(left().bytes, 30U) << "one of them is the first one's, too";
  usage.holds("acme", "first", {});
  EXPECT_EQ(left().bytes, 30U);
  usage.holds("other", "first", {});
  usage.forget("acme", "second");
  EXPECT_EQ(left().bytes, 50U);
}

TEST_F(QuotaTest, CountsWhatIsFreedUntilAllHaveSaidWhatTheyHold) {
  (void)left();
  usage.freed("acme", {60, 1}, {{"first", 3}, {"second", 1}});
  EXPECT_EQ(left(-60, -1).bytes, 50U);
  EXPECT_TRUE(left().settles);
  usage.heard("acme", "first", 2);
  usage.forget("acme", "second");
  EXPECT_TRUE(left().settles) << "that was an answer to what was asked before";
  usage.holds("acme", "first", {{{1, 1}, 60}});
  usage.heard("acme", "first", 3);
  EXPECT_EQ(left().bytes, 50U) << "it is held";
  EXPECT_FALSE(left().settles);
  usage.forget("acme", "first");
  EXPECT_EQ(left().bytes, 110U);
  usage.freed("acme", {60, 1}, {});
  EXPECT_FALSE(left().settles) << "there is nobody else";
}

TEST_F(QuotaTest, WhoGoesOnFreeingIsHeardMeanwhile) {
  (void)left();
  for (std::uint32_t number = 1; number < 1000; ++number) {
    usage.freed("acme", {1, 0}, {{"busy", 1}, {"prompt", number}});
    usage.freed("acme", {1, 0}, {{"busy", 1}, {"prompt", number + 1}});
    usage.heard("acme", "prompt", number);
  }
  usage.heard("acme", "prompt", 1000);
  EXPECT_EQ(left().bytes, 0U) << "1998 bytes, of 50";
  usage.heard("acme", "busy", 1);
  EXPECT_EQ(left().bytes, 50U);
}

TEST_F(QuotaTest, IsMeasuredAgainWhenAsMuchWasFreedAsItAllowsButNotAllTheTime) {
  for (int i = 0; i < 10; ++i) (void)left(-100, 0);
  EXPECT_EQ(measured, 1);
  std::this_thread::sleep_for(std::chrono::milliseconds{1100});
  (void)left();
  EXPECT_EQ(measured, 2);
}

TEST_F(QuotaTest, WhatMovesUnderAWalkIsNotLost) {
  EXPECT_EQ(left().bytes, 50U);
  (void)left(40, 1);
  const auto again = [this] {
    for (int i = 0; i < 2; ++i) (void)left(-100, 0), (void)left(100, 0);
    std::this_thread::sleep_for(std::chrono::milliseconds{1100});
    return left().bytes;
  };
  meanwhile = [this] { usage.moved("acme"); };
  EXPECT_EQ(again(), 10U) << "it may have met 40 of them nowhere";
  meanwhile = nullptr;
  EXPECT_EQ(again(), 50U);
  EXPECT_EQ(measured, 3);
}

TEST(CredentialExpiry, AnnouncesTheTightestAndLooksAgainInTime) {
  const std::vector<Seconds> warnings = {7 * one_day, 2 * one_day};
  const base::Instant end = from_unix(1'800'000'000);
  EXPECT_EQ(first_due(end, warnings, end - 30 * one_day), end - 7 * one_day);
  EXPECT_EQ(first_due(end, warnings, end - 3 * one_day), end - 2 * one_day);
  EXPECT_EQ(first_due(end, warnings, end - one_day), end);
  EXPECT_EQ(first_due(std::nullopt, warnings, end), std::nullopt);
  auto step = expiry_step(end, warnings, end - 7 * one_day);
  EXPECT_EQ(step.announce, 7 * one_day);
  EXPECT_EQ(step.next_due, end - 2 * one_day);
  // The daemon was down for the first one: only the tighter is announced.
  step = expiry_step(end, warnings, end - one_day);
  EXPECT_EQ(step.announce, 2 * one_day);
  EXPECT_EQ(step.next_due, end);
  step = expiry_step(end, warnings, end);
  EXPECT_EQ(step.announce, Seconds{0});
  EXPECT_EQ(step.next_due, std::nullopt);
  step = expiry_step(end, warnings, end - 7 * one_day - Seconds{1});
  EXPECT_EQ(step.announce, std::nullopt);
}

}  // namespace
}  // namespace sallyport::daemon

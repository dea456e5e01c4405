// Administrators, groups and tokens over a real store, and how the end of credentials is announced.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/bytes.h"
#include "daemon/admins/admin_service.h"
#include "daemon/admins/credential_notices.h"
#include "daemon/http/router.h"
#include "notify/facts.h"
#include "store/notices.h"
#include "store/partners.h"

namespace sallyport::daemon {
namespace {

using base::one_day;
using ::testing::HasSubstr;

class CountingObserver final : public AccessObserver {
 public:
  void access_changed() override { ++changes; }
  int changes = 0;
};

class AdminsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = std::filesystem::temp_directory_path() / ("admins-" + base::random_id());
    std::filesystem::create_directories(directory_);
    store::Options options;
    options.sqlite_path = directory_ / "test.db";
    store_ = store::open_store(std::move(options));
    admins_ = std::make_unique<AdminService>(
        AdminServiceParts{*store_, config_, clock_, activity_, waker_, {&observer_}});
    credentials_ = std::make_unique<CredentialNotices>(*store_, config_, clock_, health_, waker_);
    caller_.kind = CallerKind::local;
  }
  void TearDown() override {
    store_.reset();
    std::filesystem::remove_all(directory_);
  }

  // Runs what is due at each instant until there is nothing more before `end`.
  void run_until(base::Instant end) {
    for (int i = 0; i < 100; ++i) {
      const auto due = credentials_->earliest();
      if (!due || *due > end) return;
      clock_.set(std::max(*due, clock_.now()));
      static_cast<void>(credentials_->run_pass(clock_.now()));
    }
    FAIL() << "the pass never ends";
  }
  std::vector<store::Notice> notices(const std::string& subject) {
    store::NoticeFilter filter;
    filter.subject_id = subject;
    return store_->read(
        [&](store::Unit& unit) { return store::list_notices(unit, filter, nullptr, 100); });
  }
  template <class Work>
  static std::string problem_of(Work&& work) {
    try {
      work();
    } catch (const ProblemError& error) {
      return error.error_code();
    }
    return "";
  }

  std::filesystem::path directory_;
  base::ManualClock clock_{base::from_unix(1'800'000'000)};
  LiveConfig config_{Config{}};
  Health health_{clock_};
  NoWaker waker_;
  ActivityLog activity_{"test", clock_};
  CountingObserver observer_;
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<AdminService> admins_;
  std::unique_ptr<CredentialNotices> credentials_;
  Caller caller_;
};

TEST_F(AdminsTest, TheFirstAdministratorMayDoEverything) {
  const auto made = admins_->create(caller_, "a@example.org", "A", {});
  ASSERT_EQ(made.groups.size(), 1U);
  const auto groups = admins_->groups();
  ASSERT_EQ(groups.size(), 1U);
  Caller administrator;
  administrator.kind = CallerKind::administrator;
  administrator.privileges = groups[0].privileges;
  EXPECT_TRUE(administrator.holds({"PLATFORM", "API_KEY", "EDIT", ""}));
  // What is for everything on our side grants nothing as a privilege of a key.
  EXPECT_FALSE(covers(groups[0].privileges[0], {"PLATFORM", "API_KEY", "EDIT", ""}));
}

TEST_F(AdminsTest, WrongOnesAreRefused) {
  static_cast<void>(admins_->create(caller_, "a@example.org", "A", {}));
  EXPECT_NE(
      problem_of([&] { static_cast<void>(admins_->create(caller_, "a@example.org", "A", {})); }),
      "");
  EXPECT_NE(problem_of([&] {
              static_cast<void>(admins_->create(caller_, "a@b\r\nBcc: x@example.org", "A", {}));
            }),
            "");
  EXPECT_NE(problem_of([&] {
              static_cast<void>(admins_->create(caller_, "b@example.org", "B", {"none"}));
            }),
            "");
  EXPECT_NE(problem_of([&] { static_cast<void>(admins_->put_group(caller_, "g", {"nonsense"})); }),
            "");
  EXPECT_NE(problem_of([&] { static_cast<void>(admins_->get("nobody@example.org")); }), "");
}

TEST_F(AdminsTest, TokensAreKeptAsTheirHashAndEndAtOnce) {
  const auto who = admins_->create(caller_, "a@example.org", "A", {});
  const NewToken made = admins_->create_access_token(caller_, "a@example.org", "ci", std::nullopt);
  const int changes = observer_.changes;
  const auto stored = store_->read([&](store::Unit& unit) {
    return store::find_token(unit, base::sha256(made.value.reveal()));
  });
  ASSERT_TRUE(stored);
  EXPECT_EQ(stored->administrator_id, who.id);
  EXPECT_FALSE(stored->expires);
  admins_->revoke_token(caller_, made.token.id);
  EXPECT_GT(observer_.changes, changes);
  EXPECT_TRUE(store_
                  ->read([&](store::Unit& unit) {
                    return store::find_token(unit, base::sha256(made.value.reveal()));
                  })
                  ->revoked);
}

TEST_F(AdminsTest, ATokensEndIsAnnouncedLikeAKeys) {
  static_cast<void>(admins_->create(caller_, "a@example.org", "A", {}));
  const NewToken made =
      admins_->create_access_token(caller_, "a@example.org", "ci", base::parse_period("P30D"));
  ASSERT_TRUE(made.token.expires);
  run_until(clock_.now() + 60 * one_day);
  auto rows = notices(made.token.id);
  std::vector<std::int64_t> offsets;
  for (const auto& row : rows) {
    EXPECT_EQ(row.recipient, "a@example.org");
    EXPECT_EQ(base::from_unix(row.cycle), *made.token.expires);
    offsets.push_back(row.offset / 86400);
  }
  EXPECT_THAT(offsets, ::testing::UnorderedElementsAre(7, 2, 0));
  const auto facts = notify::parse_facts(rows.at(0).facts);
  ASSERT_TRUE(facts && facts->credential);
  EXPECT_EQ(facts->credential->type, "access_token");
  EXPECT_EQ(facts->credential->owner, "a@example.org");
}

TEST_F(AdminsTest, ARevokedTokenIsNotAnnounced) {
  static_cast<void>(admins_->create(caller_, "a@example.org", "A", {}));
  const NewToken made =
      admins_->create_access_token(caller_, "a@example.org", "ci", base::parse_period("P30D"));
  admins_->revoke_token(caller_, made.token.id);
  run_until(clock_.now() + 60 * one_day);
  EXPECT_TRUE(notices(made.token.id).empty());
}

TEST_F(AdminsTest, APartnersKeyIsAnnouncedToItsContactsToo) {
  static_cast<void>(admins_->create(caller_, "a@example.org", "A", {}));
  store::SshKey key;
  store_->write([&](store::Unit& unit) {
    store::Partner partner;
    partner.name = "acme";
    partner.emails = {"files@acme.example.com"};
    store::insert_partner(unit, partner);
    key.id = base::random_id();
    key.partner = "acme";
    key.label = "erp";
    key.fingerprint = "SHA256:x";
    key.blob = "AAAA";
    key.type = "ssh-ed25519";
    key.added = clock_.now();
    key.expires = clock_.now() + 10 * one_day;
    key.next_due = *key.expires - 7 * one_day;
    store::insert_ssh_key(unit, key);
  });
  // Down over the first announcement: only the tighter one is written.
  clock_.advance(9 * one_day);
  run_until(clock_.now() + 60 * one_day);
  std::vector<std::string> seen;
  for (const auto& row : notices(key.id)) {
    seen.push_back(row.recipient + " " + std::to_string(row.offset / 86400));
  }
  EXPECT_THAT(seen, ::testing::UnorderedElementsAre("a@example.org 2", "files@acme.example.com 2",
                                                    "a@example.org 0", "files@acme.example.com 0"));
  EXPECT_EQ(credentials_->earliest(), std::nullopt);
}

}  // namespace
}  // namespace sallyport::daemon

#include "daemon/verify/table.h"

#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <random>
#include <thread>

#include "daemon/verify/shard.h"
#include "tests/unit/daemon/verify/sample.h"

namespace sallyport::daemon {
namespace {

using test::sample_key;
using test::sample_value;
using test::start_time;

class TableTest : public ::testing::Test {
 protected:
  base::ManualClock clock_{start_time};
  VerificationTable table_{ProfileRules{}, clock_};

  Standing standing(const std::string& value, base::Instant now = start_time) {
    return table_.find(base::sha256(value)).standing_at(now);
  }
};

TEST_F(TableTest, AnEmptyTableKnowsNothing) {
  const FoundKey found = table_.find(base::sha256("x"));
  EXPECT_FALSE(found.known());
  EXPECT_EQ(found.standing_at(start_time), Standing::unknown);
  ASSERT_NE(found.profile, nullptr);
  EXPECT_FALSE(found.profile->grants(store::Privilege{"A", "B", "", ""}, {}));
  EXPECT_FALSE(found.profile->grants(store::Permission{"a", "b"}, {}));
}

TEST_F(TableTest, ShowsAKeyAndItsChange) {
  auto key = sample_key("k1", "Zoë's key");
  key.contact = store::Contact{"Ada", "Lovelace", "ada", "ada@example.com"};
  table_.key_changed(key, {sample_value(key, "v1")});
  const FoundKey found = table_.find(base::sha256("v1"));
  ASSERT_TRUE(found.known());
  EXPECT_EQ(found.id, "k1");
  EXPECT_EQ(found.name, "Zoë's key");
  EXPECT_EQ(found.contact, "Ada Lovelace");
  EXPECT_EQ(found.profile->privileges_header, "SEARCH_API/LOGICAL_INDEX/VIEW");
  EXPECT_EQ(found.standing_at(start_time), Standing::good);

  key.state = store::KeyState::revoked;
  key.version = 1;
  table_.key_changed(key, {sample_value(key, "v1")});
  EXPECT_EQ(standing("v1"), Standing::revoked);
  EXPECT_EQ(found.standing_at(start_time), Standing::good) << "an earlier answer stays as it was";
  EXPECT_EQ(table_.size(), 1U);
}

TEST_F(TableTest, ComparesInstantsItself) {
  auto key = sample_key("k1");
  key.expires_at = start_time + base::Seconds{100};
  key.exposure = store::Exposure{};
  key.exposure->deadline = start_time + base::Seconds{50};
  auto old = sample_value(key, "old");
  old.valid_until = start_time + base::Seconds{10};
  table_.key_changed(key, {sample_value(key, "new"), old});
  EXPECT_EQ(standing("new", start_time + base::Seconds{49}), Standing::good);
  EXPECT_EQ(standing("new", start_time + base::Seconds{50}), Standing::exposed);
  EXPECT_EQ(standing("old", start_time + base::Seconds{9}), Standing::good);
  EXPECT_EQ(standing("old", start_time + base::Seconds{10}), Standing::retired_value);
  key.exposure->withdrawn = true;
  table_.key_changed(key, {sample_value(key, "new"), old});
  EXPECT_EQ(standing("new", start_time + base::Seconds{99}), Standing::good);
  EXPECT_EQ(standing("new", start_time + base::Seconds{100}), Standing::expired);
}

TEST_F(TableTest, InstantsBeyond2106NeverCome) {
  auto key = sample_key("k1");
  key.expires_at = base::from_unix(50'000'000'000);
  table_.key_changed(key, {sample_value(key, "v")});
  EXPECT_EQ(standing("v", base::from_unix(4'294'967'294)), Standing::good);
  EXPECT_EQ(table_.find(base::sha256("v")).ends(), std::nullopt);
}

TEST_F(TableTest, AnOlderChangeNeverOvertakes) {
  auto newer = sample_key("k1");
  newer.version = 7;
  newer.state = store::KeyState::revoked;
  auto older = sample_key("k1");
  older.version = 6;
  table_.key_changed(newer, {sample_value(newer, "v")});
  table_.key_changed(older, {sample_value(older, "v"), sample_value(older, "w")});
  EXPECT_EQ(standing("v"), Standing::revoked);
  EXPECT_EQ(standing("w"), Standing::unknown);
}

TEST_F(TableTest, AChangeThatADeletionOvertookIsDropped) {
  auto key = sample_key("k1");
  table_.key_changed(key, {sample_value(key, "v")});
  table_.key_deleted("k1");
  EXPECT_EQ(standing("v"), Standing::unknown);
  key.version = 3;
  table_.key_changed(key, {sample_value(key, "v")});
  EXPECT_EQ(standing("v"), Standing::unknown);
  EXPECT_EQ(table_.size(), 0U);
}

TEST(IdIndexTest, VersionsCompareAcrossTheFold) {
  const auto fold = IdIndex::fold_version;
  EXPECT_TRUE(IdIndex::older(fold(6), fold(7)));
  EXPECT_FALSE(IdIndex::older(fold(7), fold(6)));
  EXPECT_FALSE(IdIndex::older(fold(7), fold(7)));
  EXPECT_TRUE(IdIndex::older(fold(65534), fold(65535)));
  EXPECT_FALSE(IdIndex::older(fold(65536), fold(65534)));
  EXPECT_FALSE(IdIndex::older(fold(1), IdIndex::version_unknown));
}

TEST_F(TableTest, BehavesAsAMapUnderRandomChanges) {
  std::mt19937 random(42);
  const auto pick = [&](unsigned below) { return static_cast<unsigned>(random() % below); };
  struct Model {
    store::ApiKey key;
    std::vector<store::KeyValue> values;
  };
  std::map<std::string, Model> model;
  std::vector<std::string> gone;
  unsigned made = 0;
  for (int step = 0; step < 20'000; ++step) {
    const unsigned what = pick(10);
    if (what < 4 || model.empty()) {
      Model fresh;
      fresh.key = sample_key(fmt::format("key{}", made), fmt::format("name {}", made));
      ++made;
      if (pick(3) == 0) fresh.key.allowed_ips = {fmt::format("198.51.100.{}", pick(256))};
      fresh.values = {sample_value(fresh.key, fresh.key.id + ":0")};
      table_.key_changed(fresh.key, fresh.values);
      model[fresh.key.id] = fresh;
      continue;
    }
    auto at = std::next(model.begin(), pick(static_cast<unsigned>(model.size())));
    Model& known = at->second;
    if (what < 6) {
      table_.key_deleted(known.key.id);
      for (const auto& value : known.values) gone.push_back(base::to_hex(value.sha256));
      model.erase(at);
      continue;
    }
    ++known.key.version;
    if (what == 6) known.key.state = static_cast<store::KeyState>(pick(6));
    if (what == 7) known.key.display_name += "x";
    if (what == 8) {
      known.values.push_back(
          sample_value(known.key, fmt::format("{}:{}", known.key.id, known.values.size())));
    }
    if (what == 9) known.key.allowed_ips = {fmt::format("203.0.113.{}", pick(256))};
    table_.key_changed(known.key, known.values);
  }
  std::size_t values = 0;
  for (const auto& [id, known] : model) {
    for (const auto& value : known.values) {
      ++values;
      const FoundKey found = table_.find(value.sha256);
      ASSERT_TRUE(found.known()) << id;
      EXPECT_EQ(found.id, id);
      EXPECT_EQ(found.name, known.key.display_name);
      EXPECT_EQ(found.standing_at(start_time) == Standing::good,
                known.key.state == store::KeyState::enabled);
      EXPECT_EQ(found.profile->allowed.size(), known.key.allowed_ips.size());
      for (const auto& range : known.key.allowed_ips) {
        EXPECT_EQ(found.profile->allowed.at(0).to_string(), range);
      }
    }
  }
  EXPECT_EQ(table_.size(), values);
  EXPECT_GT(gone.size(), 1000U);
  for (const auto& hash : gone) {
    base::Sha256 sha256{};
    const std::string bytes = *base::from_hex(hash);
    std::copy(bytes.begin(), bytes.end(), sha256.begin());
    EXPECT_FALSE(table_.find(sha256).known());
  }
}

TEST_F(TableTest, ReadersSeeWholeKeysWhileTheyChange) {
  auto key = sample_key("k1", "0");
  table_.key_changed(key, {sample_value(key, "v")});
  std::atomic<bool> stop{false};
  std::atomic<unsigned> seen{0};
  std::thread reader([&] {
    const auto sha256 = base::sha256("v");
    while (!stop) {
      const FoundKey found = table_.find(sha256);
      ASSERT_TRUE(found.known());
      const auto& allowed = found.profile->allowed;
      ASSERT_EQ(found.name, allowed.empty() ? "0" : allowed[0].to_string());
      ++seen;
    }
  });
  for (int i = 1; i <= 2000; ++i) {
    key.version = i;
    key.display_name = fmt::format("198.51.{}.{}", i / 256, i % 256);
    key.allowed_ips = {key.display_name};
    table_.key_changed(key, {sample_value(key, "v")});
  }
  while (seen < 100) std::this_thread::yield();
  stop = true;
  reader.join();
}

TEST_F(TableTest, LoadsEverythingFromTheStore) {
  test::SampleStore store;
  auto rich = sample_key("rich", "Rich");
  rich.template_id = "INTEGRATION";
  rich.permissions_enabled = true;
  rich.permissions = {{"invoices", "create"}};
  rich.allowed_ips = {"198.51.100.0/24"};
  rich.denied_ips = {"198.51.100.7"};
  rich.contact = store::Contact{"Ada", "", "ada", "ada@example.com"};
  rich.expires_at = start_time + base::one_day;
  test::insert(store, rich, "rich-value");
  for (int i = 0; i < 300; ++i) {
    test::insert(store, sample_key(fmt::format("k{}", i)), fmt::format("v{}", i));
  }
  auto stale = sample_key("stale");
  table_.key_changed(stale, {sample_value(stale, "stale-value")});
  table_.load(*store);
  EXPECT_EQ(table_.size(), 301U);
  EXPECT_EQ(standing("stale-value"), Standing::unknown);
  for (int i = 0; i < 300; ++i) EXPECT_EQ(standing(fmt::format("v{}", i)), Standing::good) << i;
  const FoundKey found = table_.find(base::sha256("rich-value"));
  ASSERT_TRUE(found.known());
  EXPECT_EQ(found.contact, "Ada");
  EXPECT_EQ(found.ends(), rich.expires_at);
  EXPECT_TRUE(found.profile->grants(store::Permission{"invoices", "create"}, {}));
  EXPECT_FALSE(found.profile->grants(store::Permission{"invoices", "delete"}, {}));
  EXPECT_EQ(found.profile->check(IpAddress::parse("198.51.100.8")), AddressVerdict::allowed);
  EXPECT_EQ(found.profile->check(IpAddress::parse("198.51.100.7")), AddressVerdict::denied);
  EXPECT_EQ(found.profile->check(IpAddress::parse("192.0.2.1")), AddressVerdict::not_listed);
  EXPECT_EQ(found.profile->check(std::nullopt), AddressVerdict::unknown);

  auto changed = sample_key("k7");
  changed.version = 1;
  changed.state = store::KeyState::disabled;
  table_.key_changed(changed, {sample_value(changed, "v7")});
  EXPECT_EQ(standing("v7"), Standing::disabled);
  table_.key_deleted("k8");
  EXPECT_EQ(standing("v8"), Standing::unknown);
  EXPECT_EQ(table_.size(), 300U);
}

TEST(ProfileTest, IntegrationKeysHaveEverythingButRestrictedDomains) {
  ProfilePool pool(ProfileRules{});
  auto key = sample_key("k");
  key.template_id = "INTEGRATION";
  key.privileges.clear();
  const auto profile = pool.of(key);
  const auto& restricted = pool.rules().restricted_domains;
  EXPECT_TRUE(profile->grants(store::Permission{"invoices", "create"}, restricted));
  EXPECT_FALSE(profile->grants(store::Permission{"SIM", "read"}, restricted));
  EXPECT_FALSE(profile->grants(store::Permission{"sim", "read"}, restricted));
  EXPECT_FALSE(profile->grants(store::Privilege{"A", "B", "", ""}, restricted));
  EXPECT_EQ(profile->privileges_header, "*:*,!SIM:*,!SUPPLIER_RISK:*");
  EXPECT_EQ(profile, pool.of(key)) << "equal profiles are one object";
}

TEST(ProfileTest, AListThatCannotBeReadClosesTheKey) {
  ProfilePool pool(ProfileRules{});
  auto key = sample_key("k");
  key.allowed_ips = {"198.51.100.0/24", "nonsense"};
  const auto profile = pool.of(key);
  EXPECT_EQ(profile->check(IpAddress::parse("198.51.100.8")), AddressVerdict::denied);
  EXPECT_EQ(profile->check(IpAddress::parse("2001:db8::1")), AddressVerdict::denied);
}

TEST(ProfileTest, ALongListOfPrivilegesIsCutAtAnItem) {
  ProfilePool pool(ProfileRules{});
  auto key = sample_key("k");
  for (int i = 0; i < 200; ++i)
    key.privileges.push_back({"OWNER", fmt::format("DOMAIN{}", i), "EDIT", ""});
  const auto profile = pool.of(key);
  EXPECT_TRUE(profile->header_cut);
  EXPECT_LE(profile->privileges_header.size(), 2048U);
  EXPECT_TRUE(profile->privileges_header.ends_with("/EDIT"));
}

}  // namespace
}  // namespace sallyport::daemon

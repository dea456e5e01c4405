// What happens to keys over time: their use, and the numbered changes that other daemons follow.
#include "store/keys.h"

#include <atomic>
#include <thread>

#include "fixture.h"
#include "samples.h"

namespace sallyport::store {
namespace {

class KeyChanges : public OpenStoreTest {
 protected:
  void insert(const ApiKey& key) {
    write([&](Unit& unit) { insert_key(unit, key, value_of(key.id)); });
  }
  std::optional<ApiKey> find(const std::string& id) {
    return read([&](Unit& unit) { return find_key(unit, id); });
  }
};
CONTRACT(KeyChanges);

TEST_P(KeyChanges, UsageGoesForwardOnly) {
  insert(small_key("k"));
  const auto record = [&](std::optional<Instant> used, std::optional<Instant> allowed) {
    write([&](Unit& unit) { record_usage(unit, {{"k", used, allowed}}); });
    const ApiKey key = *find("k");
    return std::pair(key.last_used, key.last_allowed);
  };
  using Times = std::pair<std::optional<Instant>, std::optional<Instant>>;
  EXPECT_EQ(record(at(100), std::nullopt), Times(at(100), std::nullopt));
  EXPECT_EQ(record(at(90), at(80)), Times(at(100), at(80)));
  EXPECT_EQ(record(std::nullopt, std::nullopt), Times(at(100), at(80)));
  EXPECT_EQ(record(at(110), at(70)), Times(at(110), at(80)));
  EXPECT_EQ(record(at(110), at(110)), Times(at(110), at(110)));
}

TEST_P(KeyChanges, UsageOfManyKeysAtOnce) {
  write([&](Unit& unit) {
    for (int i = 0; i < 234; ++i) {
      const std::string id = "k" + std::to_string(i);
      insert_key(unit, small_key(id), value_of(id));
    }
  });
  std::vector<KeyUsage> usage;
  for (int i = 233; i >= 0; --i) usage.push_back({"k" + std::to_string(i), at(1000 + i), {}});
  write([&](Unit& unit) {
    record_usage(unit, {});
    record_usage(unit, usage);
  });
  for (const int i : {0, 1, 99, 100, 101, 229, 230, 233}) {
    EXPECT_EQ(find("k" + std::to_string(i))->last_used, at(1000 + i));
  }
}

TEST_P(KeyChanges, UseOfAWarnedKeyMakesItDue) {
  const auto with = [&](const char* id, KeyState state, bool warned) {
    ApiKey key = small_key(id);
    key.state = state;
    key.next_due = at(9000);
    if (warned) key.inactivity_progress.cycle = at(1);
    insert(key);
  };
  with("warned", KeyState::enabled, true);
  with("quiet", KeyState::enabled, false);
  with("disabled", KeyState::disabled, true);
  std::vector<std::string> ids{"quiet", "disabled", "unknown"};
  for (int i = 0; i < 150; ++i) ids.push_back("other" + std::to_string(i));
  ids.emplace_back("warned");
  EXPECT_EQ(write([&](Unit& unit) { return wake_warned_keys(unit, ids, at(5)); }), 1U);
  EXPECT_EQ(find("warned")->next_due, at(5));
  EXPECT_EQ(find("warned")->version, 1);
  EXPECT_EQ(find("quiet")->next_due, at(9000));
  EXPECT_EQ(find("disabled")->version, 0);
  EXPECT_EQ(write([&](Unit& unit) { return wake_warned_keys(unit, {}, at(5)); }), 0U);
}

TEST_P(KeyChanges, KeysThatWaitForAWrongFutureAreDueNow) {
  for (const int due : {5, 10, 11, 20, 21}) {
    ApiKey key = small_key("due" + std::to_string(due));
    key.next_due = at(due);
    insert(key);
  }
  insert(small_key("never"));
  EXPECT_EQ(write([&](Unit& unit) { return bring_forward_due_keys(unit, at(10), at(20)); }), 2U);
  EXPECT_EQ(find("due5")->next_due, at(5));
  EXPECT_EQ(find("due10")->version, 0);
  EXPECT_EQ(find("due11")->next_due, at(10));
  EXPECT_EQ(find("due20")->next_due, at(10));
  EXPECT_EQ(find("due20")->version, 1);
  EXPECT_EQ(find("due21")->next_due, at(21));
  EXPECT_EQ(find("never")->next_due, std::nullopt);
}

TEST_P(KeyChanges, ChangesAreNumberedWithoutGaps) {
  EXPECT_EQ(read([](Unit& unit) { return last_key_change(unit); }), 0);
  write([](Unit& unit) {
    insert_key_change(unit, "a", at(1));
    insert_key_change(unit, "b", at(1));
    insert_key_change(unit, "a", at(1));  // once a unit is enough
  });
  write([](Unit& unit) { insert_key_change(unit, "a", at(2)); });
  read([](Unit& unit) {
    EXPECT_EQ(last_key_change(unit), 3);
    EXPECT_EQ(key_changes_since(unit, 0, 10),
              (std::vector<KeyChange>{{1, "a"}, {2, "b"}, {3, "a"}}));
    EXPECT_EQ(key_changes_since(unit, 0, 2).size(), 2U);
    EXPECT_EQ(key_changes_since(unit, 2, 10), (std::vector<KeyChange>{{3, "a"}}));
    EXPECT_TRUE(key_changes_since(unit, 3, 10).empty());
  });
  EXPECT_EQ(write([](Unit& unit) { return prune_key_changes(unit, at(2)); }), 2U);
  read([](Unit& unit) {
    EXPECT_EQ(key_changes_since(unit, 0, 10).size(), 1U);
    EXPECT_EQ(last_key_change(unit), 3) << "numbers are never used again";
  });
}

TEST_P(KeyChanges, ChangesOfAUnitThatThrowsLeaveNoGap) {
  const auto throwing = [](Unit& unit) {
    insert_key_change(unit, "lost", at(1));
    throw std::runtime_error("no");
  };
  EXPECT_THROW(write(throwing), std::runtime_error);
  write([](Unit& unit) { insert_key_change(unit, "kept", at(1)); });
  EXPECT_EQ(read([](Unit& unit) { return key_changes_since(unit, 0, 10); }),
            (std::vector<KeyChange>{{1, "kept"}}));
}

// A reader that remembers the highest sequence it has seen must not miss one that commits later.
TEST_P(KeyChanges, ChangesBecomeVisibleInTheirOrder) {
  constexpr int each = 60;
  std::atomic<int> running = 3;
  std::vector<std::jthread> writers;
  for (int t = 0; t < 3; ++t) {
    writers.emplace_back([&, t] {
      for (int i = 0; i < each; ++i) {
        write([&](Unit& unit) {
          insert_key_change(unit, std::to_string(t) + "." + std::to_string(i), at(1));
        });
      }
      --running;
    });
  }
  std::int64_t seen = 0;
  std::size_t count = 0;
  for (bool last = false; !last;) {
    last = running == 0;
    for (const KeyChange& change :
         read([&](Unit& unit) { return key_changes_since(unit, seen, 1000); })) {
      EXPECT_EQ(change.sequence, seen + 1);
      seen = change.sequence;
      ++count;
    }
  }
  EXPECT_EQ(count, 3U * each);
}

}  // namespace
}  // namespace sallyport::store

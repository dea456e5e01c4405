#include "store/activity.h"

#include <thread>

#include "fixture.h"
#include "samples.h"

namespace sallyport::store {
namespace {

class ActivityLog : public OpenStoreTest {
 protected:
  Activity append(Activity activity) {
    return write([&](Unit& unit) {
      // The unit may be run again: from the same start.
      Activity row = activity;
      append_activity(unit, row);
      return row;
    });
  }
  std::vector<Activity> chain(const char* node = "n1") {
    return read([&](Unit& unit) { return activity_chain(unit, node, 0, 10'000); });
  }
};
CONTRACT(ActivityLog);

/// What anybody can check from the rows alone.
void expect_unbroken(const std::vector<Activity>& rows) {
  base::Sha256 previous{};
  std::int64_t sequence = 0;
  for (const Activity& row : rows) {
    EXPECT_EQ(row.sequence, ++sequence);
    EXPECT_EQ(row.previous_hash, previous);
    std::string hashed(previous.begin(), previous.end());
    hashed += activity_content(row);
    EXPECT_EQ(row.hash, base::sha256(hashed));
    previous = row.hash;
  }
}

TEST_P(ActivityLog, EveryFieldComesBack) {
  const Activity row = append(full_activity("a1"));
  EXPECT_EQ(row.sequence, 1);
  EXPECT_EQ(row.previous_hash, base::Sha256{});
  EXPECT_EQ(chain(), (std::vector<Activity>{row}));
  read([&](Unit& unit) {
    EXPECT_EQ(find_activity(unit, "a1"), row);
    EXPECT_EQ(find_activity(unit, "a2"), std::nullopt);
  });
}

TEST_P(ActivityLog, ContentTellsFieldsApart) {
  Activity activity = full_activity("a1");
  const std::string content = activity_content(activity);
  activity.actor += activity.source.front();
  activity.source.erase(0, 1);
  EXPECT_NE(activity_content(activity), content);
}

TEST_P(ActivityLog, RowsOfAUnitAndOfManyMakeOneChain) {
  write([&](Unit& unit) {
    for (int i = 0; i < 5; ++i) {
      Activity row = full_activity("a" + std::to_string(i));
      append_activity(unit, row);
      Activity other = full_activity("b" + std::to_string(i), "n2");
      append_activity(unit, other);
    }
  });
  append(full_activity("a5"));
  EXPECT_EQ(chain().size(), 6U);
  expect_unbroken(chain());
  expect_unbroken(chain("n2"));
  read([](Unit& unit) {
    EXPECT_EQ(activity_nodes(unit), (std::vector<std::string>{"n1", "n2"}));
    EXPECT_EQ(activity_head(unit, "n1")->sequence, 6);
    EXPECT_EQ(activity_head(unit, "n3"), std::nullopt);
    EXPECT_EQ(activity_chain(unit, "n1", 4, 10).size(), 2U);
    EXPECT_EQ(activity_chain(unit, "n1", 0, 2).size(), 2U);
  });
}

TEST_P(ActivityLog, ARolledBackRowLeavesTheChainWhole) {
  append(full_activity("a1"));
  EXPECT_THROW(write([](Unit& unit) {
                 Activity row = full_activity("lost");
                 append_activity(unit, row);
                 throw std::runtime_error("no");
               }),
               std::runtime_error);
  append(full_activity("a2"));
  EXPECT_EQ(chain().size(), 2U);
  expect_unbroken(chain());
}

TEST_P(ActivityLog, ManyThreadsMakeOneChain) {
  std::vector<std::jthread> workers;
  for (int t = 0; t < 4; ++t) {
    workers.emplace_back([&, t] {
      for (int i = 0; i < 15; ++i) {
        append(full_activity("t" + std::to_string(t) + "." + std::to_string(i)));
      }
    });
  }
  workers.clear();
  EXPECT_EQ(chain().size(), 60U);
  expect_unbroken(chain());
}

TEST_P(ActivityLog, HostileTextDoesNotBreakTheChain) {
  int number = 0;
  for (const std::string& text : hostile_texts()) {
    Activity activity = full_activity("h" + std::to_string(++number));
    activity.changes = text;
    activity.resource_name = text;
    append(activity);
  }
  Activity activity = full_activity("bad");
  activity.actor = "not \xFF utf-8";
  append(activity);
  EXPECT_EQ(chain().size(), hostile_texts().size() + 1);
  expect_unbroken(chain());
}

TEST_P(ActivityLog, ListsNewestFirstByEveryFilter) {
  for (int i = 0; i < 12; ++i) {
    Activity activity = full_activity("a" + std::to_string(i), i % 2 == 0 ? "n1" : "n2", 1000 + i);
    activity.operation = i % 3 == 0 ? "CREATE" : "UPDATE";
    activity.resource_type = i < 6 ? "API_KEY" : "PARTNER";
    activity.resource_id = "r" + std::to_string(i % 4);
    activity.result = i == 5 ? "FAILURE" : "SUCCESS";
    activity.actor = i == 7 ? "scheduler" : "admin";
    append(activity);
  }
  const auto with = [&](auto set) {
    ActivityFilter filter;
    set(filter);
    const auto listed = read([&](Unit& unit) { return list_activity(unit, filter, 0, 100); });
    EXPECT_EQ(read([&](Unit& unit) { return count_activity(unit, filter); }),
              static_cast<std::int64_t>(listed.size()));
    for (std::size_t i = 1; i < listed.size(); ++i) EXPECT_GT(listed[i - 1].at, listed[i].at);
    return listed.size();
  };
  EXPECT_EQ(with([](ActivityFilter&) {}), 12U);
  EXPECT_EQ(with([](ActivityFilter& f) { f.resource_types = {"API_KEY"}; }), 6U);
  EXPECT_EQ(with([](ActivityFilter& f) { f.resource_ids = {"r0", "r3", "none"}; }), 6U);
  EXPECT_EQ(with([](ActivityFilter& f) { f.operations = {"CREATE", "UPDATE"}; }), 12U);
  EXPECT_EQ(with([](ActivityFilter& f) { f.operations = {"CREATE"}; }), 4U);
  EXPECT_EQ(with([](ActivityFilter& f) { f.results = {"FAILURE"}; }), 1U);
  EXPECT_EQ(with([](ActivityFilter& f) { f.actor = "scheduler"; }), 1U);
  EXPECT_EQ(with([](ActivityFilter& f) { f.from = at(1003); }), 9U);
  EXPECT_EQ(with([](ActivityFilter& f) { f.to = at(1003); }), 4U);
  EXPECT_EQ(with([](ActivityFilter& f) {
              f.resource_types = {"API_KEY", "x"};
              f.resource_ids = std::vector<std::string>(100, "r1");
              f.operations = {"UPDATE"};
              f.results = {"SUCCESS", "FAILURE"};
              f.actor = "admin";
              f.from = at(1000);
              f.to = at(1005);
            }),
            2U);
  read([](Unit& unit) {
    const auto page = list_activity(unit, {}, 5, 3);
    ASSERT_EQ(page.size(), 3U);
    EXPECT_EQ(page[0].id, "a6");
    EXPECT_EQ(page[2].id, "a4");
  });
}

TEST_P(ActivityLog, PrunesBehindACheckpoint) {
  for (int i = 1; i <= 6; ++i) append(full_activity("a" + std::to_string(i), "n1", 100 * i));
  const ActivityCheckpoint first{"n1", 4, chain()[3].hash, at(700), std::string(64, 'c')};
  ActivityCheckpoint second = first;
  second.at = at(600);  // written later all the same
  write([&](Unit& unit) {
    EXPECT_EQ(last_activity_before(unit, "n1", at(100)), 0);
    EXPECT_EQ(last_activity_before(unit, "n1", at(500)), 4);
    insert_checkpoint(unit, first);
    insert_checkpoint(unit, second);
    EXPECT_EQ(prune_activity(unit, "n1", 4), 4U);
  });
  read([&](Unit& unit) {
    EXPECT_EQ(checkpoints(unit, "n1"), (std::vector<ActivityCheckpoint>{first, second}));
    EXPECT_TRUE(checkpoints(unit, "n2").empty());
    EXPECT_EQ(activity_chain(unit, "n1", 0, 10).size(), 2U);
    EXPECT_EQ(activity_chain(unit, "n1", 0, 10)[0].previous_hash, first.hash);
  });
  // The chain goes on even when all of it was pruned.
  write([](Unit& unit) { EXPECT_EQ(prune_activity(unit, "n1", 6), 2U); });
  EXPECT_EQ(append(full_activity("a7")).sequence, 7);
}

}  // namespace
}  // namespace sallyport::store

// Units of work: all or nothing, retried whole, never half.
#include <atomic>
#include <latch>
#include <thread>

#include "fixture.h"
#include "samples.h"
#include "store/catalogue.h"
#include "store/cluster.h"

namespace sallyport::store {
namespace {

class Units : public OpenStoreTest {
 protected:
  std::optional<std::string> setting(const std::string& name) {
    return read([&](Unit& unit) { return get_setting(unit, name); });
  }
  void set(const std::string& name, const std::string& content) {
    write([&](Unit& unit) { put_setting(unit, name, content); });
  }
};
CONTRACT(Units);

TEST_P(Units, EveryStatementOfTheCatalogueIsAccepted) {
  const auto connection = connect();
  for (std::size_t i = 0; i < static_cast<std::size_t>(Sql::last); ++i) {
    const std::string& text = sql_text(static_cast<Sql>(i), GetParam());
    EXPECT_NO_THROW((void)connection->prepare(text)) << text;
  }
}

TEST_P(Units, EveryFilterIsAccepted) {
  struct Filtered {
    std::vector<Sql> statements;
    std::vector<Clause> conditions;
    std::vector<Clause> endings;
  };
  const std::vector<Filtered> filters{
      {{Sql::list_notices},
       {Clause::notice_state, Clause::notice_subject, Clause::notice_recipient, Clause::older_than},
       {Clause::newest_first}},
      {{Sql::subject_notices}, {Clause::subject_kind, Clause::subject_cycle}, {Clause::by_created}},
      {{Sql::list_files},
       {Clause::file_partner, Clause::file_object, Clause::file_direction, Clause::file_state,
        Clause::file_name, Clause::file_since, Clause::file_until, Clause::older_than},
       {Clause::newest_first}},
      {{Sql::list_activity},
       {Clause::activity_resource_types, Clause::activity_resource_ids, Clause::activity_operations,
        Clause::activity_results, Clause::activity_actor, Clause::activity_from,
        Clause::activity_to},
       {Clause::activity_newest_first}},
      {{Sql::count_activity},
       {Clause::activity_resource_types, Clause::activity_resource_ids, Clause::activity_operations,
        Clause::activity_results, Clause::activity_actor, Clause::activity_from,
        Clause::activity_to},
       {}},
  };
  const auto connection = connect();
  std::size_t used = 0;
  for (const Filtered& filter : filters) {
    used += filter.conditions.size();
    for (std::size_t set = 0; set < (std::size_t{1} << filter.conditions.size()); ++set) {
      std::vector<With> clauses;
      for (std::size_t i = 0; i < filter.conditions.size(); ++i) {
        if ((set >> i) % 2 == 1) clauses.emplace_back(filter.conditions[i], 1 + 20 * i);
      }
      for (const Clause ending : filter.endings) clauses.emplace_back(ending);
      for (const Sql statement : filter.statements) {
        const std::string text = sql_text(statement, clauses, GetParam());
        EXPECT_NO_THROW((void)connection->prepare(text)) << text;
      }
    }
  }
  EXPECT_GE(used + 4, static_cast<std::size_t>(Clause::last)) << "a clause that no filter tries";
}

TEST_P(Units, GiveWhatTheWorkReturns) {
  set("a", "1");
  EXPECT_EQ(read([](Unit& unit) { return get_setting(unit, "a"); }), "1");
  const std::unique_ptr<int> moved = write([](Unit&) { return std::make_unique<int>(5); });
  EXPECT_EQ(*moved, 5);
}

TEST_P(Units, AreRolledBackWholeWhenTheWorkThrows) {
  set("a", "before");
  EXPECT_THROW(write([](Unit& unit) {
                 put_setting(unit, "a", "lost");
                 put_setting(unit, "b", "lost");
                 throw std::runtime_error("no");
               }),
               std::runtime_error);
  EXPECT_EQ(setting("a"), "before");
  EXPECT_EQ(setting("b"), std::nullopt);
  // The connection goes on without a trace of it.
  set("c", "after");
  EXPECT_EQ(setting("a"), "before");
}

TEST_P(Units, AFailedStatementInTheMiddleUndoesTheRestToo) {
  const auto work = [](Unit& unit) {
    put_setting(unit, "a", "lost");
    insert_key(unit, small_key("k"), value_of("k"));
    insert_key(unit, small_key("k"), value_of("other"));
  };
  EXPECT_EQ(error_of([&] { write(work); }).kind(), Failure::duplicate);
  EXPECT_EQ(setting("a"), std::nullopt);
  EXPECT_EQ(read([](Unit& unit) { return find_key(unit, "k"); }), std::nullopt);
}

TEST_P(Units, ReadingOnesCanChangeNothing) {
  const auto work = [](Unit& unit) { put_setting(unit, "a", "1"); };
  (void)error_of([&] { read(work); });
  EXPECT_EQ(setting("a"), std::nullopt);
}

TEST_P(Units, ReadOneSnapshot) {
  set("a", "old");
  set("b", "old");
  read([&](Unit& unit) {
    EXPECT_EQ(get_setting(unit, "a"), "old");
    std::jthread([&] {
      set("a", "new");
      set("b", "new");
    }).join();
    EXPECT_EQ(get_setting(unit, "b"), "old");
  });
  EXPECT_EQ(setting("b"), "new");
}

TEST_P(Units, SeeTheirOwnChanges) {
  write([](Unit& unit) {
    put_setting(unit, "a", "1");
    EXPECT_EQ(get_setting(unit, "a"), "1");
    put_setting(unit, "a", "2");
    EXPECT_EQ(get_setting(unit, "a"), "2");
  });
}

TEST_P(Units, DoNotNest) {
  const auto nested = [&] { write([&](Unit&) { set("a", "1"); }); };
  EXPECT_EQ(error_of(nested).kind(), Failure::broken);
  set("a", "2");
  EXPECT_EQ(setting("a"), "2");
}

TEST_P(Units, AreRunAgainWholeOnAConflict) {
  int attempts = 0;
  write([&](Unit& unit) {
    put_setting(unit, "attempt" + std::to_string(++attempts), "1");
    if (attempts < 4) throw Error(Failure::conflict, 1213, "deadlock");
  });
  EXPECT_EQ(attempts, 4);
  EXPECT_EQ(setting("attempt3"), std::nullopt) << "nothing of a failed attempt stays";
  EXPECT_EQ(setting("attempt4"), "1");
}

TEST_P(Units, GiveUpAConflictAfterFiveTimes) {
  int attempts = 0;
  const auto work = [&](Unit&) {
    ++attempts;
    throw Error(Failure::conflict, 1213, "deadlock");
  };
  EXPECT_EQ(error_of([&] { write(work); }).kind(), Failure::conflict);
  EXPECT_EQ(attempts, 15);
}

TEST_P(Units, OtherFailuresAreNotRetried) {
  for (const Failure failure : {Failure::duplicate, Failure::refused, Failure::full,
                                Failure::schema_newer, Failure::broken}) {
    int attempts = 0;
    const auto work = [&](Unit&) {
      ++attempts;
      throw Error(failure, 1, "no");
    };
    EXPECT_EQ(error_of([&] { write(work); }).kind(), failure);
    EXPECT_EQ(attempts, 1);
  }
}

TEST_P(Units, MoreThreadsThanConnectionsAllGetTheirTurn) {
  std::atomic<int> done = 0;
  std::vector<std::jthread> workers;
  for (int t = 0; t < 16; ++t) {
    workers.emplace_back([&, t] {
      for (int i = 0; i < 5; ++i) {
        set("t" + std::to_string(t), std::to_string(i));
        EXPECT_EQ(setting("t" + std::to_string(t)), std::to_string(i));
        ++done;
      }
    });
  }
  workers.clear();
  EXPECT_EQ(done, 16 * 5);
}

TEST_P(Units, PingAnswers) {
  EXPECT_NO_THROW(store_->ping());
  EXPECT_EQ(store_->dialect(), GetParam());
}

TEST_P(Units, ManyFilterTextsDoNotPileUp) {
  for (unsigned i = 0; i < 1200; ++i) {
    read([&](Unit& unit) {
      ActivityFilter filter;
      filter.resource_ids.assign(i % 3 == 0 ? 1 : 9, "x");
      if (i % 2 == 0) filter.operations.assign(1 + i % 70, "x");
      if (i % 5 == 0) filter.resource_types.assign(1 + i % 600, "x");
      EXPECT_TRUE(list_activity(unit, filter, 0, 1).empty());
    });
  }
}

// SQLite alone: another process holds the lock.
class LockedSqlite : public OpenStoreTest {};
INSTANTIATE_TEST_SUITE_P(, LockedSqlite, testing::Values(Dialect::sqlite), dialect_name);

TEST_P(LockedSqlite, ALockThatIsNotReleasedIsAConflict) {
  Options impatient = options();
  impatient.lock_wait_ms = 20;
  const auto store = open_store(std::move(impatient));
  const auto other = connect();
  other->begin(true);
  const auto blocked = [&] { store->write([](Unit& unit) { put_setting(unit, "a", "1"); }); };
  const Error error = error_of(blocked);
  EXPECT_EQ(error.kind(), Failure::conflict);
  EXPECT_NE(std::string(error.what()).find("store.db"), std::string::npos) << error.what();
  // Readers go on meanwhile.
  EXPECT_EQ(store->read([](Unit& unit) { return get_setting(unit, "a"); }), std::nullopt);
  other->rollback();
  blocked();
  EXPECT_EQ(store->read([](Unit& unit) { return get_setting(unit, "a"); }), "1");
}

TEST_P(LockedSqlite, ALockThatIsReleasedInTimeIsWaitedFor) {
  const auto other = connect();
  other->begin(true);
  std::latch started(1);
  std::jthread waiting([&] {
    started.count_down();
    write([](Unit& unit) { put_setting(unit, "a", "1"); });
  });
  started.wait();
  other->commit();
  waiting.join();
  EXPECT_EQ(read([](Unit& unit) { return get_setting(unit, "a"); }), "1");
}

}  // namespace
}  // namespace sallyport::store

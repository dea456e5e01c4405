// What verification finds in a tampered log, over a real store.
#include "daemon/activity/chain.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/file_io.h"
#include "daemon/activity/anchor.h"

namespace sallyport::daemon {
namespace {

class ActivityChain : public testing::Test {
 protected:
  ActivityChain() : clock(base::parse_instant("2027-03-01T12:00:00Z").value()), live(config()) {
    keeper = std::make_unique<ActivityKeeper>(*store, live, "here", health);
  }
  ~ActivityChain() override {
    store.reset();
    std::error_code ignored;
    std::filesystem::remove_all(directory, ignored);
  }

  static std::filesystem::path make_directory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "activity-XXXXXX").string();
    return ::mkdtemp(pattern.data());
  }
  std::unique_ptr<store::Store> open() {
    store::Options options;
    options.sqlite_path = (directory / "test.db").string();
    return store::open_store(std::move(options));
  }
  Config config() {
    base::write_file_durably(directory / "credential", "a credential that is not in the store\n");
    Config out;
    out.activity.credential_file = (directory / "credential").string();
    out.files.state = (directory / "state").string();
    return out;
  }

  void write(int count) {
    for (int i = 0; i < count; ++i) {
      store->write([&](store::Unit& unit) {
        ActivityEntry entry;
        entry.actor = "anna@example.com";
        entry.operation = "UPDATE";
        entry.resource_type = "API_KEY";
        entry.resource_id = "k" + std::to_string(++written);
        entry.changes = Json::object({{"displayName", "x"}});
        log.append(unit, entry);
      });
    }
  }
  ChainReport report() {
    const auto reports =
        verify_activity(*store, activity_credential(*live.get()), live.get()->files.state);
    EXPECT_EQ(reports.size(), 1U);
    return reports.at(0);
  }
  /// As somebody with the database's file would.
  void sql(const std::string& statement) {
    const std::string command =
        "sqlite3 '" + (directory / "test.db").string() + "' \"" + statement + "\"";
    ASSERT_EQ(::system(command.c_str()), 0) << statement;
  }

  std::filesystem::path directory = make_directory();
  base::ManualClock clock;
  LiveConfig live;
  Health health{clock};
  std::unique_ptr<store::Store> store = open();
  ActivityLog log{"here", clock};
  std::unique_ptr<ActivityKeeper> keeper;
  int written = 0;
};

TEST_F(ActivityChain, AWholeLogIsGood) {
  write(20);
  keeper->run_pass(clock.now());
  write(5);
  const auto whole = report();
  EXPECT_TRUE(whole.good()) << whole.findings.front();
  EXPECT_EQ(whole.rows, 25);
  EXPECT_EQ(whole.vouched, 20);
  EXPECT_EQ(whole.unauthenticated, 0);
  EXPECT_EQ(*keeper->earliest(), clock.now() + base::Seconds{3600});
}

TEST_F(ActivityChain, NothingNewWritesNoCheckpoint) {
  write(3);
  keeper->run_pass(clock.now());
  keeper->run_pass(clock.now());
  EXPECT_EQ(report().checkpoints, 1);
}

TEST_F(ActivityChain, FindsAChangedRow) {
  write(20);
  keeper->run_pass(clock.now());
  sql("UPDATE activity SET actor = 'mallory' WHERE sequence_number = 7");
  const auto changed = report();
  ASSERT_EQ(changed.findings.size(), 1U);
  EXPECT_NE(changed.findings[0].find("row 7 "), std::string::npos);
  EXPECT_NE(changed.findings[0].find("changed"), std::string::npos);
}

TEST_F(ActivityChain, FindsAMissingRow) {
  write(20);
  keeper->run_pass(clock.now());
  sql("DELETE FROM activity WHERE sequence_number IN (7, 8)");
  const auto missing = report();
  ASSERT_EQ(missing.findings.size(), 1U);
  EXPECT_EQ(missing.findings[0], "rows 7 to 8 are missing");
}

TEST_F(ActivityChain, FindsACutOffEnd) {
  write(20);
  keeper->run_pass(clock.now());
  sql("DELETE FROM activity WHERE sequence_number > 15");
  const auto cut = report();
  ASSERT_EQ(cut.findings.size(), 1U);
  EXPECT_NE(cut.findings[0].find("rows 16 to 20 were cut off"), std::string::npos);
}

TEST_F(ActivityChain, FindsACutOffBeginning) {
  write(20);
  keeper->run_pass(clock.now());
  sql("DELETE FROM activity WHERE sequence_number < 5");
  EXPECT_FALSE(report().good());
}

TEST_F(ActivityChain, FindsARebuiltChainByItsCheckpoint) {
  write(10);
  keeper->run_pass(clock.now());
  // Everything after row 4 is written anew with right hashes, and the checkpoint with it.
  auto rows =
      store->read([](store::Unit& unit) { return store::activity_chain(unit, "here", 0, 100); });
  sql("DELETE FROM activity WHERE sequence_number > 4");
  sql("UPDATE activity_head SET sequence_number = 4, hash = "
      "(SELECT hash FROM activity WHERE sequence_number = 4)");
  store->write([&](store::Unit& unit) {
    for (std::size_t i = 4; i < rows.size(); ++i) {
      rows[i].actor = "somebody@example.com";
      store::append_activity(unit, rows[i]);
    }
  });
  const auto rebuilt = report();
  ASSERT_FALSE(rebuilt.good());
  EXPECT_NE(rebuilt.findings[0].find("row 10 differs from its checkpoint"), std::string::npos);

  const auto head =
      store->read([](store::Unit& unit) { return store::activity_head(unit, "here"); });
  store::ActivityCheckpoint forged;
  forged.node = "here";
  forged.sequence = head->sequence;
  forged.hash = head->hash;
  forged.at = clock.now();
  forged.authenticator = authenticate(forged, base::Secret(std::string("a guess")));
  sql("DELETE FROM activity_checkpoint");
  store->write([&](store::Unit& unit) { store::insert_checkpoint(unit, forged); });
  const auto again = report();
  ASSERT_FALSE(again.good());
  EXPECT_NE(again.findings[0].find("forged"), std::string::npos);
}

TEST_F(ActivityChain, PrunesBehindAnAuthenticatedCheckpoint) {
  write(10);
  clock.advance(base::Seconds{401 * 86400});
  write(5);
  keeper->run_pass(clock.now());
  const auto pruned = report();
  EXPECT_TRUE(pruned.good()) << pruned.findings.front();
  EXPECT_EQ(pruned.first, 11);
  EXPECT_EQ(pruned.rows, 5);
  EXPECT_EQ(pruned.vouched, 15);
  sql("DELETE FROM activity_checkpoint WHERE sequence_number = 10");
  EXPECT_FALSE(report().good()) << "rows are missing without a checkpoint";
}

TEST_F(ActivityChain, TheNewestRowIsNeverPruned) {
  write(3);
  clock.advance(base::Seconds{500 * 86400});
  keeper->run_pass(clock.now());
  EXPECT_EQ(report().first, 3);
  write(1);
  EXPECT_TRUE(report().good());
}

TEST_F(ActivityChain, NoOrdinaryCheckpointExcusesAMissingBeginning) {
  write(10);
  keeper->run_pass(clock.now());
  clock.advance(base::Seconds{3600});
  write(10);
  keeper->run_pass(clock.now());
  sql("DELETE FROM activity WHERE sequence_number <= 10");
  const auto cut = report();
  ASSERT_FALSE(cut.good());
  EXPECT_NE(cut.findings[0].find("rows 1 to 10 are missing"), std::string::npos);
}

TEST_F(ActivityChain, AnEndThatWasCutOffWithItsCheckpointsIsMissed) {
  write(10);
  keeper->run_pass(clock.now());
  clock.advance(base::Seconds{3600});
  write(10);
  keeper->run_pass(clock.now());
  sql("DELETE FROM activity WHERE sequence_number > 10");
  sql("DELETE FROM activity_checkpoint WHERE sequence_number > 10");
  sql("UPDATE activity_head SET sequence_number = 10, hash = "
      "(SELECT hash FROM activity WHERE sequence_number = 10)");
  const auto cut = report();
  ASSERT_EQ(cut.findings.size(), 2U);
  EXPECT_NE(cut.findings[0].find("checkpoint of row 20"), std::string::npos);
  EXPECT_NE(cut.findings[1].find("rows 11 to 20 were cut off"), std::string::npos);
  // Nor does it heal when the log goes on, in this daemon or the next.
  write(15);
  for (int i = 0; i < 2; ++i) {
    clock.advance(base::Seconds{3600});
    keeper->run_pass(clock.now());
    ASSERT_EQ(health.list().size(), 1U);
    EXPECT_EQ(health.list()[0].name, "activity.changed");
    EXPECT_FALSE(report().good());
    keeper = std::make_unique<ActivityKeeper>(*store, live, "here", health);
  }
}

TEST_F(ActivityChain, AChainThatWentAsAWholeIsMissed) {
  write(10);
  keeper->run_pass(clock.now());
  for (const char* table : {"activity", "activity_head", "activity_checkpoint"}) {
    sql(std::string("DELETE FROM ") + table);
  }
  EXPECT_FALSE(report().good());
}

TEST_F(ActivityChain, NobodyHasNewRowsPrunedByTheirDates) {
  write(20);
  keeper->run_pass(clock.now());
  sql("UPDATE activity SET happened = 1000 WHERE sequence_number = 15");
  clock.advance(base::Seconds{3600});
  keeper->run_pass(clock.now());
  ASSERT_EQ(health.list().size(), 1U);
  EXPECT_EQ(health.list()[0].name, "activity.changed");
  const auto changed = report();
  EXPECT_EQ(changed.first, 1);
  EXPECT_FALSE(changed.good());
}

TEST_F(ActivityChain, AnAnchorIsOursOnly) {
  write(10);
  keeper->run_pass(clock.now());
  const auto path = directory / "state" / "activity-anchor-here";
  const std::string whole = base::read_file(path);
  ASSERT_TRUE(report().good());
  std::string forged = whole;
  forged.replace(forged.find("\"sequence\":10"), 13, "\"sequence\":09");
  for (const std::string& bad : {forged, std::string("{}"), std::string("x")}) {
    base::write_file_durably(path, bad);
    EXPECT_FALSE(report().good()) << bad;
  }
  base::write_file_durably(path, whole);
  EXPECT_TRUE(report().good());
}

TEST_F(ActivityChain, TheRestOfAnAnchorsWriteIsNoChain) {
  write(10);
  keeper->run_pass(clock.now());
  const std::string state = directory / "state";
  const auto anchor = read_anchor(state, "here");
  ASSERT_TRUE(anchor);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    // The kernel ends the child in its first write(), as a kill -9 there would.
    const rlimit nothing{0, 0};
    ::setrlimit(RLIMIT_CORE, &nothing);
    ::setrlimit(RLIMIT_FSIZE, &nothing);
    ::signal(SIGXFSZ, SIG_DFL);
    try {
      write_anchor(state, *anchor);
    } catch (const std::exception&) {
    }
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status)) << "the write was not cut short";
  std::size_t files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(state)) ++files;
  ASSERT_EQ(files, 2U) << "nothing was left behind";
  EXPECT_EQ(anchored_nodes(state), std::vector<std::string>{"here"});
  EXPECT_TRUE(report().good());
}

TEST_F(ActivityChain, AnUnreadableCredentialRaisesHealth) {
  write(3);
  std::filesystem::remove(directory / "credential");
  keeper->run_pass(clock.now());
  ASSERT_EQ(health.list().size(), 1U);
  EXPECT_EQ(health.list()[0].name, "activity.credential");
}

}  // namespace
}  // namespace sallyport::daemon

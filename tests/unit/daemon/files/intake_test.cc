// Uploads between their announcement and their row in the journal, also where programs end between.
#include "daemon/files/intake.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/error.h"
#include "daemon/files/check.h"
#include "gateway.h"
#include "store/error.h"

namespace sallyport::daemon::test {
namespace {

using store::FileState;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

std::string name_of(unsigned number) {
  return "f" + std::to_string(number) + ".csv";
}

TEST(Intake, OfASessionThatWasCutOffTheListStaysForAWhile) {
  Gateway gateway;
  gateway.set_policies(R"({"signature":"optional"})");
  const std::string told = spooled(gateway, "told.csv", "content");
  gateway.told(told);
  const std::string late = announce(gateway, "late.csv", "content");
  gateway.journal->session_ended(gateway.session_id, true);
  gateway.work();
  gateway.work();
  write_file(gateway.spool() / late, "content");
  gateway.work_and_retry(1);
  EXPECT_EQ(gateway.file(told).state, FileState::archived);
  EXPECT_EQ(gateway.file(late).state, FileState::archived);
  EXPECT_EQ(gateway.file(late).uploader, uploader_facts(gateway.peer()));
  EXPECT_THAT(files_below(gateway.staging()), SizeIs(1));
  gateway.work_and_retry(11);
  EXPECT_THAT(files_below(gateway.staging()), IsEmpty());
}

TEST(Intake, WhatIsNoFileKeepsNoOtherSessionsFilesWaiting) {
  Gateway gateway;
  gateway.set_policies(R"({"signature":"optional"})");
  std::vector<std::string> ids;
  for (int i = 0; i < 3; ++i) {
    ids.push_back(spooled(gateway, name_of(static_cast<unsigned>(i)), "content"));
    gateway.list.reset();
  }
  fs::remove(gateway.spool() / ids[1]);
  fs::create_directory(gateway.spool() / ids[1]);
  gateway.restart();
  gateway.work();
  EXPECT_EQ(gateway.file(ids[0]).state, FileState::archived);
  EXPECT_EQ(gateway.file(ids[2]).state, FileState::archived);
  EXPECT_TRUE(gateway.is_announced(ids[1]));
}

TEST(Intake, UploadsThatWereInterruptedAreReceivedOrDropped) {
  Gateway gateway;
  gateway.set_policies(R"({"signature":"optional"})");
  const std::string whole = spooled(gateway, "whole.csv", "whole");
  const std::string lost = announce(gateway, "lost.csv", "late");
  EXPECT_THAT(Check(*gateway.context).check().findings, IsEmpty()) << "an intent is no orphan";
  gateway.restart();
  gateway.work();
  EXPECT_EQ(gateway.file(whole).state, FileState::archived);
  EXPECT_EQ(gateway.file(whole).sha256, base::to_hex(base::sha256("whole")));
  EXPECT_THAT(gateway.file(whole).uploader, testing::HasSubstr("192.0.2.7"));
  EXPECT_THAT(gateway.file(whole).uploader, testing::HasSubstr("claimed"));
  EXPECT_TRUE(gateway.is_announced(lost)) << "a session may be at it still";
  EXPECT_THAT(files_below(gateway.staging()), SizeIs(1));
  gateway.work_and_retry(11);
  EXPECT_EQ(gateway.file(lost).state, FileState::aborted);
  EXPECT_LT(gateway.file(lost).created, gateway.clock.now() - base::Seconds{600})
      << "what its partner sent instead is newer";
  EXPECT_THAT(gateway.steps(lost), ElementsAre("receiving", "aborted"));
  EXPECT_THAT(files_below(gateway.staging()), IsEmpty());
}

TEST(Intake, ASessionOfAProgramBeforeMayComeLate) {
  Gateway gateway;
  gateway.set_policies(R"({"signature":"optional"})");
  const std::string early = announce(gateway, "early.csv", "content");
  const std::string id = gateway.session_id;
  sftp::IntentList list(gateway.staging_fd.get(), id, "{}");
  gateway.restart();
  gateway.work();
  EXPECT_TRUE(gateway.is_announced(early));
  const sftp::Intent late{base::random_id(), "/Incoming/Invoices/late.csv", 4,
                          base::sha256("late")};
  ASSERT_TRUE(list.add(late));
  write_file(gateway.spool() / late.file_id, "late");
  write_file(gateway.spool() / early, "content");
  // One that had no list when it was looked for.
  const std::string another = base::random_id();
  sftp::IntentList begun(gateway.staging_fd.get(), another, "{}");
  const sftp::Intent last{base::random_id(), "/Incoming/Invoices/last.csv", 4,
                          base::sha256("last")};
  ASSERT_TRUE(begun.add(last));
  write_file(gateway.spool() / last.file_id, "last");
  gateway.work_and_retry(1);
  EXPECT_EQ(gateway.file(early).state, FileState::archived);
  EXPECT_EQ(gateway.file(late.file_id).state, FileState::archived);
  EXPECT_EQ(gateway.file(last.file_id).state, FileState::archived);
  gateway.work_and_retry(11);
  EXPECT_THAT(files_below(gateway.staging()), IsEmpty());
}

TEST(Intake, IntentsThatAProgramBeforeKeptInTheStoreAreLookedAfter) {
  Gateway gateway;
  gateway.set_policies(R"({"signature":"optional"})");
  std::vector<std::string> ids;
  for (const char* name : {"whole.csv", "unknown.csv", "damaged.csv", "lost.csv"}) {
    store::UploadIntent intent;
    intent.id = base::random_id();
    intent.partner = "acme";
    intent.object = "Invoices";
    intent.name = name;
    intent.uploader = "{}";
    intent.created = gateway.clock.now();
    intent.size = 7;
    if (ids.size() != 1) intent.sha256 = base::to_hex(base::sha256("content"));
    intent.ordinal = static_cast<std::int64_t>(ids.size());
    gateway.real_store->write(
        [&](store::Unit& unit) { store::insert_upload_intent(unit, intent); });
    if (ids.size() < 3) write_file(gateway.spool() / intent.id, ids.size() < 2 ? "content" : "c");
    ids.push_back(intent.id);
  }
  gateway.restart();
  gateway.work();
  EXPECT_EQ(gateway.file(ids[0]).state, FileState::archived);
  EXPECT_EQ(gateway.file(ids[1]).state, FileState::archived);
  EXPECT_EQ(gateway.file(ids[1]).sha256, base::to_hex(base::sha256("content")));
  EXPECT_EQ(gateway.file(ids[2]).reason_code, "damaged");
  gateway.work_and_retry(11);
  EXPECT_EQ(gateway.file(ids[3]).state, FileState::aborted);
  EXPECT_THAT(gateway.real_store->read(
                  [](store::Unit& unit) { return store::list_upload_intents(unit, "", 10); }),
              IsEmpty());
}

TEST(Intake, ASessionMayTakeItsTimeBeforeItsClose) {
  Gateway gateway;
  gateway.set_policies(R"({"signature":"optional"})");
  const std::string slow = announce(gateway, "slow.csv", "content");
  gateway.work_and_retry(30);
  EXPECT_TRUE(gateway.is_announced(slow));
  write_file(gateway.spool() / slow, "content");
  gateway.told(slow);
  gateway.work();
  EXPECT_EQ(gateway.file(slow).state, FileState::archived);
}

TEST(Intake, WhatASessionMovedBeforeItsEndIsReceivedAtOnce) {
  Gateway gateway;
  gateway.set_policies(R"({"signature":"optional"})");
  const std::string told = spooled(gateway, "told.csv", "content");
  gateway.told(told);
  const std::string moved = spooled(gateway, "moved.csv", "content");
  const std::string not_moved = announce(gateway, "not_moved.csv", "content");
  gateway.work();
  EXPECT_TRUE(gateway.is_announced(moved)) << "its session is at it";
  gateway.end_session();
  gateway.work();
  gateway.work();
  EXPECT_EQ(gateway.file(told).state, FileState::archived);
  EXPECT_EQ(gateway.file(moved).state, FileState::archived);
  EXPECT_THAT(gateway.steps(told), SizeIs(5)) << "not twice";
  EXPECT_TRUE(gateway.is_announced(not_moved));
  gateway.work_and_retry(11);
  EXPECT_EQ(gateway.file(not_moved).state, FileState::aborted);
  EXPECT_THAT(files_below(gateway.staging()), IsEmpty());
}

TEST(Intake, ListsGoWhenTheirLinesAreRowsAndWithTheirSession) {
  Gateway gateway;
  const std::uint64_t lines = sftp::intents_of_a_part * 2 + 10;
  std::vector<std::string> ids;
  for (std::uint64_t i = 0; i < lines; ++i) ids.push_back(spooled(gateway, "a.csv", "x"));
  const auto list = [&](std::uint64_t part) {
    return sftp::intents_name(gateway.session_id, part);
  };
  EXPECT_THAT(files_below(gateway.staging()), ElementsAre(list(1), list(2), list(3)));
  std::uint64_t told = 0;
  while (told < 1999) gateway.told(ids[told++]);
  gateway.store->interrupt(1, InterruptedStore::When::before);
  EXPECT_THROW(gateway.journal->intake().work(), store::Error);
  EXPECT_THAT(files_below(gateway.staging()), ElementsAre(list(1), list(2), list(3)));
  gateway.store->interrupt(0, InterruptedStore::When::before);
  gateway.journal->intake().work();
  EXPECT_THAT(files_below(gateway.staging()), ElementsAre(list(2), list(3)));
  while (told < lines) gateway.told(ids[told++]);
  gateway.journal->intake().work();
  EXPECT_THAT(files_below(gateway.staging()), ElementsAre(list(3)));
  EXPECT_EQ(gateway.file(ids.back()).state, FileState::received);
  gateway.end_session();
  gateway.journal->intake().work();
  EXPECT_THAT(files_below(gateway.staging()), IsEmpty());
}

TEST(Intake, WhatCannotBeLookedAtKeepsNobodyWaiting) {
  Gateway gateway;
  gateway.set_policies(R"({"signature":"optional"})");
  const std::string folder = announce(gateway, "folder.csv", "");
  fs::create_directory(gateway.spool() / folder);
  gateway.end_session();
  const std::string good = spooled(gateway, "good.csv", "content");
  gateway.told(good);
  gateway.work();
  EXPECT_EQ(gateway.file(good).state, FileState::archived);
  EXPECT_TRUE(gateway.is_announced(folder));
  Intake& intake = gateway.journal->intake();
  intake.resolve();
  intake.start();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{20};
  intake.wait_idle(deadline);
  EXPECT_FALSE(gateway.health.good());
  fs::remove(gateway.spool() / folder);
  write_file(gateway.spool() / folder, "");
  while (!gateway.health.good() && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds{5});
  }
  EXPECT_TRUE(gateway.health.good()) << "it is looked at again";
  EXPECT_EQ(gateway.file(folder).state, FileState::received);
}

TEST(Intake, WhatHadItsOkIsReceivedInItsOrderAfterAnInterruption) {
  Gateway gateway;
  gateway.set_policies(R"({"signature":"optional"})");
  std::vector<std::string> ids;
  for (unsigned i = 0; i < 40; ++i) ids.push_back(spooled(gateway, name_of(i), "content"));
  // Some were reported, and none of them recorded.
  for (unsigned i = 0; i < 13; ++i) gateway.told(ids[i]);
  gateway.restart();
  gateway.work();
  for (unsigned i = 0; i < 40; ++i) {
    EXPECT_EQ(gateway.file(ids[i]).state, FileState::archived) << i;
    EXPECT_EQ(gateway.file(ids[i]).sequence, static_cast<std::int64_t>(i + 1)) << i;
  }
  EXPECT_THAT(files_below(gateway.spool()), IsEmpty());
}

TEST(Intake, AFileThatAnInterruptionDamagedIsParkedWithThatReason) {
  Gateway gateway;
  gateway.set_policies(R"({"signature":"optional"})");
  const std::string damaged = spooled(gateway, "damaged.csv", "0123456789");
  const std::string half = spooled(gateway, "half.csv", "0123456789");
  write_file(gateway.spool() / damaged, "0123456\0\0\0");
  write_file(gateway.spool() / half, "01234");
  gateway.restart();
  gateway.work();
  for (const std::string& id : {damaged, half}) {
    EXPECT_EQ(gateway.file(id).state, FileState::failed);
    EXPECT_EQ(gateway.file(id).reason_code, "damaged");
    EXPECT_FALSE(gateway.is_announced(id));
  }
  EXPECT_THAT(files_below(gateway.root() / "inbound"), IsEmpty());
  EXPECT_THAT(files_below(gateway.tree()),
              testing::UnorderedElementsAre("Archive/Failed/Invoices/damaged.csv",
                                            "Archive/Failed/Invoices/damaged.csv.reason.txt",
                                            "Archive/Failed/Invoices/half.csv",
                                            "Archive/Failed/Invoices/half.csv.reason.txt"));
}

TEST(Intake, APartnerWithoutItsDirectoryKeepsOthersWaitingForMomentsOnly) {
  Gateway gateway;
  gateway.set_policies(R"({"signature":"optional"})");
  const std::string first = spooled(gateway, "first.csv", "content");
  const std::string second = spooled(gateway, "second.csv", "content");
  gateway.told(first);
  gateway.told(second);
  fs::rename(gateway.root() / "partners/acme", gateway.root() / "partners/away");
  Intake& intake = gateway.journal->intake();
  int waited = 0;
  for (bool waits = true; waits && waited < 20; waited += waits ? 1 : 0) {
    try {
      intake.work();
      waits = false;
    } catch (const base::Error&) {
      EXPECT_FALSE(gateway.real_store->read(
          [&](store::Unit& unit) { return store::find_file(unit, first); }));
    }
  }
  EXPECT_GT(waited, 2);
  EXPECT_LT(waited, 10);
  fs::rename(gateway.root() / "partners/away", gateway.root() / "partners/acme");
  intake.resolve();
  gateway.work();
  EXPECT_EQ(gateway.file(first).sequence, 1);
  EXPECT_EQ(gateway.file(second).sequence, 2);
  EXPECT_EQ(gateway.file(second).state, FileState::archived);
}

TEST(Intake, AStoreThatIsAwayDelaysTheRowsAndKeepsTheirOrder) {
  Gateway gateway;
  gateway.set_policies(R"({"signature":"optional"})");
  std::vector<std::string> ids;
  for (unsigned i = 0; i < 20; ++i) ids.push_back(spooled(gateway, name_of(i), "content"));
  gateway.store->interrupt(1, InterruptedStore::When::before);
  for (const std::string& id : ids) gateway.told(id);
  EXPECT_THROW(gateway.journal->intake().work(), store::Error);
  EXPECT_TRUE(gateway.is_announced(ids[0]));
  gateway.store->interrupt(0, InterruptedStore::When::before);  // it is back
  gateway.work();
  for (unsigned i = 0; i < 20; ++i) {
    EXPECT_EQ(gateway.file(ids[i]).state, FileState::archived) << i;
    EXPECT_EQ(gateway.file(ids[i]).sequence, static_cast<std::int64_t>(i + 1)) << i;
  }
}

TEST(Intake, AnUploadThatWasGivenUpWhileTheStoreWasAwayIsDroppedWhenItIsBack) {
  Gateway gateway;
  const std::string id = announce(gateway, "a.csv", "x");
  gateway.store->interrupt(1, InterruptedStore::When::before);
  gateway.told(id, false);
  EXPECT_THROW(gateway.journal->intake().work(), store::Error);
  EXPECT_TRUE(gateway.is_announced(id));
  gateway.store->interrupt(0, InterruptedStore::When::before);  // it is back
  gateway.journal->intake().work();
  EXPECT_EQ(gateway.file(id).state, FileState::aborted);
  EXPECT_THAT(gateway.steps(id), SizeIs(2));
}

TEST(Intake, ABurstIsRecordedWhenItIsOverAndNotMuchLater) {
  Gateway gateway;
  gateway.set_policies(R"({"signature":"optional"})");
  Intake& intake = gateway.journal->intake();
  intake.start();
  using Clock = std::chrono::steady_clock;
  const auto is_recorded = [&](const std::string& id) {
    return gateway.real_store->read([&](store::Unit& unit) { return store::find_file(unit, id); })
        .has_value();
  };
  // Without a pause, for longer than a burst may last.
  const auto begun = Clock::now();
  std::vector<std::string> ids;
  bool recorded = false;
  while (!recorded && Clock::now() < begun + std::chrono::seconds{20}) {
    ids.push_back(spooled(gateway, name_of(static_cast<unsigned>(ids.size())), "content"));
    gateway.told(ids.back());
    // The first was by itself.
    recorded = ids.size() > 2 && is_recorded(ids[2]);
  }
  EXPECT_TRUE(recorded);
  intake.wait_idle(Clock::now() + std::chrono::seconds{20});
  for (unsigned i = 0; i < ids.size(); ++i) {
    EXPECT_EQ(gateway.file(ids[i]).sequence, static_cast<std::int64_t>(i + 1)) << i;
  }
}

TEST(Intake, ItsThreadRecordsWhatComesAndWhatTheStoreRefusedForAWhile) {
  Gateway gateway;
  gateway.set_policies(R"({"signature":"optional"})");
  const std::string refused = spooled(gateway, "refused.csv", "content");
  Intake& intake = gateway.journal->intake();
  gateway.store->interrupt(1, InterruptedStore::When::before);
  gateway.told(refused);
  intake.start();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{20};
  while (gateway.health.good() && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds{5});
  }
  EXPECT_FALSE(gateway.health.good());
  gateway.store->interrupt(0, InterruptedStore::When::before);  // it is back
  intake.wait_idle(deadline);
  EXPECT_EQ(gateway.file(refused).state, FileState::received);
  std::vector<std::string> ids;
  for (unsigned i = 0; i < 50; ++i) {
    ids.push_back(spooled(gateway, name_of(i), "content"));
    gateway.told(ids.back());
  }
  intake.wait_idle(deadline);
  EXPECT_TRUE(gateway.health.good());
  for (unsigned i = 0; i < 50; ++i) {
    EXPECT_EQ(gateway.file(ids[i]).sequence, static_cast<std::int64_t>(i + 2)) << i;
  }
}

}  // namespace
}  // namespace sallyport::daemon::test

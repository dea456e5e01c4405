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

std::string announce(Gateway& gateway, const std::string& name, std::string_view content) {
  return gateway.announce("/Incoming/Invoices/" + name, "Invoices", content);
}

/// Announced and moved into the spool: its partner may have an OK for it.
std::string spooled(Gateway& gateway, const std::string& name, std::string_view content) {
  std::string id = announce(gateway, name, content);
  write_file(gateway.spool() / id, content);
  return id;
}

std::string name_of(unsigned number) {
  return "f" + std::to_string(number) + ".csv";
}

TEST(Intake, AFileThatIsNotWhatWasAnnouncedIsNotReceived) {
  Gateway gateway;
  const std::string absent = announce(gateway, "a.csv", "x");
  gateway.journal->finish_upload(absent);
  gateway.work();
  EXPECT_TRUE(gateway.is_announced(absent)) << "nothing is there";
  EXPECT_THROW(gateway.journal->finish_upload(absent), base::Error) << "said twice";
  EXPECT_THROW(gateway.journal->finish_upload("unknown"), base::Error);
  const std::string longer = announce(gateway, "b.csv", "x");
  write_file(gateway.spool() / longer, "xy");
  gateway.journal->finish_upload(longer);
  gateway.work();
  EXPECT_TRUE(gateway.is_announced(longer));
  for (const char* name : {"..", "", "a/../b"}) {
    EXPECT_THROW(static_cast<void>(gateway.journal->begin_upload(
                     gateway.peer(), {"Invoices", name, "/elsewhere", 0, {}, ""})),
                 base::Error)
        << name;
  }
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
  EXPECT_TRUE(gateway.is_announced(lost)) << "a session may be at it still";
  gateway.work_and_retry(11);
  EXPECT_EQ(gateway.file(lost).state, FileState::aborted);
  EXPECT_THAT(gateway.steps(lost), ElementsAre("receiving", "aborted"));
}

TEST(Intake, ASessionMayTakeItsTimeBeforeItsClose) {
  Gateway gateway;
  gateway.set_policies(R"({"signature":"optional"})");
  const std::string slow = announce(gateway, "slow.csv", "content");
  gateway.work_and_retry(30);
  EXPECT_TRUE(gateway.is_announced(slow));
  write_file(gateway.spool() / slow, "content");
  gateway.journal->finish_upload(slow);
  gateway.work();
  EXPECT_EQ(gateway.file(slow).state, FileState::archived);
}

TEST(Intake, WhatASessionMovedBeforeItsEndIsReceivedAtOnce) {
  Gateway gateway;
  gateway.set_policies(R"({"signature":"optional"})");
  const std::string moved = spooled(gateway, "moved.csv", "content");
  const std::string not_moved = announce(gateway, "not_moved.csv", "content");
  gateway.work();
  EXPECT_TRUE(gateway.is_announced(moved)) << "its session is at it";
  gateway.journal->session_ended({moved, not_moved});
  gateway.work();
  EXPECT_EQ(gateway.file(moved).state, FileState::archived);
  EXPECT_TRUE(gateway.is_announced(not_moved));
  gateway.work_and_retry(11);
  EXPECT_EQ(gateway.file(not_moved).state, FileState::aborted);
}

TEST(Intake, WhatCannotBeLookedAtKeepsNobodyWaiting) {
  Gateway gateway;
  gateway.set_policies(R"({"signature":"optional"})");
  const std::string folder = announce(gateway, "folder.csv", "");
  fs::create_directory(gateway.spool() / folder);
  gateway.journal->session_ended({folder});
  const std::string good = spooled(gateway, "good.csv", "content");
  gateway.journal->finish_upload(good);
  gateway.work();
  EXPECT_EQ(gateway.file(good).state, FileState::archived);
  EXPECT_TRUE(gateway.is_announced(folder));
  Intake& intake = gateway.journal->intake();
  intake.resolve(true);
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
  for (unsigned i = 0; i < 40; i += 3) gateway.journal->finish_upload(ids[i]);
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
  gateway.journal->finish_upload(first);
  gateway.journal->finish_upload(second);
  fs::rename(gateway.root() / "partners/acme", gateway.root() / "partners/away");
  Intake& intake = gateway.journal->intake();
  int waited = 0;
  for (bool waits = true; waits && waited < 20; waited += waits ? 1 : 0) {
    try {
      intake.work();
      waits = false;
    } catch (const base::Error&) {
      EXPECT_TRUE(gateway.is_announced(first));
    }
  }
  EXPECT_GT(waited, 2);
  EXPECT_LT(waited, 10);
  fs::rename(gateway.root() / "partners/away", gateway.root() / "partners/acme");
  intake.resolve(true);
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
  for (const std::string& id : ids) gateway.journal->finish_upload(id);
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
  gateway.journal->abort_upload(id);
  EXPECT_THROW(gateway.journal->intake().work(), store::Error);
  EXPECT_TRUE(gateway.is_announced(id));
  gateway.store->interrupt(0, InterruptedStore::When::before);  // it is back
  gateway.journal->intake().work();
  EXPECT_EQ(gateway.file(id).state, FileState::aborted);
  EXPECT_THAT(gateway.steps(id), SizeIs(2));
}

TEST(Intake, AnIntentThatCameTooEarlyLeavesNoTrace) {
  Gateway gateway;
  gateway.set_policies(R"({"signature":"optional"})");
  const std::string early = announce(gateway, "a.csv", "be");
  const std::string id = gateway.journal->begin_upload(
      gateway.peer(),
      {"Invoices", "a.csv", "/Incoming/Invoices/a.csv", 5, base::sha256("begin"), early});
  EXPECT_FALSE(gateway.is_announced(early));
  write_file(gateway.spool() / id, "begin");
  gateway.journal->finish_upload(id);
  EXPECT_THROW(gateway.journal->finish_upload(early), base::Error);
  gateway.work();
  EXPECT_EQ(gateway.file(id).state, FileState::archived);
  EXPECT_THAT(gateway.real_store->read(
                  [](store::Unit& unit) { return store::list_files(unit, {}, nullptr, 10); }),
              SizeIs(1));
}

TEST(Intake, ItsThreadRecordsWhatComesAndWhatTheStoreRefusedForAWhile) {
  Gateway gateway;
  gateway.set_policies(R"({"signature":"optional"})");
  const std::string refused = spooled(gateway, "refused.csv", "content");
  Intake& intake = gateway.journal->intake();
  gateway.store->interrupt(1, InterruptedStore::When::before);
  gateway.journal->finish_upload(refused);
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
    gateway.journal->finish_upload(ids.back());
  }
  intake.wait_idle(deadline);
  EXPECT_TRUE(gateway.health.good());
  for (unsigned i = 0; i < 50; ++i) {
    EXPECT_EQ(gateway.file(ids[i]).sequence, static_cast<std::int64_t>(i + 2)) << i;
  }
}

}  // namespace
}  // namespace sallyport::daemon::test

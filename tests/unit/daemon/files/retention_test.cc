#include "daemon/files/retention.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "base/bytes.h"
#include "daemon/files/backup.h"
#include "daemon/files/originals.h"
#include "daemon/files/waiting_files.h"
#include "daemon/http/router.h"
#include "gateway.h"

namespace sallyport::daemon::test {
namespace {

using store::FileState;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

std::string read_original(Gateway& gateway, const std::string& id) {
  const auto fd = open_original(*gateway.context, gateway.file(id));
  if (!fd) return "(nothing)";
  std::string content(1000, '\0');
  const ssize_t got = ::pread(fd->get(), content.data(), content.size(), 0);
  content.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  return content;
}

class RetentionTest : public testing::Test {
 protected:
  RetentionTest() { gateway.set_policies(R"({"signature":"optional"})"); }
  void pass() {
    while (retention.run_pass(gateway.clock.now())) {
    }
  }
  void two_weeks() { gateway.clock.advance(base::Seconds{14 * 86400 + 1}); }

  Gateway gateway;
  Retention retention{*gateway.context};
};

TEST_F(RetentionTest, ArchivedAndFailedFilesMoveToTheBackupAfterTwoWeeks) {
  const std::string good = gateway.upload("Invoices", "good.csv", "good");
  const std::string bad = gateway.upload("Invoices", "bad.csv.pgp", "no message");
  gateway.work();
  gateway.clock.advance(base::Seconds{14 * 86400 - 10});
  pass();
  EXPECT_EQ(gateway.file(good).state, FileState::archived);
  gateway.clock.advance(base::Seconds{20});
  pass();
  EXPECT_EQ(gateway.file(good).state, FileState::backed_up);
  EXPECT_EQ(gateway.file(bad).state, FileState::failed) << "it stays a failed file";
  EXPECT_FALSE(gateway.file(bad).backup_at.empty());
  EXPECT_THAT(files_below(gateway.tree()), IsEmpty());
  EXPECT_THAT(files_below(gateway.root() / "backup"), SizeIs(2));
  EXPECT_EQ(read_original(gateway, good), "good");
  EXPECT_EQ(read_original(gateway, bad), "no message");
  EXPECT_FALSE(retention.earliest());
}

TEST_F(RetentionTest, AtEveryCommitAMoveIsFinishedLater) {
  for (const auto when : {InterruptedStore::When::before, InterruptedStore::When::after}) {
    for (unsigned nth = 1; nth <= 2; ++nth) {
      SCOPED_TRACE(nth);
      Gateway own;
      own.set_policies(R"({"signature":"optional"})");
      Retention pass(*own.context);
      const std::string id = own.upload("Invoices", "a.csv", "a");
      own.work();
      own.clock.advance(base::Seconds{15 * 86400});
      own.store->interrupt(nth, when);
      EXPECT_THROW(pass.run_pass(own.clock.now()), store::Error);
      own.restart();
      EXPECT_EQ(read_original(own, id), "a");
      pass.run_pass(own.clock.now());
      EXPECT_EQ(own.file(id).state, FileState::backed_up);
      EXPECT_THAT(files_below(own.tree()), IsEmpty());
      EXPECT_THAT(files_below(own.root() / "backup"), SizeIs(1));
      EXPECT_EQ(read_original(own, id), "a");
    }
  }
}

TEST_F(RetentionTest, AnUnreachableTargetDelaysAndLosesNothing) {
  const std::string id = gateway.upload("Invoices", "a.csv", "a");
  gateway.work();
  two_weeks();
  fs::rename(gateway.root() / "backup", gateway.root() / "away");
  pass();
  EXPECT_EQ(gateway.file(id).state, FileState::archived);
  EXPECT_FALSE(gateway.health.good());
  EXPECT_GT(retention.earliest().value(), gateway.clock.now());
  fs::rename(gateway.root() / "away", gateway.root() / "backup");
  gateway.clock.advance(base::Seconds{61});
  pass();
  EXPECT_EQ(gateway.file(id).state, FileState::backed_up);
  EXPECT_TRUE(gateway.health.good());
}

TEST_F(RetentionTest, AClockThatWentBackDoesNotMakeThePauseLonger) {
  fs::remove_all(gateway.root() / "backup");
  write_file(gateway.root() / "backup", "not a directory");
  const std::string id = gateway.upload("Invoices", "a.csv", "x");
  gateway.work();
  two_weeks();
  gateway.clock.advance(base::Seconds{86400});
  pass();
  EXPECT_EQ(gateway.file(id).state, FileState::archived);
  gateway.clock.set(gateway.clock.now() - base::Seconds{86000});
  fs::remove(gateway.root() / "backup");
  fs::create_directories(gateway.root() / "backup");
  EXPECT_LE(retention.earliest().value(), gateway.clock.now());
  pass();
  EXPECT_EQ(gateway.file(id).state, FileState::backed_up);
}

TEST_F(RetentionTest, AnOriginalThatChangedInTheArchiveIsNotBackedUpAsIfItWereIt) {
  const std::string id = gateway.upload("Invoices", "a.csv", "a");
  gateway.work();
  write_file(gateway.tree() / "Archive/Incoming/Invoices/a.csv", "b");
  two_weeks();
  pass();
  EXPECT_EQ(gateway.file(id).state, FileState::archived);
  EXPECT_THAT(files_below(gateway.root() / "backup"), IsEmpty());
  EXPECT_FALSE(gateway.health.good());
}

TEST_F(RetentionTest, AFileThatSomebodyRemovedByHandIsReportedAndDoesNotBlock) {
  const std::string gone = gateway.upload("Invoices", "gone.csv", "a");
  const std::string there = gateway.upload("Invoices", "there.csv", "b");
  gateway.work();
  fs::remove(gateway.tree() / "Archive/Incoming/Invoices/gone.csv");
  two_weeks();
  pass();
  EXPECT_EQ(gateway.file(there).state, FileState::backed_up);
  EXPECT_EQ(gateway.file(gone).state, FileState::archived);
  EXPECT_EQ(gateway.health.list().at(0).name, "files.missing");
  // It may be put back: it is looked at again a day later.
  EXPECT_EQ(gateway.file(gone).next_due, gateway.clock.now() + base::Seconds{86400});
  write_file(gateway.tree() / "Archive/Incoming/Invoices/gone.csv", "a");
  gateway.clock.set(gateway.clock.now() + base::Seconds{86400});
  pass();
  EXPECT_EQ(gateway.file(gone).state, FileState::backed_up);
}

TEST_F(RetentionTest, ADamagedBackupIsNoticedWhenItIsRead) {
  const std::string id = gateway.upload("Invoices", "a.csv", "a");
  gateway.work();
  two_weeks();
  pass();
  const std::string copy = files_below(gateway.root() / "backup").at(0);
  write_file(gateway.root() / "backup" / copy, "b");
  EXPECT_THROW(read_original(gateway, id), ProblemError);
  fs::remove(gateway.root() / "backup" / copy);
  EXPECT_THROW(read_original(gateway, id), ProblemError);
}

TEST_F(RetentionTest, AFileThatWasChangedHoldsUpNoOther) {
  const std::string changed = gateway.upload("Invoices", "a.csv", "a");
  const std::string folder = gateway.upload("Invoices", "b.csv", "b");
  const std::string good = gateway.upload("Invoices", "c.csv", "c");
  gateway.work();
  const fs::path archive = gateway.tree() / "Archive/Incoming/Invoices";
  write_file(archive / "a.csv", "x");
  fs::remove(archive / "b.csv");
  fs::create_directory(archive / "b.csv");
  two_weeks();
  pass();
  EXPECT_EQ(gateway.file(good).state, FileState::backed_up);
  EXPECT_EQ(gateway.file(changed).state, FileState::archived);
  EXPECT_EQ(gateway.file(folder).state, FileState::archived);
  EXPECT_GT(gateway.file(changed).next_due.value(), gateway.clock.now());
  EXPECT_EQ(gateway.health.list().at(0).name, "files.changed");
  EXPECT_EQ(content_of(archive / "a.csv"), "x") << "it is left where it is";
}

TEST_F(RetentionTest, WhatWasPutInAFoldersPlaceHoldsUpNoOther) {
  const std::string hidden = gateway.upload("Invoices", "a.csv", "a");
  const std::string good = gateway.upload("Users", "b.csv", "b");
  gateway.work();
  const fs::path archive = gateway.tree() / "Archive/Incoming/Invoices";
  fs::rename(archive, archive.string() + ".away");
  write_file(archive, "no folder");
  two_weeks();
  pass();
  EXPECT_EQ(gateway.file(good).state, FileState::backed_up);
  EXPECT_EQ(gateway.file(hidden).state, FileState::archived);
  EXPECT_EQ(gateway.health.list().at(0).name, "files.changed");
  fs::remove(archive);
  fs::rename(archive.string() + ".away", archive);
  gateway.clock.advance(base::Seconds{86400});
  pass();
  EXPECT_EQ(gateway.file(hidden).state, FileState::backed_up);
}

TEST_F(RetentionTest, WhatIsNotEncryptedIsEncryptedForTheBackupAndComesBackAsItWas) {
  Gateway own([](Config& config) {
    config.partner.signature = "optional";
    config.backup.encrypt_to = Keys::get().our_key.fingerprint;
  });
  Retention move(*own.context);
  const std::string sealed_content = message("secret");
  const std::string plain = own.upload("Invoices", "plain.csv", "in the clear");
  const std::string sealed = own.upload("Invoices", "sealed.csv.pgp", sealed_content);
  const std::string bad = own.upload("Invoices", "bad.csv.pgp", "no message");
  own.work();
  own.clock.advance(base::Seconds{15 * 86400});
  move.run_pass(own.clock.now());
  EXPECT_EQ(own.file(plain).state, FileState::backed_up);
  EXPECT_THAT(own.file(plain).verdict, HasSubstr(Keys::get().our_key.fingerprint));
  for (const std::string& name : files_below(own.root() / "backup")) {
    EXPECT_THAT(content_of(own.root() / "backup" / name), Not(HasSubstr("in the clear")));
    EXPECT_THAT(content_of(own.root() / "backup" / name), Not(HasSubstr("no message")));
  }
  EXPECT_EQ(read_original(own, plain), "in the clear");
  EXPECT_EQ(read_original(own, bad), "no message");
  EXPECT_EQ(read_original(own, sealed), sealed_content);
  EXPECT_THAT(own.file(sealed).verdict, Not(HasSubstr("\"backup\"")));
  EXPECT_THAT(files_below(own.root() / "state"), IsEmpty());
}

TEST_F(RetentionTest, WithoutTheKeyForTheBackupNothingMovesInTheClear) {
  Gateway own([](Config& config) {
    config.partner.signature = "optional";
    config.backup.encrypt_to = "0123456789ABCDEF0123456789ABCDEF01234567";
  });
  Retention move(*own.context);
  const std::string plain = own.upload("Invoices", "plain.csv", "in the clear");
  own.work();
  own.clock.advance(base::Seconds{15 * 86400});
  move.run_pass(own.clock.now());
  EXPECT_EQ(own.file(plain).state, FileState::archived);
  EXPECT_THAT(files_below(own.root() / "backup"), IsEmpty());
  EXPECT_THAT(own.health.list().at(0).sentence, HasSubstr("backup.encrypt_to"));
}

TEST_F(RetentionTest, AKeyForTheBackupThatCannotBeUsedIsSaidAtTheStart) {
  const std::string unknown(40, 'A');
  Gateway own([&](Config& config) { config.backup.encrypt_to = unknown; });
  Retention move(*own.context);
  ASSERT_TRUE(move.earliest() && *move.earliest() <= own.clock.now());
  move.run_pass(own.clock.now());
  ASSERT_EQ(own.health.list().size(), 1U);
  EXPECT_EQ(own.health.list()[0].name, "backup.key");
  EXPECT_THAT(own.health.list()[0].sentence, HasSubstr(unknown));
  EXPECT_THAT(own.health.list()[0].sentence, HasSubstr("not in the PGP keyring"));

  const auto set_key = [&](const std::string& key) {
    Config config = *own.config->get();
    config.backup.encrypt_to = key;
    own.config->set(std::make_shared<const Config>(std::move(config)));
    ASSERT_TRUE(move.earliest() && *move.earliest() <= own.clock.now());
    move.run_pass(own.clock.now());
  };
  set_key(Keys::get().partner_key.fingerprint);
  EXPECT_THAT(own.health.list().at(0).sentence, HasSubstr("not a key of ours"));
  set_key(Keys::get().our_key.fingerprint);
  EXPECT_TRUE(own.health.good());
  EXPECT_FALSE(move.earliest());
}

class WaitingTest : public testing::Test {
 protected:
  void leave(const std::string& path, std::string_view content, mode_t mode) {
    const fs::path full = gateway.tree() / "Incoming" / path;
    fs::create_directories(full.parent_path());
    write_file(full, content);
    ASSERT_EQ(::chmod(full.c_str(), mode), 0);
  }
  void pass() { waiting.run_pass(gateway.clock.now()); }

  Gateway gateway;
  WaitingFiles waiting{*gateway.context, *gateway.in};
};

TEST_F(WaitingTest, WhatCannotBeLookedAtHoldsUpNoOther) {
  const fs::path incoming = gateway.tree() / "Incoming";
  leave("Invoices/a.part", "whole", 0660);
  fs::rename(incoming, incoming.string() + ".away");
  write_file(incoming, "no folder");
  EXPECT_FALSE(waiting.run_pass(gateway.clock.now()));
  EXPECT_EQ(gateway.health.list().at(0).name, "files.unseen");
  fs::remove(incoming);
  fs::rename(incoming.string() + ".away", incoming);
  gateway.clock.advance(base::Seconds{86400});
  pass();
  EXPECT_TRUE(gateway.health.good());
}

TEST_F(WaitingTest, PartialsAndFilesThatAreNeverReadyMoveToFailedAfterTwoDays) {
  leave("Invoices/broken.csv", "half", 0670);
  leave("Invoices/deep/x.part", "whole", 0660);
  leave("top.csv", "half", 0670);
  pass();
  EXPECT_THAT(files_below(gateway.tree() / "Archive"), IsEmpty());
  EXPECT_LE(waiting.earliest().value(), gateway.clock.now() + base::Seconds{48 * 3600});
  gateway.clock.advance(base::Seconds{48 * 3600 + 60});
  pass();
  EXPECT_THAT(files_below(gateway.tree()),
              ElementsAre("Archive/Failed/Invoices/broken.csv",
                          "Archive/Failed/Invoices/broken.csv.reason.txt",
                          "Archive/Failed/Invoices/deep/x.part",
                          "Archive/Failed/Invoices/deep/x.part.reason.txt",
                          "Archive/Failed/top.csv", "Archive/Failed/top.csv.reason.txt"));
  EXPECT_THAT(content_of(gateway.tree() / "Archive/Failed/Invoices/broken.csv.reason.txt"),
              HasSubstr("upload-interrupted"));
  EXPECT_THAT(content_of(gateway.tree() / "Archive/Failed/Invoices/deep/x.part.reason.txt"),
              HasSubstr("never-made-ready"));
  EXPECT_THAT(gateway.notices("file_failed"), SizeIs(6));
  EXPECT_THAT(Check(*gateway.context).check().findings, IsEmpty());
}

TEST_F(WaitingTest, AtEveryCommitAMoveIsFinishedAndAnnouncedOnce) {
  for (const auto when : {InterruptedStore::When::before, InterruptedStore::When::after}) {
    for (unsigned nth = 1; nth <= 2; ++nth) {
      SCOPED_TRACE(nth);
      Gateway own;
      WaitingFiles first(*own.context, *own.in);
      fs::create_directories(own.tree() / "Incoming/Invoices");
      write_file(own.tree() / "Incoming/Invoices/a.csv", "half");
      ::chmod((own.tree() / "Incoming/Invoices/a.csv").c_str(), 0670);
      first.run_pass(own.clock.now());
      own.clock.advance(base::Seconds{49 * 3600});
      own.store->interrupt(nth, when);
      EXPECT_THROW(first.run_pass(own.clock.now()), store::Error);
      own.restart();
      own.work();
      WaitingFiles second(*own.context, *own.in);
      second.run_pass(own.clock.now());
      own.clock.advance(base::Seconds{49 * 3600});
      second.run_pass(own.clock.now());
      own.work_and_retry();
      EXPECT_THAT(files_below(own.tree()), ElementsAre("Archive/Failed/Invoices/a.csv",
                                                       "Archive/Failed/Invoices/a.csv.reason.txt"));
      EXPECT_THAT(own.notices("file_failed"), SizeIs(2)) << "a contact and an administrator";
      EXPECT_THAT(files_below(own.spool()), IsEmpty());
      EXPECT_THAT(Check(*own.context).check().findings, IsEmpty());
    }
  }
}

TEST_F(WaitingTest, PartialsThatTheFrontKeepsHiddenAgeToo) {
  const fs::path staging = gateway.root() / "partners/acme/staging";
  write_file(staging / "s1.1", "half");
  write_file(staging / "s1.names", "1\t/Incoming/Invoices/deep/a.csv\n2\t/Incoming/../x\n");
  write_file(staging / "s1.2", "who knows");
  pass();
  EXPECT_THAT(files_below(staging), SizeIs(3));
  gateway.clock.advance(base::Seconds{49 * 3600});
  pass();
  EXPECT_THAT(files_below(staging), ElementsAre("s1.names"));
  EXPECT_THAT(files_below(gateway.tree()),
              ElementsAre("Archive/Failed/Invoices/deep/a.csv",
                          "Archive/Failed/Invoices/deep/a.csv.reason.txt", "Archive/Failed/s1.2",
                          "Archive/Failed/s1.2.reason.txt"));
}

TEST_F(WaitingTest, WhatIsResumedInTimeStays) {
  leave("Invoices/broken.csv", "half", 0670);
  pass();
  gateway.clock.advance(base::Seconds{40 * 3600});
  pass();
  leave("Invoices/broken.csv", "more", 0670);
  gateway.clock.advance(base::Seconds{20 * 3600});
  pass();
  EXPECT_TRUE(fs::exists(gateway.tree() / "Incoming/Invoices/broken.csv"));
}

}  // namespace
}  // namespace sallyport::daemon::test

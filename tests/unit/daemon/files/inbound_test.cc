#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "daemon/files/names.h"
#include "gateway.h"

namespace sallyport::daemon::test {
namespace {

using store::FileState;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

TEST(Inbound, AnEncryptedAndSignedFileIsDeliveredAndArchived) {
  Gateway gateway;
  const std::string sealed = message("a,b\n1,2\n");
  const std::string id = gateway.upload("Invoices", "invoice.csv.pgp", sealed);
  EXPECT_EQ(gateway.file(id).state, FileState::received);
  gateway.work();

  const store::File file = gateway.file(id);
  EXPECT_EQ(file.state, FileState::archived);
  EXPECT_EQ(file.delivered_as, "acme/Invoices/invoice.csv");
  EXPECT_EQ(file.published_as, "/Archive/Incoming/Invoices/invoice.csv.pgp");
  EXPECT_EQ(file.plain_sha256, base::to_hex(base::sha256("a,b\n1,2\n")));
  EXPECT_EQ(file.sha256, base::to_hex(base::sha256(sealed)));
  EXPECT_THAT(file.verdict, HasSubstr(Keys::get().partner_key.fingerprint));
  EXPECT_EQ(file.next_due, file.received + base::Seconds{14 * 86400});
  EXPECT_EQ(content_of(gateway.inbound() / "Invoices/invoice.csv"), "a,b\n1,2\n");
  EXPECT_EQ(content_of(gateway.tree() / "Archive/Incoming/Invoices/invoice.csv.pgp"), sealed);
  EXPECT_THAT(files_below(gateway.spool()), IsEmpty());
  EXPECT_THAT(files_below(gateway.root() / "inbound/.staging"), IsEmpty());
  EXPECT_THAT(gateway.steps(id),
              ElementsAre("receiving", "received", "decrypted", "delivered", "archived"));
  EXPECT_THAT(gateway.notices("file_failed"), IsEmpty());

  struct ::stat status {};
  ASSERT_EQ(::stat((gateway.inbound() / "Invoices/invoice.csv").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0660U);
  ASSERT_EQ(::stat((gateway.root() / "inbound/.staging").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0700U);
}

TEST(Inbound, RecognitionIsByContentNotByName) {
  Gateway gateway;
  const std::string id = gateway.upload("Invoices", "invoice.csv", message("x", {.armour = true}));
  gateway.work();
  EXPECT_EQ(gateway.file(id).delivered_as, "acme/Invoices/invoice.csv");
  EXPECT_EQ(content_of(gateway.inbound() / "Invoices/invoice.csv"), "x");
}

TEST(Inbound, PlainInputIsJudgedByThePolicies) {
  Gateway gateway;
  // The partner has a key that can sign: a signature is required.
  const std::string unsigned_file = gateway.upload("Invoices", "a.csv", "plain");
  gateway.work();
  EXPECT_EQ(gateway.file(unsigned_file).reason_code, "signature-missing");

  gateway.set_policies(R"({"signature":"optional"})");
  const std::string accepted = gateway.upload("Invoices", "b.csv", "plain");
  const std::string empty = gateway.upload("Invoices", "empty.csv", "");
  const std::string misnamed = gateway.upload("Invoices", "c.csv.pgp", "plain");
  gateway.work();
  EXPECT_EQ(gateway.file(accepted).state, FileState::archived);
  EXPECT_EQ(gateway.file(empty).state, FileState::archived);
  EXPECT_EQ(content_of(gateway.inbound() / "Invoices/b.csv"), "plain");
  EXPECT_EQ(content_of(gateway.inbound() / "Invoices/empty.csv"), "");
  EXPECT_EQ(gateway.file(misnamed).reason_code, "not-pgp");

  gateway.set_policies(R"({"signature":"optional","encryption":"required"})");
  const std::string must_encrypt = gateway.upload("Invoices", "d.csv", "plain");
  gateway.work();
  EXPECT_EQ(gateway.file(must_encrypt).reason_code, "not-encrypted");

  gateway.set_policies(R"({"signature":"optional","encryption":"forbidden"})");
  const std::string must_not = gateway.upload("Invoices", "e.csv", message("x"));
  gateway.work();
  EXPECT_EQ(gateway.file(must_not).reason_code, "encryption-forbidden");
}

TEST(Inbound, WhatIsNotAcceptedIsParkedWithItsReasonAndAnnounced) {
  Gateway gateway;
  const std::string sealed = message("x", {.for_stranger = true});
  const std::string id = gateway.upload("Invoices", "invoice.csv.pgp", sealed);
  gateway.work();
  const store::File file = gateway.file(id);
  EXPECT_EQ(file.state, FileState::failed);
  EXPECT_EQ(file.reason_code, "not-for-us");
  EXPECT_EQ(content_of(gateway.tree() / "Archive/Failed/Invoices/invoice.csv.pgp"), sealed);
  const std::string note =
      content_of(gateway.tree() / "Archive/Failed/Invoices/invoice.csv.pgp.reason.txt");
  EXPECT_THAT(note, HasSubstr("not-for-us"));
  EXPECT_THAT(note, HasSubstr(file.reason));
  EXPECT_THAT(files_below(gateway.root() / "inbound"), IsEmpty());
  EXPECT_THAT(files_below(gateway.spool()), IsEmpty());
  const auto notices = gateway.notices("file_failed");
  ASSERT_THAT(notices, SizeIs(2));
  EXPECT_NE(notices[0].recipient, notices[1].recipient);
}

TEST(Inbound, AMessageBySomebodyElseIsNotThePartners) {
  Gateway gateway;
  const std::string id = gateway.upload("Invoices", "a.pgp", message("x", {.by_stranger = true}));
  const std::string unsigned_id =
      gateway.upload("Invoices", "b.pgp", message("x", {.sign = false}));
  gateway.work();
  EXPECT_EQ(gateway.file(id).reason_code, "signature-unknown-key");
  EXPECT_EQ(gateway.file(unsigned_id).reason_code, "signature-missing");
  EXPECT_THAT(files_below(gateway.root() / "inbound"), IsEmpty());
}

TEST(Inbound, NamesThatAreTakenGiveWay) {
  Gateway gateway;
  const std::string first = gateway.upload("Invoices", "a.csv.pgp", message("1"));
  gateway.work();
  const std::string second = gateway.upload("Invoices", "a.csv.pgp", message("2"));
  const std::string third = gateway.upload("Invoices", "a.csv.pgp", message("3"));
  gateway.work();
  EXPECT_EQ(content_of(gateway.inbound() / "Invoices/a.csv"), "1");
  EXPECT_EQ(content_of(gateway.inbound() / ("Invoices/a-" + second + ".csv")), "2");
  EXPECT_EQ(content_of(gateway.inbound() / ("Invoices/a-" + third + ".csv")), "3");
  EXPECT_THAT(files_below(gateway.tree() / "Archive/Incoming"), SizeIs(3));
  EXPECT_EQ(
      gateway.file(second).published_as,
      "/Archive/Incoming/Invoices/a-" + name_time(gateway.file(second).received) + ".csv.pgp");
}

TEST(Inbound, FilesDirectlyInIncomingAndInSubFoldersKeepTheirPlaces) {
  Gateway gateway;
  gateway.set_policies(R"({"signature":"optional"})");
  const std::string top = gateway.upload("", "a.csv", "1");
  const std::string deep = gateway.upload("Invoices", "2026/11/a.csv", "2");
  gateway.work();
  EXPECT_EQ(content_of(gateway.inbound() / "a.csv"), "1");
  EXPECT_EQ(content_of(gateway.inbound() / "Invoices/2026/11/a.csv"), "2");
  EXPECT_EQ(gateway.file(top).published_as, "/Archive/Incoming/a.csv");
  EXPECT_EQ(content_of(gateway.tree() / "Archive/Incoming/Invoices/2026/11/a.csv"), "2");
}

TEST(Inbound, LinksInTheTreesLeadNowhere) {
  Gateway gateway;
  gateway.set_policies(R"({"signature":"optional"})");
  fs::create_directories(gateway.root() / "outside");
  fs::create_directories(gateway.tree() / "Archive");
  fs::create_directory_symlink(gateway.root() / "outside", gateway.tree() / "Archive/Incoming");
  const std::string id = gateway.upload("Invoices", "a.csv", "1");
  gateway.work_and_retry();
  EXPECT_THAT(files_below(gateway.root() / "outside"), IsEmpty());
  EXPECT_EQ(gateway.file(id).state, FileState::decrypted) << "waits until an operator has looked";
  EXPECT_FALSE(gateway.health.good());
  fs::remove(gateway.tree() / "Archive/Incoming");
  gateway.work_and_retry();
  EXPECT_EQ(gateway.file(id).state, FileState::archived);
  EXPECT_EQ(content_of(gateway.inbound() / "Invoices/a.csv"), "1");
  EXPECT_TRUE(gateway.health.good());
}

TEST(Inbound, TheSameContentAgainIsDeliveredAndMarked) {
  Gateway gateway;
  const std::string sealed = message("x");
  const std::string first = gateway.upload("Invoices", "a.pgp", sealed);
  const std::string second = gateway.upload("Invoices", "b.pgp", sealed);
  gateway.work();
  EXPECT_EQ(gateway.file(second).state, FileState::archived);
  EXPECT_THAT(gateway.file(second).verdict, HasSubstr(first));
  EXPECT_THAT(gateway.notices("file_duplicate"), SizeIs(2));
  EXPECT_THAT(gateway.file(first).verdict, Not(HasSubstr("duplicate_of")));
}

TEST(Inbound, TheOutputLimitStopsAMessageThatGrows) {
  Gateway gateway([](Config& config) {
    config.partner.output_floor_bytes = 1 << 20;
    config.partner.output_ratio = 2;
  });
  const std::string id = gateway.upload("Invoices", "bomb.pgp", message(std::string(8 << 20, 'x')));
  gateway.work();
  EXPECT_EQ(gateway.file(id).reason_code, "output-over-limit");
  EXPECT_THAT(files_below(gateway.root() / "inbound"), IsEmpty());
}

TEST(Inbound, FilesOfOneLineArePublishedInTheOrderOfTheirClose) {
  Gateway gateway;
  gateway.set_policies(R"({"signature":"optional"})");
  std::vector<std::string> ids;
  for (int i = 0; i < 5; ++i) {
    ids.push_back(gateway.upload("Invoices", std::to_string(i) + ".csv", "x" + std::to_string(i)));
  }
  // Prepare the later ones first, by hand, as a slow first message would have it.
  for (int i = 4; i > 0; --i) {
    store::File file = gateway.file(ids[static_cast<std::size_t>(i)]);
    ASSERT_EQ(gateway.in->prepare(file), StepResult::done);
    ASSERT_EQ(gateway.in->publish(file), StepResult::not_its_turn);
  }
  EXPECT_FALSE(fs::exists(gateway.inbound() / "Invoices/4.csv"));
  gateway.work();
  for (const auto& id : ids) EXPECT_EQ(gateway.file(id).state, FileState::archived);
}

TEST(Inbound, ARetriedFileHoldsItsLineForAQuarterOfAnHourAtMost) {
  Gateway gateway;
  gateway.set_policies(R"({"signature":"optional"})");
  const std::string first = gateway.upload("Invoices", "1.csv", "1");
  const std::string second = gateway.upload("Invoices", "2.csv", "2");
  const std::string other = gateway.upload("Suppliers", "3.csv", "3");
  fs::rename(gateway.spool() / first, gateway.root() / "hidden");  // as if the disk did not answer
  gateway.work();
  EXPECT_EQ(gateway.file(other).state, FileState::archived);
  EXPECT_EQ(gateway.file(second).state, FileState::decrypted);
  gateway.work_and_retry(14);
  EXPECT_EQ(gateway.file(second).state, FileState::decrypted);
  gateway.work_and_retry(3);
  EXPECT_EQ(gateway.file(second).state, FileState::archived);
  EXPECT_EQ(gateway.file(first).state, FileState::received);
  fs::rename(gateway.root() / "hidden", gateway.spool() / first);
  gateway.work_and_retry();
  EXPECT_EQ(gateway.file(first).state, FileState::archived);
}

TEST(Inbound, WhatWaitsIsTriedAgainSoonAlthoughTheClockWentBack) {
  Gateway gateway;
  gateway.set_policies(R"({"signature":"optional"})");
  const std::string id = gateway.upload("Invoices", "1.csv", "1");
  const std::string second = gateway.upload("Invoices", "2.csv", "2");
  fs::rename(gateway.spool() / id, gateway.root() / "hidden");  // as if the disk did not answer
  gateway.work_and_retry(2);
  EXPECT_EQ(gateway.file(id).state, FileState::received);
  gateway.clock.set(gateway.clock.now() - base::Seconds{7 * 86400});
  EXPECT_LE(gateway.pipeline->earliest().value(), gateway.clock.now());
  gateway.work_and_retry(17);
  EXPECT_EQ(gateway.file(second).state, FileState::archived)
      << "its line is held no longer than ever";
  fs::rename(gateway.root() / "hidden", gateway.spool() / id);
  gateway.clock.set(gateway.clock.now() - base::Seconds{7 * 86400});
  gateway.work_and_retry(1);
  EXPECT_EQ(gateway.file(id).state, FileState::archived);
}

TEST(Inbound, AFailedFileThatCannotBeMovedKeepsItsReasonAndIsMovedLater) {
  Gateway gateway;
  const fs::path folder = gateway.tree() / "Archive/Failed/Invoices";
  fs::create_directories(folder);
  std::string id;
  {
    const WithoutOverride obeying;
    fs::permissions(folder, fs::perms::owner_read | fs::perms::owner_exec);
    id = gateway.upload("Invoices", "a.csv.pgp", "no message");
    gateway.work_and_retry(2);
  }
  const store::File failed = gateway.file(id);
  EXPECT_EQ(failed.state, FileState::failed);
  EXPECT_EQ(failed.reason_code, "not-pgp");
  EXPECT_GT(failed.next_due.value(), gateway.clock.now() + base::Seconds{13 * 86400});
  EXPECT_FALSE(gateway.health.good());
  gateway.work_and_retry(1);
  EXPECT_THAT(files_below(gateway.spool()), IsEmpty());
  EXPECT_THAT(files_below(gateway.tree()),
              ElementsAre("Archive/Failed/Invoices/a.csv.pgp",
                          "Archive/Failed/Invoices/a.csv.pgp.reason.txt"));
  EXPECT_TRUE(gateway.health.good());
}

/// What every interruption must leave true once the daemon runs again.
void expect_delivered_once(Gateway& gateway, const std::string& id, const std::string& plain) {
  const store::File file = gateway.file(id);
  EXPECT_EQ(file.state, FileState::archived);
  EXPECT_THAT(files_below(gateway.root() / "inbound"), ElementsAre("acme/Invoices/a.csv"));
  EXPECT_EQ(content_of(gateway.inbound() / "Invoices/a.csv"), plain);
  EXPECT_THAT(files_below(gateway.tree()), ElementsAre("Archive/Incoming/Invoices/a.csv.pgp"));
  EXPECT_THAT(files_below(gateway.spool()), IsEmpty());
  EXPECT_THAT(Check(*gateway.context).check().findings, IsEmpty());
}

TEST(InboundInterruptions, AtEveryCommitNothingIsLostOrDeliveredTwice) {
  const std::string sealed = message("plain");
  for (const auto when : {InterruptedStore::When::before, InterruptedStore::When::after}) {
    for (unsigned nth = 1;; ++nth) {
      SCOPED_TRACE(testing::Message()
                   << "write " << nth
                   << (when == InterruptedStore::When::after ? " after" : " before"));
      Gateway gateway;
      const std::string id = gateway.upload("Invoices", "a.csv.pgp", sealed);
      gateway.store->interrupt(nth, when);
      gateway.work();
      const bool interrupted = gateway.store->interrupted();
      gateway.restart();
      gateway.work();
      expect_delivered_once(gateway, id, "plain");
      if (!interrupted) {
        EXPECT_GT(nth, 3U);
        break;
      }
    }
  }
}

TEST(InboundInterruptions, AFileThatTheApplicationTookIsNotDeliveredAgain) {
  Gateway gateway;
  const std::string id = gateway.upload("Invoices", "a.csv.pgp", message("plain"));
  gateway.store->interrupt(2, InterruptedStore::When::before);  // published, not recorded
  gateway.work();
  ASSERT_TRUE(gateway.store->interrupted());
  ASSERT_EQ(gateway.file(id).state, FileState::decrypted);
  ASSERT_TRUE(fs::remove(gateway.inbound() / "Invoices/a.csv"));
  gateway.restart();
  gateway.work();
  EXPECT_EQ(gateway.file(id).state, FileState::archived);
  EXPECT_THAT(files_below(gateway.root() / "inbound"), IsEmpty());
}

TEST(InboundInterruptions, PlaintextThatSomebodyRemovedFromStagingIsMadeAgain) {
  Gateway gateway;
  const std::string id = gateway.upload("Invoices", "a.csv.pgp", message("content"));
  ASSERT_TRUE(gateway.pipeline->work_once());
  ASSERT_EQ(gateway.file(id).state, FileState::decrypted);
  for (const std::string& name : files_below(gateway.root() / "inbound/.staging")) {
    fs::remove(gateway.root() / "inbound/.staging" / name);
  }
  gateway.restart();
  gateway.work_and_retry();
  EXPECT_EQ(gateway.file(id).state, FileState::archived);
  EXPECT_THAT(files_below(gateway.root() / "inbound"), ElementsAre("acme/Invoices/a.csv"));
  EXPECT_EQ(content_of(gateway.inbound() / "Invoices/a.csv"), "content");
}

TEST(InboundInterruptions, AtEveryCommitAFailureIsParkedAndAnnouncedOnce) {
  const std::string sealed = message("plain", {.for_stranger = true});
  for (const auto when : {InterruptedStore::When::before, InterruptedStore::When::after}) {
    for (unsigned nth = 1; nth < 3; ++nth) {
      SCOPED_TRACE(testing::Message() << "write " << nth);
      Gateway gateway;
      const std::string id = gateway.upload("Invoices", "a.csv.pgp", sealed);
      gateway.store->interrupt(nth, when);
      gateway.work();
      gateway.restart();
      gateway.work();
      EXPECT_EQ(gateway.file(id).state, FileState::failed);
      EXPECT_THAT(files_below(gateway.tree()),
                  ElementsAre("Archive/Failed/Invoices/a.csv.pgp",
                              "Archive/Failed/Invoices/a.csv.pgp.reason.txt"));
      EXPECT_THAT(gateway.notices("file_failed"), SizeIs(2));
      EXPECT_THAT(files_below(gateway.root() / "inbound"), IsEmpty());
      EXPECT_THAT(Check(*gateway.context).check().findings, IsEmpty());
    }
  }
}

TEST(InboundInterruptions, WhatAPowerCutUndidIsDoneAgain) {
  Gateway gateway;
  const std::string id = gateway.upload("Invoices", "a.csv.pgp", message("plain"));
  gateway.work();
  // The rename into the archive came back under its old name.
  fs::rename(gateway.tree() / "Archive/Incoming/Invoices/a.csv.pgp", gateway.spool() / id);
  EXPECT_THAT(Check(*gateway.context).check().findings, SizeIs(1));
  gateway.restart();
  gateway.work();
  expect_delivered_once(gateway, id, "plain");
}

TEST(InboundCheck, WhatNobodyCanExplainIsReportedAndLeftAlone) {
  Gateway gateway;
  gateway.set_policies(R"({"signature":"optional"})");
  const std::string id = gateway.upload("Invoices", "a.csv", "1");
  gateway.work();
  write_file(gateway.spool() / "stranger", "?");
  write_file(gateway.root() / "inbound/.staging/leftover", "?");
  fs::remove(gateway.tree() / "Archive/Incoming/Invoices/a.csv");
  gateway.restart();
  gateway.work();
  const auto findings = Check(*gateway.context).check().findings;
  std::vector<std::string> kinds;
  for (const auto& finding : findings) kinds.push_back(finding.kind);
  EXPECT_THAT(kinds, testing::UnorderedElementsAre("orphan", "leftover", "missing"));
  EXPECT_TRUE(fs::exists(gateway.spool() / "stranger"));
  EXPECT_FALSE(gateway.health.good());
}

}  // namespace
}  // namespace sallyport::daemon::test

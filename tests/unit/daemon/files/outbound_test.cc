#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <thread>

#include "base/bytes.h"
#include "base/file_io.h"
#include "daemon/files/outbound_watch.h"
#include "daemon/files/retention.h"
#include "gateway.h"
#include "notify/facts.h"

namespace sallyport::daemon::test {
namespace {

using store::FileState;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Optional;
using testing::SizeIs;
using testing::UnorderedElementsAre;

/// What the partner reads of a message of ours; empty unless it is good and by our key.
std::string opened(const fs::path& sealed) {
  Keys& keys = Keys::get();
  const TemporaryDirectory directory;
  pgp::Acceptance acceptance;
  acceptance.encryption = pgp::Encryption::required;
  acceptance.signature_required = true;
  acceptance.pinned = {keys.our_key.fingerprint};
  const auto verdict =
      keys.partners->decrypt_and_verify(sealed, directory.path() / "plain", acceptance);
  EXPECT_TRUE(verdict.accepted()) << verdict.detail;
  return verdict.accepted() ? content_of(directory.path() / "plain") : "";
}

std::string give(Gateway& gateway, const std::string& object, const std::string& name,
                 std::string_view content) {
  fs::create_directories(gateway.outbound() / object);
  write_file(gateway.outbound() / object / name, content);
  const auto taken = gateway.out->take("acme", object, name);
  EXPECT_TRUE(taken);
  gateway.pipeline->offer(*taken);
  return taken->id;
}

TEST(Outbound, AFileIsSealedPlacedAndItsSourceRemoved) {
  Gateway gateway;
  const std::string id = give(gateway, "Invoices", "order.csv", "1,2,3");
  gateway.work();
  const store::File file = gateway.file(id);
  EXPECT_EQ(file.state, FileState::available);
  EXPECT_EQ(file.published_as, "/Outgoing/Invoices/order.csv.pgp");
  EXPECT_EQ(opened(gateway.tree() / "Outgoing/Invoices/order.csv.pgp"), "1,2,3");
  EXPECT_EQ(file.plain_sha256, base::to_hex(base::sha256("1,2,3")));
  EXPECT_EQ(
      file.sha256,
      base::to_hex(base::sha256(content_of(gateway.tree() / "Outgoing/Invoices/order.csv.pgp"))));
  EXPECT_THAT(files_below(gateway.root() / "outbound"), IsEmpty());
  EXPECT_THAT(files_below(gateway.root() / "partners/acme/sending"), IsEmpty());
  EXPECT_THAT(gateway.steps(id), ElementsAre("queued", "encrypted", "available"));
  struct ::stat status {};
  ASSERT_EQ(::stat((gateway.tree() / "Outgoing/Invoices/order.csv.pgp").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0660U);
}

TEST(Outbound, DownloadAndRemovalAreRecorded) {
  Gateway gateway;
  const std::string id = give(gateway, "Invoices", "order.csv", "1");
  gateway.work();
  const std::string path = "/Outgoing/Invoices/order.csv.pgp";
  gateway.journal->downloaded(gateway.peer(), path, 10, false);
  EXPECT_EQ(gateway.file(id).state, FileState::available);
  gateway.journal->downloaded(gateway.peer(), path, 10, true);
  EXPECT_EQ(gateway.file(id).state, FileState::downloaded);
  gateway.journal->deleted(gateway.peer(), path);
  EXPECT_EQ(gateway.file(id).state, FileState::collected);
  EXPECT_FALSE(gateway.file(id).next_due);
}

TEST(Outbound, TwoFilesOfOneNameBothArrive) {
  Gateway gateway;
  const std::string first = give(gateway, "Invoices", "order.csv", "1");
  const std::string second = give(gateway, "Invoices", "order.csv", "2");
  gateway.work();
  EXPECT_EQ(opened(gateway.tree() / "Outgoing/Invoices/order.csv.pgp"), "1");
  EXPECT_EQ(gateway.file(second).published_as, "/Outgoing/Invoices/order-" + second + ".csv.pgp");
  EXPECT_EQ(opened(gateway.tree() / ("Outgoing/Invoices/order-" + second + ".csv.pgp")), "2");
}

TEST(Outbound, WithoutAGoodKeyOfThePartnerAFileIsHeldAndSentLater) {
  Gateway gateway;
  auto key = gateway.real_store
                 ->read([](store::Unit& unit) { return store::partner_pgp_keys(unit, "acme"); })
                 .at(0);
  key.expires = gateway.clock.now() - base::Seconds{1};
  gateway.real_store->write(
      [&](store::Unit& unit) { ASSERT_TRUE(store::update_pgp_key(unit, key)); });
  const std::string id = give(gateway, "Invoices", "order.csv", "1");
  gateway.work_and_retry();
  EXPECT_EQ(gateway.file(id).state, FileState::held);
  EXPECT_EQ(gateway.file(id).reason_code, "recipient-expired");
  EXPECT_THAT(gateway.notices("outbound_held"), SizeIs(2)) << "announced once to each";
  EXPECT_THAT(files_below(gateway.tree()), IsEmpty());
  key.expires.reset();
  gateway.real_store->write(
      [&](store::Unit& unit) { ASSERT_TRUE(store::update_pgp_key(unit, key)); });
  gateway.work_and_retry();
  EXPECT_EQ(gateway.file(id).state, FileState::available);
  EXPECT_EQ(opened(gateway.tree() / "Outgoing/Invoices/order.csv.pgp"), "1");
}

TEST(Outbound, AKeyThatCanOnlySignIsNoneToEncryptTo) {
  Gateway gateway;
  const auto set_key = [&](const std::function<void(store::PgpKey&)>& change) {
    gateway.real_store->write([&](store::Unit& unit) {
      auto key = store::partner_pgp_keys(unit, "acme").at(0);
      change(key);
      ASSERT_TRUE(store::update_pgp_key(unit, key));
    });
  };
  set_key([](store::PgpKey& key) { key.can_encrypt = false; });
  const std::string id = give(gateway, "Invoices", "order.csv", "1");
  gateway.work();
  EXPECT_EQ(gateway.file(id).state, FileState::held);
  EXPECT_EQ(gateway.file(id).reason_code, "recipient-cannot-encrypt");
  EXPECT_THAT(gateway.notices("outbound_held"), SizeIs(2));
  EXPECT_THAT(files_below(gateway.tree()), IsEmpty());
  set_key([](store::PgpKey& key) { key.can_encrypt = true; });
  gateway.work_and_retry();
  EXPECT_EQ(gateway.file(id).state, FileState::available);
}

TEST(Outbound, PolicyCanSendAsItIs) {
  Gateway gateway;
  gateway.set_policies(R"({"outbound_encrypt":false,"outbound_sign":false})");
  give(gateway, "", "plain.txt", "text");
  gateway.work();
  EXPECT_EQ(content_of(gateway.tree() / "Outgoing/plain.txt"), "text");
}

TEST(Outbound, AtEveryCommitNothingIsLostOrSentTwice) {
  for (const auto when : {InterruptedStore::When::before, InterruptedStore::When::after}) {
    for (unsigned nth = 1;; ++nth) {
      SCOPED_TRACE(nth);
      Gateway gateway;
      const std::string id = give(gateway, "Invoices", "order.csv", "1,2");
      gateway.store->interrupt(nth, when);
      gateway.work();
      const bool interrupted = gateway.store->interrupted();
      gateway.restart();
      gateway.work();
      EXPECT_EQ(gateway.file(id).state, FileState::available);
      EXPECT_THAT(files_below(gateway.tree()), ElementsAre("Outgoing/Invoices/order.csv.pgp"));
      EXPECT_EQ(opened(gateway.tree() / "Outgoing/Invoices/order.csv.pgp"), "1,2");
      EXPECT_THAT(files_below(gateway.root() / "outbound"), IsEmpty());
      EXPECT_THAT(Check(*gateway.context).check().findings, IsEmpty());
      if (!interrupted) break;
    }
  }
}

TEST(Outbound, ASourceThatIsInTheWayOfAnInterruptionIsTakenOnce) {
  Gateway gateway;
  // The row was written, the source not yet moved.
  fs::create_directories(gateway.outbound() / "Invoices");
  write_file(gateway.outbound() / "Invoices/order.csv", "1");
  gateway.store->interrupt(1, InterruptedStore::When::after);
  EXPECT_THROW(static_cast<void>(gateway.out->take("acme", "Invoices", "order.csv")), store::Error);
  gateway.restart();
  const auto again = gateway.out->take("acme", "Invoices", "order.csv");  // the scan at start
  ASSERT_TRUE(again);
  gateway.pipeline->offer(*again);
  gateway.work();
  EXPECT_THAT(files_below(gateway.tree()), ElementsAre("Outgoing/Invoices/order.csv.pgp"));
}

TEST(Outbound, AFileThatIsStillWrittenWaits) {
  Gateway gateway;
  fs::create_directories(gateway.outbound());
  const base::UniqueFd writer =
      base::open_file(gateway.outbound() / "grows.csv", O_WRONLY | O_CREAT, 0660);
  base::write_all(writer.get(), "first ", "grows.csv");
  EXPECT_EQ(writers_of(base::open_file(gateway.outbound() / "grows.csv", O_RDONLY).get()),
            Writers::some);
  const auto taken = gateway.out->take("acme", "", "grows.csv");
  ASSERT_TRUE(taken);
  gateway.pipeline->offer(*taken);
  gateway.work();
  EXPECT_EQ(gateway.file(taken->id).state, FileState::queued);
  EXPECT_EQ(gateway.file(taken->id).reason_code, "being-written");
  base::write_all(writer.get(), "second", "grows.csv");
  const_cast<base::UniqueFd&>(writer).reset();
  gateway.work_and_retry();
  EXPECT_EQ(opened(gateway.tree() / "Outgoing/grows.csv.pgp"), "first second");
}

/// A file that has been offered to the partner, and the days after.
class OfferedTest : public testing::Test {
 protected:
  OfferedTest() {
    gateway.work();
    available = gateway.file(id).received;
  }
  [[nodiscard]] base::Instant day(int number) const {
    return available + base::Seconds{number * 86400};
  }
  void on_day(int number) {
    gateway.clock.set(day(number));
    while (retention.run_pass(gateway.clock.now())) {
    }
  }

  Gateway gateway;
  Retention retention{*gateway.context};
  const std::string id = give(gateway, "Invoices", "order.csv", "1");
  base::Instant available;
};

TEST_F(OfferedTest, RemindersThenTheBackup) {
  on_day(2);
  EXPECT_THAT(gateway.notices("outbound_not_collected"), IsEmpty());
  on_day(3);
  EXPECT_THAT(gateway.notices("outbound_not_collected"), SizeIs(1)) << "the contact alone";
  on_day(6);
  EXPECT_THAT(gateway.notices("outbound_not_collected"), SizeIs(1));
  on_day(7);
  EXPECT_THAT(gateway.notices("outbound_not_collected"), SizeIs(2));
  on_day(14);
  EXPECT_EQ(gateway.file(id).state, FileState::backed_up);
  EXPECT_THAT(gateway.notices("outbound_returned"), SizeIs(1)) << "administrators only";
  EXPECT_THAT(files_below(gateway.tree()), IsEmpty());
  EXPECT_THAT(files_below(gateway.root() / "backup"), SizeIs(1));
}

TEST_F(OfferedTest, WhatWasDownloadedAndNotDeletedIsNotCollected) {
  const auto downloads_in = [&](const std::string& kind) {
    std::vector<std::optional<base::Instant>> all;
    for (const store::Notice& notice : gateway.notices(kind)) {
      all.push_back(notify::parse_facts(notice.facts).value().file.value().downloaded_at);
    }
    return all;
  };
  on_day(3);
  on_day(4);
  gateway.journal->downloaded(gateway.peer(), "/Outgoing/Invoices/order.csv.pgp", 100, true);
  EXPECT_EQ(gateway.file(id).state, FileState::downloaded);
  on_day(7);
  EXPECT_THAT(downloads_in("outbound_not_collected"),
              UnorderedElementsAre(std::nullopt, Optional(day(4))));
  on_day(14);
  EXPECT_EQ(gateway.file(id).state, FileState::backed_up);
  EXPECT_THAT(downloads_in("outbound_returned"), ElementsAre(Optional(day(4))));
}

class WatchTest : public testing::Test {
 protected:
  void start() {
    watch = std::make_unique<OutboundWatch>(*gateway.context, *gateway.out,
                                            [this](const store::File& file) {
                                              gateway.pipeline->offer(file);
                                              const std::lock_guard lock(mutex);
                                              names.push_back(file.name);
                                              seen.notify_all();
                                            });
    watch->start();
  }
  bool wait_for(std::size_t count) {
    std::unique_lock lock(mutex);
    return seen.wait_for(lock, std::chrono::seconds{10}, [&] { return names.size() >= count; });
  }

  Gateway gateway;
  std::mutex mutex;
  std::condition_variable seen;
  std::vector<std::string> names;
  std::unique_ptr<OutboundWatch> watch;
};

TEST_F(WatchTest, TakesWhatIsThereWhatIsWrittenAndWhatIsMovedIn) {
  fs::create_directories(gateway.outbound() / "Invoices");
  write_file(gateway.outbound() / "Invoices/there.csv", "1");
  write_file(gateway.outbound() / "Invoices/.hidden", "1");
  write_file(gateway.outbound() / "Invoices/half.part", "1");
  fs::create_symlink("/etc/passwd", gateway.outbound() / "Invoices/link.csv");
  start();
  ASSERT_TRUE(wait_for(1));
  write_file(gateway.outbound() / "Invoices/written.csv", "2");
  ASSERT_TRUE(wait_for(2));
  fs::rename(gateway.outbound() / "Invoices/half.part", gateway.outbound() / "Invoices/moved.csv");
  ASSERT_TRUE(wait_for(3));
  // A directory that the policy does not know of is watched once it is seen.
  fs::create_directories(gateway.outbound() / "Extra");
  write_file(gateway.outbound() / "Extra/late.csv", "3");
  ASSERT_TRUE(wait_for(4));
  watch->stop();
  EXPECT_THAT(names, ElementsAre("there.csv", "written.csv", "moved.csv", "late.csv"));
  EXPECT_TRUE(fs::exists(gateway.outbound() / "Invoices/.hidden"));
  EXPECT_TRUE(fs::is_symlink(gateway.outbound() / "Invoices/link.csv"));
  EXPECT_FALSE(gateway.health.good()) << "the link is reported";
}

TEST_F(WatchTest, ASourceThatCannotBeReadIsReportedAndTakenOnceItCan) {
  fs::create_directories(gateway.outbound() / "Invoices");
  const fs::path source = gateway.outbound() / "Invoices/closed.csv";
  write_file(source, "1");
  ASSERT_EQ(::chmod(source.c_str(), 0), 0);
  const WithoutOverride obeying;
  start();
  write_file(gateway.outbound() / "Invoices/open.csv", "2");
  ASSERT_TRUE(wait_for(1));
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds{10};
  while (gateway.health.good() && std::chrono::steady_clock::now() < give_up)
    std::this_thread::yield();
  ASSERT_FALSE(gateway.health.good());
  EXPECT_THAT(gateway.health.list()[0].sentence, HasSubstr("closed.csv"));
  EXPECT_THAT(gateway.health.list()[0].sentence, HasSubstr("Permission denied"));
  ASSERT_EQ(::chmod(source.c_str(), 0640), 0);
  watch->rescan();
  ASSERT_TRUE(wait_for(2));
  watch->stop();
  EXPECT_THAT(names, ElementsAre("open.csv", "closed.csv"));
  EXPECT_TRUE(gateway.health.good());
}

}  // namespace
}  // namespace sallyport::daemon::test

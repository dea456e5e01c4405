// What sessions say of uploads and write into their lists, as far as no honest one would.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/error.h"
#include "daemon/files/check.h"
#include "daemon/files/intake.h"
#include "gateway.h"

namespace sallyport::daemon::test {
namespace {

using store::FileState;
using testing::IsEmpty;
using testing::SizeIs;

TEST(IntakeClaims, AnObjectThatIsNotThePartnersIsParked) {
  Gateway gateway;
  gateway.set_policies(R"({"signature":"optional"})");
  const std::string told = gateway.announce("/Incoming/Secrets/a.csv", "content");
  const std::string found = gateway.announce("/Incoming/Secrets/b.csv", "content");
  for (const std::string& id : {told, found}) write_file(gateway.spool() / id, "content");
  gateway.told(told);
  gateway.work();
  gateway.end_session();
  gateway.work();
  gateway.work();
  for (const std::string& id : {told, found}) {
    EXPECT_EQ(gateway.file(id).state, FileState::failed);
    EXPECT_EQ(gateway.file(id).reason_code, "no-such-object");
  }
  EXPECT_THAT(files_below(gateway.root() / "inbound"), IsEmpty());
  EXPECT_THAT(gateway.notices("file_failed"), testing::Not(IsEmpty()));
}

TEST(IntakeClaims, NoRowOfAnotherObjectIsTakenUp) {
  Gateway gateway;
  gateway.set_policies(R"({"signature":"optional"})");
  // A row of an object that is not the partner's, then a file under another name.
  const std::string id = gateway.announce("/Incoming/Secrets/a.csv", "content");
  gateway.told(id, false);
  gateway.work();
  EXPECT_EQ(gateway.file(id).state, FileState::aborted);
  write_file(gateway.spool() / id, "content");
  Uploaded again = gateway.announced.at(id);
  again.path = "/Incoming/a.csv";
  again.line = 2;
  gateway.journal->uploaded(gateway.peer(), gateway.session_id, again);
  gateway.work();
  EXPECT_EQ(gateway.file(id).state, FileState::aborted);
  EXPECT_THAT(files_below(gateway.root() / "inbound"), IsEmpty());
  EXPECT_THAT(Check(*gateway.context).check().findings, SizeIs(1)) << "an orphan";
}

TEST(IntakeClaims, ASessionThatSaysTooMuchIsCutOff) {
  Gateway gateway;
  const std::string first = announce(gateway, "a.csv", "x");
  Uploaded upload = gateway.announced.at(first);
  const auto until_refused = [&] {
    for (upload.line = 1; upload.line < 100000; ++upload.line) {
      upload.id = base::random_id();
      try {
        gateway.journal->uploaded(gateway.peer(), gateway.session_id, upload);
      } catch (const base::Error&) {
        break;
      }
    }
    return upload.line;
  };
  upload.in_spool = false;
  EXPECT_LT(until_refused(), 2000U) << "gave up";
  gateway.end_session();
  static_cast<void>(announce(gateway, "b.csv", "x"));
  upload.in_spool = true;
  EXPECT_LT(until_refused(), 25000U) << "far ahead of the store";
}

TEST(IntakeClaims, MoreListsThanSessionsLeaveAreLookedAtSomeAtATime) {
  Gateway gateway;
  gateway.set_policies(R"({"signature":"optional"})");
  const std::string session = base::random_id();
  const std::string hash = base::to_hex(base::sha256("x"));
  std::vector<std::string> ids;
  for (std::uint64_t part = 1; part <= 20; ++part) {
    ids.push_back(base::random_id());
    write_file(gateway.staging() / sftp::intents_name(session, part),
               "{}\n" + ids.back() + "\t1\t" + hash + "\t/Incoming/Invoices/a.csv\n");
    write_file(gateway.spool() / ids.back(), "x");
  }
  for (int i = 0; i < 2500; ++i) {
    write_file(gateway.staging() / sftp::intents_name(base::random_id(), 1), "{}\n");
  }
  fs::create_directory(gateway.staging() / sftp::intents_name(base::random_id(), 1));
  gateway.restart();
  gateway.work_and_retry(80);
  for (const std::string& id : ids) EXPECT_EQ(gateway.file(id).state, FileState::archived);
  EXPECT_THAT(files_below(gateway.staging()), IsEmpty());
}

TEST(IntakeClaims, NobodyTakesAnIdThatIsAnothers) {
  Gateway gateway;
  gateway.set_policies(R"({"signature":"optional"})");
  const std::string id = gateway.upload("Invoices", "a.csv", "content");
  gateway.work();
  const store::File before = gateway.file(id);
  ASSERT_EQ(before.state, FileState::archived);
  write_file(gateway.spool() / id, "content");
  Uploaded again = gateway.announced.at(id);
  again.line = 2;
  gateway.journal->uploaded(gateway.peer(), gateway.session_id, again);
  gateway.work();
  EXPECT_EQ(gateway.file(id), before);
}

TEST(IntakeClaims, WhatTheFrontWroteIntoAListIsAClaim) {
  Gateway gateway;
  gateway.set_policies(R"({"signature":"optional"})");
  const std::string session = base::random_id();
  const std::string good = base::random_id();
  const std::string hash = base::to_hex(base::sha256("x"));
  write_file(gateway.spool() / good, "x");
  std::string text = "no JSON\n";
  for (const std::string& line :
       {std::string("../../etc/passwd\t1\t") + hash + "\t/Incoming/a",
        base::random_id() + "\t1\t" + hash + "\t/Incoming/../a",
        base::random_id() + "\t1\t" + hash + "\t/Outgoing/a",
        base::random_id() + "\t-1\t" + hash + "\t/Incoming/a",
        base::random_id() + "\t1\t" + hash.substr(1) + "\t/Incoming/a", base::random_id() + "\t1",
        std::string(100000, 'x'), std::string("\0\xff\t\t\t", 5),
        good + "\t1\t" + hash + "\t/Incoming/Invoices/good.csv",
        good + "\t1\t" + hash + "\t/Incoming/Invoices/again.csv"}) {
    text += line + "\n";
  }
  write_file(gateway.staging() / sftp::intents_name(session, 7), text + good + "\t1\t" + hash);
  write_file(gateway.staging() / (session + ".intents.0"), text);
  write_file(gateway.staging() / (session + ".intents.x"), text);
  fs::create_symlink("/etc/passwd", gateway.staging() / sftp::intents_name(base::random_id(), 1));
  gateway.restart();
  gateway.work();
  EXPECT_EQ(gateway.file(good).name, "good.csv");
  EXPECT_EQ(gateway.file(good).uploader, R"({"claimed":true})");
  EXPECT_THAT(gateway.real_store->read(
                  [](store::Unit& unit) { return store::list_files(unit, {}, nullptr, 10); }),
              SizeIs(1));
}

TEST(IntakeClaims, AFileThatIsNotWhatWasAnnouncedIsNotReceived) {
  Gateway gateway;
  gateway.set_policies(R"({"signature":"optional"})");
  const std::string absent = announce(gateway, "a.csv", "x");
  gateway.told(absent);
  gateway.work();
  EXPECT_EQ(gateway.file(absent).state, FileState::aborted) << "nothing is there";
  EXPECT_THROW(gateway.told(absent), base::Error) << "said twice";
  const std::string longer = announce(gateway, "b.csv", "x");
  write_file(gateway.spool() / longer, "xy");
  gateway.told(longer);
  gateway.work();
  EXPECT_EQ(gateway.file(longer).reason_code, "damaged");
  const std::string folder = announce(gateway, "c.csv", "");
  fs::create_directory(gateway.spool() / folder);
  gateway.told(folder);
  gateway.work();
  EXPECT_EQ(gateway.file(folder).state, FileState::aborted);
  EXPECT_THAT(files_below(gateway.root() / "inbound"), IsEmpty());
  Uploaded bad = gateway.announced.at(absent);
  for (const char* path : {"/Incoming", "/Incoming/", "/Outgoing/a", "/Incoming/a/../b", ""}) {
    bad.path = path;
    EXPECT_THROW(gateway.journal->uploaded(gateway.peer(), gateway.session_id, bad), base::Error)
        << path;
  }
  bad.path = "/Incoming/a";
  EXPECT_THROW(gateway.journal->uploaded(gateway.peer(), base::random_id(), bad), base::Error);
  for (const std::uint64_t line : {std::uint64_t{0}, std::uint64_t{3}, std::uint64_t{5},
                                   std::uint64_t{1} << 62, ~std::uint64_t{0}}) {
    bad.line = line;
    EXPECT_THROW(gateway.journal->uploaded(gateway.peer(), gateway.session_id, bad), base::Error)
        << line;
  }
  bad.line = 4;
  gateway.end_session();
  EXPECT_THROW(gateway.journal->uploaded(gateway.peer(), gateway.session_id, bad), base::Error);
}

TEST(IntakeClaims, WhatIsInTheSpoolThoughItsSessionGaveUpIsReceived) {
  Gateway gateway;
  gateway.set_policies(R"({"signature":"optional"})");
  const std::string whole = spooled(gateway, "whole.csv", "content");
  const std::string half = announce(gateway, "half.csv", "content");
  write_file(gateway.spool() / half, "cont");
  gateway.told(whole, false);
  gateway.told(half, false);
  gateway.work();
  EXPECT_EQ(gateway.file(whole).state, FileState::archived);
  EXPECT_EQ(gateway.file(half).state, FileState::aborted);
}

}  // namespace
}  // namespace sallyport::daemon::test

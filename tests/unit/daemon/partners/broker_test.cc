// The broker server over its real socket, with a real store: what the SFTP front may claim and what
// it gets for it.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "base/file_io.h"
#include "broker_fixture.h"
#include "daemon/partners/directories.h"
#include "daemon/partners/session_id.h"
#include "daemon/partners/ssh_key.h"
#include "sftp/intents.h"
#include "store/files.h"

namespace sallyport::daemon {
namespace {

using namespace std::chrono_literals;
using test::BrokerTest;
using test::ed25519_blob;
using test::patience;
using test::report_now;
using ::testing::HasSubstr;

TEST_F(BrokerTest, AKnownKeyGetsTheDirectoryAndItsLimits) {
  auto client = session();
  base::UniqueFd directory;
  EXPECT_EQ(login(*client, by_key("acme", key_, false), &directory).outcome, Outcome::allow);
  EXPECT_FALSE(directory);  // a probe is no login
  EXPECT_TRUE(server_->sessions().empty());
  const sftp::LoginAnswer answer = login(*client, by_key("acme", key_), &directory);
  EXPECT_EQ(answer.outcome, Outcome::allow);
  EXPECT_EQ(answer.partner, "acme");
  EXPECT_EQ(answer.session_id.size(), 26U);
  EXPECT_EQ(answer.limits.quota_bytes_left, 1000U);
  ASSERT_TRUE(directory);
  for (const char* path : {"tree/Incoming/Invoices", "tree/Outgoing/Users", "staging", "spool",
                           "tree/Archive/Failed/Contracts"}) {
    struct stat status {};
    EXPECT_EQ(::fstatat(directory.get(), path, &status, 0), 0) << path;
  }
  ASSERT_EQ(server_->sessions().size(), 1U);
  EXPECT_EQ(server_->sessions()[0].address, "192.0.2.7");
}

TEST_F(BrokerTest, RefusalsLookAllTheSame) {
  config_->set(std::make_shared<const Config>([&] {
    Config config = *config_->get();
    config.gateway.never_ban = {"192.0.2.0/24"};
    return config;
  }()));
  PartnerInput input;
  input.allowed_ips = {{"198.51.100.0/24"}};
  partners_->create(caller_, "far", input);
  partners_->create(caller_, "out", {});
  const std::string line = "ssh-ed25519 " + base::to_base64(key_);
  for (const char* name : {"far", "out"}) {
    partners_->add_ssh_key(caller_, name, line, "", std::nullopt);
  }
  partners_->suspend(caller_, "out");
  auto client = session();
  for (const auto& query :
       {by_key("nobody", key_), by_key("acme", ed25519_blob('x')), by_key("far", key_),
        by_key("out", key_), by_key("acme", ""), by_password("nobody", "pw"),
        by_password("acme", "pw"), by_key("../../etc", key_), by_key("", key_)}) {
    const sftp::LoginAnswer answer = login(*client, query);
    EXPECT_EQ(answer.outcome, Outcome::deny) << query.user;
    EXPECT_EQ(answer.sentence, "");
    EXPECT_EQ(answer.delay_ms, 0U);
    EXPECT_EQ(answer.session_id, "");
  }
}

TEST_F(BrokerTest, PasswordsAloneAndTogetherWithAKey) {
  partners_->set_password(caller_, "acme", base::Secret(std::string("a long enough one")));
  auto client = session();
  EXPECT_EQ(login(*client, by_password("acme", "another long one")).outcome, Outcome::deny);
  EXPECT_EQ(login(*client, by_password("acme", "a long enough one")).outcome, Outcome::allow);

  PartnerInput both;
  both.auth = "key+password";
  partners_->update(caller_, "acme", both);
  auto second = session();
  EXPECT_EQ(login(*second, by_password("acme", "a long enough one")).outcome, Outcome::deny);
  EXPECT_EQ(login(*second, by_key("acme", key_)).outcome, Outcome::partial);
  EXPECT_EQ(login(*second, by_password("acme", "a long enough one", key_)).outcome, Outcome::allow);
}

TEST_F(BrokerTest, ShortAndTellingPasswordsAreRefused) {
  for (const char* bad : {"short", "xxacme-2026-xx", "with\ncontrol chars"}) {
    EXPECT_THROW(partners_->set_password(caller_, "acme", base::Secret(std::string(bad))),
                 ProblemError)
        << bad;
  }
}

TEST_F(BrokerTest, APartnerHasSoManyConnectionsAndNoMore) {
  auto first = logged_in();
  auto second = logged_in();
  auto third = session();
  const sftp::LoginAnswer refused = login(*third, by_key("acme", key_));
  EXPECT_EQ(refused.outcome, Outcome::refuse);
  EXPECT_THAT(refused.sentence, HasSubstr("2 at once"));
  first.reset();
  // The place is free when the daemon has seen the end.
  const auto until = std::chrono::steady_clock::now() + patience;
  while (server_->sessions().size() > 1 && std::chrono::steady_clock::now() < until)
    ::sched_yield();
  EXPECT_EQ(login(*third, by_key("acme", key_)).outcome, Outcome::allow);
}

TEST_F(BrokerTest, AnUploadIsJournalledAndRemembered) {
  auto client = logged_in();
  sftp::TakenQuery query;
  query.path = "/Incoming/Invoices/2026/a.pdf";
  EXPECT_FALSE(client->ask<sftp::TakenAnswer>(query, patience).taken);
  sftp::UploadDone done = upload_of(query.path, 12);
  done.modified = 99;
  done.line = 7;
  client->send(done);
  const auto taken = client->ask<sftp::TakenAnswer>(query, patience);
  EXPECT_TRUE(taken.taken);
  EXPECT_EQ(taken.size, 12U);
  EXPECT_EQ(taken.modified, 99);
  const std::string session = session_id_;
  // Any session of the partner sees it.
  EXPECT_TRUE(logged_in()->ask<sftp::TakenAnswer>(query, patience).taken);
  settled(*client);
  const std::lock_guard lock(journal_.mutex);
  ASSERT_THAT(journal_.uploads, testing::SizeIs(1));
  const auto& told = journal_.uploads.front();
  EXPECT_EQ(told.partner, "acme");
  EXPECT_EQ(told.session_id, session);
  EXPECT_EQ(told.upload.id, done.file_id);
  EXPECT_EQ(told.upload.path, query.path);
  EXPECT_EQ(told.upload.line, 7U);
  EXPECT_TRUE(told.upload.in_spool);
  EXPECT_THAT(journal_.began, testing::Contains("acme " + session));
}

TEST_F(BrokerTest, WhatIsNotInTheSpoolIsNotTaken) {
  auto client = logged_in();
  sftp::UploadDone done = upload_of("/Incoming/Users/a", 1);
  done.in_spool = false;
  client->send(done);
  sftp::TakenQuery query;
  query.path = done.path;
  EXPECT_FALSE(client->ask<sftp::TakenAnswer>(query, patience).taken);
  settled(*client);
  client.reset();
  server_.reset();
  ASSERT_THAT(journal_.uploads, testing::SizeIs(1));
  EXPECT_FALSE(journal_.uploads.front().upload.in_spool);
  const auto events = store_->read([](store::Unit& unit) {
    return store::list_session_events(unit, {"acme", {}, {}}, 10);
  });
  EXPECT_EQ(std::count_if(events.begin(), events.end(),
                          [](const auto& one) { return one.event == "upload"; }),
            0);
}

TEST_F(BrokerTest, ASessionThatIsToldToGoIsHeardToItsEnd) {
  auto client = logged_in();
  const std::string session = session_id_;
  server_->end_sessions("acme", "", "suspended");
  client->send(upload_of("/Incoming/Users/a", 1));
  client.reset();
  std::unique_lock lock(journal_.mutex);
  EXPECT_TRUE(journal_.changed.wait_for(lock, patience, [&] { return !journal_.ended.empty(); }));
  EXPECT_THAT(journal_.uploads, testing::SizeIs(1));
  EXPECT_THAT(journal_.ended, testing::ElementsAre(session));
}

TEST_F(BrokerTest, NamesOfTheFrontAreClaims) {
  const std::string bad[] = {"/Outgoing/a",
                             "/Incoming",
                             "/Incoming/",
                             "/Incoming/Users/../a",
                             "/Incoming/../a",
                             "/Incoming/Users/a\n",
                             "/Incoming/Users/a\t",
                             "/Incoming/Users/",
                             "/Incoming/Users/\xff",
                             "Incoming/Users/a",
                             "/Incoming/Users/x//a",
                             "",
                             "/Incoming/Users/" + std::string(256, 'a')};
  for (const std::string& path : bad) {
    auto client = logged_in();
    client->send(upload_of(path, 1));
    EXPECT_TRUE(ends(*client)) << path;
  }
  for (const char* id : {"", "..", "a/b", "abcdefghijklmnopqrstuvwxy", "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
                         "abcdefghijklmnopqrstuvwxyz2", "../../../../../../etc/passw"}) {
    auto client = logged_in();
    sftp::UploadDone done = upload_of("/Incoming/Users/a", 1);
    done.file_id = id;
    client->send(done);
    EXPECT_TRUE(ends(*client)) << id;
  }
  const std::lock_guard lock(journal_.mutex);
  EXPECT_TRUE(journal_.uploads.empty());
  EXPECT_THAT(journal_.ended, testing::Each(testing::StartsWith("cut off ")));
}

TEST_F(BrokerTest, ASessionThatTheJournalDoesNotBelieveIsCutOff) {
  auto client = logged_in();
  journal_.fail = true;
  client->send(upload_of("/Incoming/Users/a", 1));
  EXPECT_TRUE(ends(*client));
  std::unique_lock lock(journal_.mutex);
  EXPECT_TRUE(journal_.changed.wait_for(lock, patience, [&] { return !journal_.ended.empty(); }));
  EXPECT_THAT(journal_.ended, testing::ElementsAre("cut off " + session_id_));
}

TEST_F(BrokerTest, SessionsSayWhichNodeLetThemIn) {
  const std::string id = make_session_id("north");
  EXPECT_TRUE(sftp::is_id(id));
  EXPECT_TRUE(is_session_of(id, "north"));
  EXPECT_FALSE(is_session_of(id, "south"));
  EXPECT_NE(make_session_id("north"), id);
  const auto client = logged_in();
  EXPECT_TRUE(is_session_of(session_id_, node_name(*config_->get())));
}

TEST_F(BrokerTest, SuspensionEndsRunningSessions) {
  auto client = logged_in();
  partners_->suspend(caller_, "acme");
  ASSERT_TRUE(ends(*client));
  EXPECT_THAT(client->end_sentence(), HasSubstr("suspended"));
}

TEST_F(BrokerTest, RemovingAKeyEndsItsSessionsOnly) {
  partners_->set_password(caller_, "acme", base::Secret(std::string("a long enough one")));
  auto by_the_key = logged_in();
  auto by_the_password = session();
  ASSERT_EQ(login(*by_the_password, by_password("acme", "a long enough one")).outcome,
            Outcome::allow);
  partners_->remove_ssh_key(caller_, "acme", ssh_fingerprint(key_));
  EXPECT_TRUE(ends(*by_the_key));
  EXPECT_FALSE(by_the_password->ended());
}

TEST_F(BrokerTest, FailuresBanAndTheFrontIsTold) {
  sftp::BrokerClient control(config_->get()->gateway.broker_socket);
  control.send(sftp::ControlHello{});
  sftp::Received config = control.finish(0, patience);
  EXPECT_TRUE(std::holds_alternative<sftp::FrontConfig>(config.envelope.message));
  sftp::Received reset = control.finish(0, patience);
  ASSERT_TRUE(std::holds_alternative<sftp::BanUpdate>(reset.envelope.message));
  EXPECT_TRUE(std::get<sftp::BanUpdate>(reset.envelope.message).reset);

  auto client = session("203.0.113.9");
  for (int i = 0; i < 30; ++i) {  // probes do not count
    EXPECT_EQ(login(*client, by_key("acme", ed25519_blob('x'), false)).outcome, Outcome::deny);
  }
  EXPECT_TRUE(bans_->list().empty());
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(login(*client, by_key("acme", ed25519_blob('x'))).outcome, Outcome::deny);
  }
  sftp::Received told = control.finish(0, patience);
  const auto& update = std::get<sftp::BanUpdate>(told.envelope.message);
  ASSERT_EQ(update.bans.size(), 1U);
  EXPECT_EQ(update.bans[0].network, "203.0.113.9");
  EXPECT_GT(update.bans[0].until, base::to_unix(clock_.now()));
  // Even the right key is denied from there now, and it is in the store.
  EXPECT_EQ(login(*client, by_key("acme", key_)).outcome, Outcome::deny);
  const auto stored =
      store_->read([&](store::Unit& unit) { return store::list_bans(unit, clock_.now()); });
  EXPECT_EQ(stored.size(), 1U);

  EXPECT_TRUE(bans_->lift("203.0.113.9"));
  told = control.finish(0, patience);
  EXPECT_EQ(std::get<sftp::BanUpdate>(told.envelope.message).bans.at(0).until, 0);
  EXPECT_EQ(login(*client, by_key("acme", key_)).outcome, Outcome::allow);
}

TEST_F(BrokerTest, AKilledSessionLeavesAPartial) {
  auto client = logged_in();
  const auto staging = directory_ / "partners/acme/staging";
  // As a session keeps it (sftp/recovery.h).
  base::write_file_durably(staging / (session_id_ + ".1"), "half a fi", 0660);
  base::write_file_durably(staging / (session_id_ + ".names"), "1\t/Incoming/Users/half.csv\n",
                           0660);
  client.reset();
  std::unique_lock lock(journal_.mutex);
  const bool told =
      journal_.changed.wait_for(lock, patience, [&] { return !journal_.waiting.empty(); });
  lock.unlock();
  EXPECT_TRUE(told);
  EXPECT_EQ(journal_.waiting, std::vector<std::string>{"partial /Incoming/Users/half.csv"});
  EXPECT_EQ(base::read_file(directory_ / "partners/acme/tree/Incoming/Users/half.csv"),
            "half a fi");
}

TEST_F(BrokerTest, EventsReachJournalAndAudit) {
  auto client = logged_in();
  sftp::FileEvent event;
  event.kind = sftp::FileEventKind::download;
  event.path = "/Outgoing/Users/x";
  EXPECT_EQ(client->ask<sftp::Recorded>(event, patience).status, sftp::Status::ok);
  event.kind = sftp::FileEventKind::remove;
  EXPECT_EQ(client->ask<sftp::Recorded>(event, patience).status, sftp::Status::ok);
  client.reset();
  server_.reset();  // writes what is left
  EXPECT_EQ(journal_.downloads, std::vector<std::string>{"/Outgoing/Users/x"});
  EXPECT_EQ(journal_.deletions, std::vector<std::string>{"/Outgoing/Users/x"});
  const auto events = store_->read([](store::Unit& unit) {
    return store::list_session_events(unit, {"acme", {}, {}}, 10);
  });
  std::vector<std::string> names;
  for (const auto& one : events) names.push_back(one.event);
  EXPECT_THAT(names, ::testing::IsSupersetOf({"login", "download", "delete"}));
  const auto keys =
      store_->read([](store::Unit& unit) { return store::partner_ssh_keys(unit, "acme"); });
  EXPECT_TRUE(keys.at(0).last_used.has_value());
}

TEST_F(BrokerTest, WhatASessionDoesIsRecordedInItsOrder) {
  auto client = logged_in();
  std::vector<std::string> sent{""};  // the login
  sftp::FileEvent event;
  event.kind = sftp::FileEventKind::make_directory;
  for (int i = 0; i < 300; ++i) {
    event.path = "/Shared/" + std::to_string(i);
    sent.push_back(event.path);
    if (i % 7 == 5) {
      EXPECT_EQ(client->ask<sftp::Recorded>(event, patience).status, sftp::Status::ok);
    } else if (i % 3 == 0) {
      client->send(event);
    } else {
      client->report(event);
    }
  }
  client->send(sftp::SessionEnd{});
  sent.emplace_back();
  settled(*client);
  client.reset();
  server_.reset();
  EXPECT_EQ(recorded(sent.size()), sent);
}

// The daemon is held up, so that the socket of events fills.
TEST_F(BrokerTest, WhatDoesNotFitGoesAnotherWayAndKeepsItsPlace) {
  auto client = logged_in();
  const sftp::UploadDone done = upload_of("/Incoming/Invoices/a", 1);
  {
    const std::lock_guard lock(journal_.mutex);
    journal_.holds_up = true;
  }
  client->send(done);
  const int little = 8 * 1024;
  ASSERT_EQ(::setsockopt(client->fd(), SOL_SOCKET, SO_SNDBUF, &little, sizeof(little)), 0);
  std::vector<std::string> sent{"", "/Incoming/Invoices/a"};
  std::atomic<int> reported{0};
  for (int i = 0; i < 3000; ++i) sent.push_back("/Shared/" + std::to_string(i));
  std::thread session([&] {
    sftp::FileEvent event;
    event.kind = sftp::FileEventKind::make_directory;
    for (std::size_t i = 2; i < sent.size(); ++i) {
      event.path = sent[i];
      report_now(*client, event);
      ++reported;
    }
  });
  // Until nothing goes into either socket any more: the session's end of the connection holds
  // little, the socket of events much more.
  int before = 0;
  for (int unchanged = 0; unchanged < 5; std::this_thread::sleep_for(100ms)) {
    const int now = reported;
    unchanged = now > 0 && now == before ? unchanged + 1 : 0;
    before = now;
  }
  EXPECT_LT(reported, 3000);
  {
    const std::lock_guard lock(journal_.mutex);
    journal_.holds_up = false;
  }
  journal_.changed.notify_all();
  session.join();
  EXPECT_EQ(recorded(sent.size()), sent);
}

TEST_F(BrokerTest, WhatAKilledSessionHadReportedIsRecorded) {
  std::vector<std::string> sent{""};
  sftp::FileEvent event;
  event.kind = sftp::FileEventKind::upload;
  {
    auto client = logged_in();
    for (int i = 0; i < 40; ++i) {
      event.path = "/Shared/" + std::to_string(i);
      sent.push_back(event.path);
      report_now(*client, event);
    }
  }
  EXPECT_EQ(recorded(sent.size()), sent);
}

TEST_F(BrokerTest, WhatWasReportedBeforeTheDaemonStopsIsRecorded) {
  auto client = logged_in();
  std::vector<std::string> sent{""};
  sftp::FileEvent event;
  event.kind = sftp::FileEventKind::upload;
  for (int i = 0; i < 40; ++i) {
    event.path = "/Shared/" + std::to_string(i);
    sent.push_back(event.path);
    report_now(*client, event);
  }
  server_.reset();
  EXPECT_EQ(recorded(sent.size()), sent);
}

TEST_F(BrokerTest, EventsAreRecordedWithoutAnotherWord) {
  auto client = logged_in();
  sftp::FileEvent event;
  event.kind = sftp::FileEventKind::upload;
  std::vector<std::string> sent{""};
  for (const char* path : {"/Shared/first", "/Shared/second", "/Shared/third"}) {
    event.path = path;
    sent.emplace_back(path);
    report_now(*client, event);
    EXPECT_EQ(recorded(sent.size()), sent);
  }
}

TEST_F(BrokerTest, AnEndingSessionSaysWhatItHasDone) {
  auto client = logged_in();
  sftp::FileEvent event;
  event.kind = sftp::FileEventKind::partial;
  event.path = "/Incoming/Invoices/a";
  server_->end_sessions("acme", "", "This account has been suspended.");
  EXPECT_TRUE(ends(*client));
  report_now(*client, event);
  client.reset();
  EXPECT_EQ(recorded(2), (std::vector<std::string>{"", event.path}));
}

TEST_F(BrokerTest, EveryRefusedLoginIsRecordedOnce) {
  const std::string other = ed25519_blob('x');
  {
    auto offered = session();  // and hears no, and leaves
    EXPECT_EQ(login(*offered, by_key("acme", other, false)).outcome, Outcome::deny);
    offered->send(sftp::LoginFailure{"acme", "disconnected"});
    auto signed_too = session();
    EXPECT_EQ(login(*signed_too, by_key("acme", other, false)).outcome, Outcome::deny);
    EXPECT_EQ(login(*signed_too, by_password("acme", "pw")).outcome, Outcome::deny);
    signed_too->send(sftp::LoginFailure{"acme", "disconnected"});
    auto found_the_right_one = session();
    EXPECT_EQ(login(*found_the_right_one, by_key("acme", other, false)).outcome, Outcome::deny);
    EXPECT_EQ(login(*found_the_right_one, by_key("acme", key_)).outcome, Outcome::allow);
    auto forger = session();
    forger->send(sftp::LoginFailure{"acme", "bad_signature"});
    auto silent = session();
    silent->send(sftp::LoginFailure{"", "login_grace"});
    for (auto* client : {&offered, &signed_too, &forger, &silent}) {
      // Answered, if only by its end, when what came before has been seen.
      try {
        (void)login(**client, by_key("nobody", key_, false));
      } catch (const sftp::BrokerError&) {
      }
    }
  }
  server_.reset();
  const auto events =
      store_->read([](store::Unit& unit) { return store::list_session_events(unit, {}, 100); });
  std::vector<std::string> refusals;
  for (const auto& one : events) {
    if (one.event != "login_failed") continue;
    refusals.push_back(one.partner + " " + one.detail + " " + one.fingerprint);
    EXPECT_EQ(one.address, "192.0.2.7");
    EXPECT_EQ(one.banner.substr(0, 12), "SSH-2.0-Test");
  }
  EXPECT_THAT(refusals,
              ::testing::UnorderedElementsAre("acme unknown_key " + ssh_fingerprint(other),
                                              "acme no_password_set ", "acme bad_signature "));
}

TEST_F(BrokerTest, ASecondServerDoesNotTakeALiveSocket) {
  BrokerServer second(BrokerParts{*store_, *config_, clock_, health_, *bans_, journal_});
  EXPECT_THROW(second.start(), base::Error);
  EXPECT_NO_THROW(logged_in());
}

TEST_F(BrokerTest, AStaleSocketIsReplaced) {
  server_.reset();
  // A socket file that nobody listens on.
  { const base::UniqueFd listener = sftp::listen_at(config_->get()->gateway.broker_socket); }
  start_server();
  EXPECT_NO_THROW(logged_in());
}

}  // namespace
}  // namespace sallyport::daemon

// What a session process that was taken over may tell the broker: nothing that it could not do
// anyway.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <thread>
#include <vector>

#include "base/file_io.h"
#include "broker_fixture.h"
#include "daemon/partners/directories.h"
#include "store/files.h"

namespace sallyport::daemon {
namespace {

using namespace std::chrono_literals;
using test::BrokerTest;
using test::patience;

TEST_F(BrokerTest, NoSessionPassesItselfOffAsTheParent) {
  sftp::BrokerClient control(config_->get()->gateway.broker_socket);
  sftp::ControlHello real;
  real.host_keys = {{"ssh-ed25519", "SHA256:ours", "MD5:00", "ssh-ed25519 AAAA", "4 2 00", false}};
  control.send(real);
  EXPECT_TRUE(
      std::holds_alternative<sftp::FrontConfig>(control.finish(0, patience).envelope.message));
  sftp::ControlHello forged;
  forged.host_keys = {
      {"ssh-ed25519", "SHA256:mallory", "MD5:00", "ssh-ed25519 BBBB", "4 2 11", false}};
  // After a login, before one, and as the first thing that it says.
  auto in = logged_in();
  auto out = session();
  sftp::BrokerClient fresh(config_->get()->gateway.broker_socket);
  for (sftp::BrokerClient* client : {in.get(), out.get(), &fresh}) {
    client->send(forged);
    EXPECT_TRUE(ends(*client));
    ASSERT_EQ(server_->front().host_keys.size(), 1U);
    EXPECT_EQ(server_->front().host_keys[0].sha256, "SHA256:ours");
  }
  auto other = session();
  other->send(sftp::RefusalCount{"192.0.2.1", "banned", 3});
  EXPECT_TRUE(ends(*other));
  EXPECT_FALSE(control.ended());
}

TEST_F(BrokerTest, ConnectionsThatWereRefusedAreInTheAudit) {
  sftp::BrokerClient control(config_->get()->gateway.broker_socket);
  control.send(sftp::ControlHello{});
  control.send(sftp::RefusalCount{"192.0.2.1", "banned", 3});
  std::vector<store::SessionEvent> events;
  for (int i = 0; i < 500 && events.empty(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    events =
        store_->read([](store::Unit& unit) { return store::list_session_events(unit, {}, 10); });
  }
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].event, "turned_away");
  EXPECT_EQ(events[0].partner, "");
  EXPECT_EQ(events[0].address, "192.0.2.1");
  EXPECT_EQ(events[0].detail, "banned: 3 connections");
}

TEST_F(BrokerTest, ManyConnectionsWithoutALoginAreAFlood) {
  Config config = *config_->get();
  config.gateway.max_unfinished = 20;
  config.gateway.never_ban = {"192.0.2.0/24", "::1/128"};
  config_->set(std::make_shared<const Config>(std::move(config)));
  for (const auto& [network, count] : {std::pair{"198.51.100.1", 20U},
                                       {"198.51.100.2", 15U},
                                       {"192.0.2.1", 5000U},
                                       {"no address", 5000U},
                                       {"::/64", 5000U}}) {
    bans_->unfinished(network, count);
  }
  EXPECT_TRUE(bans_->list().empty());
  sftp::BrokerClient control(config_->get()->gateway.broker_socket);
  control.send(sftp::ControlHello{});
  control.send(sftp::RefusalCount{"198.51.100.2", "no_login", 6});
  for (int i = 0; i < 500 && bans_->list().empty(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  ASSERT_EQ(bans_->list().size(), 1U);
  EXPECT_EQ(bans_->list()[0].address, "198.51.100.2");
  EXPECT_EQ(bans_->list()[0].reason, "21 connections without a login within a minute");
  bans_->unfinished("2001:db8::/64", 21);
  EXPECT_TRUE(bans_->is_banned("2001:db8::7"));
  EXPECT_FALSE(bans_->is_banned("2001:db8:0:1::7"));
  // Lifted is lifted.
  EXPECT_TRUE(bans_->lift("198.51.100.2"));
  bans_->unfinished("198.51.100.2", 1);
  EXPECT_FALSE(bans_->is_banned("198.51.100.2"));
  // Of a health check that only connects nothing is to be read.
  EXPECT_EQ(
      store_->read([](store::Unit& unit) { return store::list_session_events(unit, {}, 10); }),
      std::vector<store::SessionEvent>{});
}

TEST_F(BrokerTest, TheParentMayComeBack) {
  auto first = std::make_unique<sftp::BrokerClient>(config_->get()->gateway.broker_socket);
  first->send(sftp::ControlHello{});
  static_cast<void>(first->finish(0, patience));
  first.reset();
  sftp::BrokerClient second(config_->get()->gateway.broker_socket);
  second.send(sftp::ControlHello{});
  EXPECT_TRUE(
      std::holds_alternative<sftp::FrontConfig>(second.finish(0, patience).envelope.message));
}

TEST_F(BrokerTest, ASessionHasAnAddress) {
  for (const char* address : {"", "somewhere", "192.0.2.7 port 22\nlogin failed from 198.51.100.1",
                              "192.0.2.0/24", "fe80::1%eth0"}) {
    auto client = session(address);
    EXPECT_TRUE(ends(*client)) << address;
  }
  sftp::BrokerClient silent(config_->get()->gateway.broker_socket);
  silent.send(by_key("acme", key_));
  EXPECT_TRUE(ends(silent));
}

class EventsSocketTest : public BrokerTest {
 protected:
  /// A session that has its socket of events in its own hands, and two messages behind it.
  struct Raw {
    std::unique_ptr<sftp::BrokerClient> connection;
    base::UniqueFd events;
  };
  Raw raw() {
    Raw made;
    made.connection = session();
    const std::uint32_t question = made.connection->start(by_key("acme", key_));
    for (;;) {
      pollfd entry{made.connection->fd(), POLLIN, 0};
      if (::poll(&entry, 1, std::chrono::milliseconds(patience).count()) != 1) return made;
      sftp::Received received = sftp::receive_message(made.connection->fd());
      if (received.what != sftp::Received::What::message) return made;
      if (std::holds_alternative<sftp::EventsSocket>(received.envelope.message))
        made.events = std::move(received.descriptor);
      if (received.envelope.id == question) return made;
    }
  }
  static sftp::FileEvent uploaded(std::string path, std::uint64_t after = 2) {
    sftp::FileEvent event;
    event.path = std::move(path);
    event.after = after;
    return event;
  }
};

TEST_F(EventsSocketTest, WhatIsNoEventEndsTheSession) {
  const base::UniqueFd something(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  auto message = raw();
  ASSERT_TRUE(sftp::send_message(message.events.get(), 0, sftp::SessionEnd{}));
  EXPECT_TRUE(ends(*message.connection));
  auto question = raw();
  ASSERT_TRUE(sftp::send_message(question.events.get(), 7, uploaded("/Shared/a")));
  EXPECT_TRUE(ends(*question.connection));
  auto descriptor = raw();
  ASSERT_TRUE(
      sftp::send_message(descriptor.events.get(), 0, uploaded("/Shared/a"), something.get()));
  EXPECT_TRUE(ends(*descriptor.connection));
  auto bytes = raw();
  ASSERT_EQ(::send(bytes.events.get(), "what", 4, 0), 4);
  EXPECT_TRUE(ends(*bytes.connection));
  // The others have not noticed.
  auto honest = logged_in();
  EXPECT_FALSE(honest->ended());
}

TEST_F(EventsSocketTest, AnEventWaitsForWhatWasSentBeforeIt) {
  auto peer = raw();
  ASSERT_TRUE(sftp::send_message(peer.events.get(), 0, uploaded("/Shared/second", 3)));
  ASSERT_TRUE(sftp::send_message(peer.events.get(), 0, uploaded("/Shared/third", 3)));
  std::this_thread::sleep_for(200ms);
  EXPECT_EQ(recorded(1), std::vector<std::string>{""});
  peer.connection->send(uploaded("/Shared/first"));
  EXPECT_EQ(recorded(4),
            (std::vector<std::string>{"", "/Shared/first", "/Shared/second", "/Shared/third"}));
}

TEST_F(EventsSocketTest, WithoutItTheSessionGoesOn) {
  auto peer = raw();
  ASSERT_TRUE(sftp::send_message(peer.events.get(), 0, uploaded("/Shared/first")));
  peer.events.reset();
  EXPECT_EQ(recorded(2), (std::vector<std::string>{"", "/Shared/first"}));
  peer.connection->send(uploaded("/Shared/second"));
  EXPECT_EQ(recorded(3).back(), "/Shared/second");
}

TEST_F(EventsSocketTest, NothingOfTheJournalGoesOverIt) {
  auto peer = raw();
  sftp::FileEvent event = uploaded("/Outgoing/Orders/x");
  for (const auto kind : {sftp::FileEventKind::download, sftp::FileEventKind::remove}) {
    event.kind = kind;
    ASSERT_TRUE(sftp::send_message(peer.events.get(), 0, event));
  }
  EXPECT_EQ(recorded(3).size(), 3U);
  const std::lock_guard lock(journal_.mutex);
  EXPECT_TRUE(journal_.downloads.empty());
  EXPECT_TRUE(journal_.deletions.empty());
}

TEST_F(BrokerTest, EventsAreAboutPaths) {
  auto client = logged_in();
  sftp::FileEvent event;
  event.kind = sftp::FileEventKind::download;
  for (const char* path : {"", "x", "/Outgoing/../x", "/Outgoing//x", "/a\nb", "/Outgoing/\xff"}) {
    event.path = path;
    EXPECT_EQ(client->ask<sftp::Recorded>(event, patience).status, sftp::Status::refused) << path;
  }
  event.path = "/Outgoing/x";
  event.target = "/Shared/..";
  EXPECT_EQ(client->ask<sftp::Recorded>(event, patience).status, sftp::Status::refused);
  event.target.clear();
  event.bytes = std::numeric_limits<std::uint64_t>::max();
  event.duration_ms = event.bytes;
  EXPECT_EQ(client->ask<sftp::Recorded>(event, patience).status, sftp::Status::ok);
  client.reset();
  server_.reset();  // writes what is left
  EXPECT_EQ(journal_.downloads, std::vector<std::string>{"/Outgoing/x"});
  const auto events = store_->read([](store::Unit& unit) {
    return store::list_session_events(unit, {"acme", {}, {}}, 10);
  });
  EXPECT_EQ(std::count_if(events.begin(), events.end(),
                          [](const auto& one) { return one.event == "download"; }),
            1);
}

TEST_F(BrokerTest, QuotaIsSharedBySessions) {
  auto first = logged_in();
  auto second = logged_in();
  EXPECT_EQ(first->ask<sftp::UsageAnswer>(sftp::UsageReport{600, 1}, patience).bytes_left, 400U);
  EXPECT_EQ(second->ask<sftp::UsageAnswer>(sftp::UsageReport{500, 1}, patience).bytes_left, 0U);
  EXPECT_EQ(first->ask<sftp::UsageAnswer>(sftp::UsageReport{-600, -1}, patience).bytes_left, 500U);
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  for (int i = 0; i < 3; ++i) {
    const auto left = first->ask<sftp::UsageAnswer>(sftp::UsageReport{most, most}, patience);
    EXPECT_EQ(left.bytes_left, 0U);
  }
}

TEST_F(BrokerTest, WhatASessionHoldsIsAskedForAndForgottenWithIt) {
  auto first = logged_in();
  auto second = logged_in();
  const auto asked = [](sftp::BrokerClient& client, std::uint32_t before) {
    pollfd socket{client.fd(), POLLIN, 0};
    const auto until = std::chrono::steady_clock::now() + patience;
    while (!client.ended() && client.usage_query() == before &&
           std::chrono::steady_clock::now() < until)
      (void)::poll(&socket, 1, 100);
    return client.usage_query();
  };
  const auto holds = [](sftp::BrokerClient& client, std::uint64_t bytes, std::uint32_t answers) {
    sftp::UsageReport report;
    report.held = {{1, 1, bytes}};
    report.answers = answers;
    return client.ask<sftp::UsageAnswer>(report, patience);
  };
  // The disk was asked when the first came, which alone was there.
  EXPECT_EQ(holds(*first, 0, asked(*first, 0)).bytes_left, 1000U);
  EXPECT_EQ(holds(*second, 0, 0).bytes_left, 1000U);
  sftp::UsageReport freed;
  freed.bytes = -100;
  freed.freed_bytes = 100;
  freed.answers = first->usage_query();
  const auto answer = first->ask<sftp::UsageAnswer>(freed, patience);
  EXPECT_EQ(answer.bytes_left, 900U) << "until the other has said whether it has it open";
  EXPECT_TRUE(answer.settles);
  const std::uint32_t query = asked(*second, 0);
  EXPECT_EQ(query, 1U);
  // More of them wait until this one is answered, or they would fill the socket.
  for (int i = 0; i < 1000; ++i) (void)first->ask<sftp::UsageAnswer>(freed, patience);
  EXPECT_FALSE(second->ended());
  EXPECT_EQ(second->usage_query(), query);
  EXPECT_TRUE(holds(*second, 300, query).settles) << "what was freed since is asked for now";
  EXPECT_EQ(asked(*second, query), query + 1);
  EXPECT_TRUE(holds(*second, 300, query).settles) << "an answer to what was asked before";
  EXPECT_EQ(holds(*second, std::numeric_limits<std::uint64_t>::max(), query + 1).bytes_left, 0U);
  EXPECT_EQ(holds(*second, 300, asked(*second, 0)).bytes_left, 700U);
  const auto left = [&first] {
    return first->ask<sftp::UsageAnswer>(sftp::UsageReport{}, patience).bytes_left;
  };
  EXPECT_EQ(left(), 700U);
  second.reset();
  const auto until = std::chrono::steady_clock::now() + patience;
  while (left() != 1000U && std::chrono::steady_clock::now() < until) std::this_thread::yield();
  EXPECT_EQ(left(), 1000U);
}

TEST_F(BrokerTest, NoFolderIsTooDeepForTheQuota) {
  const auto config = config_->get();
  std::filesystem::path deep = directory_ / "partners/acme/tree/Incoming/Users";
  for (int i = 0; i < 200; ++i) deep /= "d";
  std::filesystem::create_directories(deep);
  base::write_file_durably(deep / "hidden", std::string(700, 'x'));
  EXPECT_EQ(measure_usage(*config, "acme").bytes, 700U);
  EXPECT_EQ(measure_usage(*config, "acme").files, 201U) << "a folder takes as much as a file";
  base::write_file_durably(directory_ / "partners/acme/tree/Outgoing/Users/ours", "for them");
  EXPECT_EQ(measure_usage(*config, "acme").files, 201U) << "what we put there is ours";
  // Deeper than a path can be long: renamed there, folder by folder.
  const std::string name(200, 'n');
  std::filesystem::path top = directory_ / "partners/acme/tree/Incoming/Invoices";
  for (int round = 0; round < 3; ++round) {
    std::filesystem::path folder = directory_ / "partners/acme/staging/next";
    for (int i = 0; i < 10; ++i) folder /= name;
    std::filesystem::create_directories(folder);
    if (round > 0) std::filesystem::rename(top / "next", folder / "next");
    std::filesystem::rename(directory_ / "partners/acme/staging/next", top / "next");
  }
  EXPECT_GT(measure_usage(*config, "acme").bytes, std::uint64_t{1} << 60);
  auto client = logged_in();
  EXPECT_EQ(client->ask<sftp::UsageAnswer>(sftp::UsageReport{}, patience).bytes_left, 0U);
}

TEST_F(BrokerTest, WhatComesBeforeTheLoginEndsTheConnection) {
  for (const sftp::Message& early :
       {sftp::Message(sftp::UploadDone{}), sftp::Message(sftp::FileEvent{}),
        sftp::Message(sftp::UsageReport{}), sftp::Message(sftp::TakenQuery{}),
        sftp::Message(sftp::LoginAnswer{})}) {
    auto client = session();
    client->send(early);
    EXPECT_TRUE(ends(*client));
  }
}

}  // namespace
}  // namespace sallyport::daemon

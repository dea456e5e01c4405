#include <gmock/gmock.h>

#include "broker_fixture.h"

namespace sallyport::daemon {
namespace {

using namespace test;

// Another node is a store that changes without a word to this one.
class SharedStoreTest : public BrokerTest {
 protected:
  void SetUp() override {
    BrokerTest::SetUp();
    server_.reset();
    Config config = *config_->get();
    config.store.shared = true;
    config.partner.connections = 10;
    config_->set(std::make_shared<const Config>(std::move(config)));
    start_server();
  }
  void set_active(bool active) {
    store_->write([&](store::Unit& unit) {
      store::Partner partner = *store::find_partner(unit, "acme");
      partner.active = active;
      ASSERT_TRUE(store::update_partner(unit, partner));
    });
  }
};

TEST_F(SharedStoreTest, SessionsEndThatAnotherNodeHasNoPlaceFor) {
  auto first = logged_in();
  auto second = logged_in();
  set_active(false);
  EXPECT_TRUE(ends(*first));
  EXPECT_TRUE(ends(*second));
  EXPECT_EQ(first->end_sentence(), "This account has been suspended.");
  set_active(true);
  auto third = logged_in();
  store_->write([](store::Unit& unit) {
    const auto keys = store::partner_ssh_keys(unit, "acme");
    ASSERT_EQ(keys.size(), 1U);
    ASSERT_TRUE(store::delete_ssh_key(unit, keys.front().id));
  });
  EXPECT_TRUE(ends(*third));
  EXPECT_EQ(third->end_sentence(), "The key of this session has been removed.");
}

TEST_F(SharedStoreTest, BansOfAnotherNodeHoldHereAndAreLiftedHere) {
  sftp::BrokerClient control(config_->get()->gateway.broker_socket);
  control.send(sftp::ControlHello{});
  for (int i = 0; i < 2; ++i) (void)control.finish(0, patience);
  const auto next = [&control] {
    const sftp::Received received = control.finish(0, patience);
    const auto* update = std::get_if<sftp::BanUpdate>(&received.envelope.message);
    return update != nullptr && update->bans.size() == 1 ? update->bans.front() : sftp::Ban{};
  };
  const base::Instant now = clock_.now();
  store_->write([now](store::Unit& unit) {
    store::put_ban(unit, {"203.0.113.9", "elsewhere", now, now + std::chrono::hours{1}});
  });
  const sftp::Ban banned = next();
  EXPECT_EQ(banned.network, "203.0.113.9");
  EXPECT_GT(banned.until, 0);
  EXPECT_TRUE(bans_->is_banned("203.0.113.9"));
  bans_->add("198.51.100.1", "here", now + std::chrono::hours{1});
  EXPECT_EQ(next().network, "198.51.100.1");
  store_->write([](store::Unit& unit) { ASSERT_TRUE(store::delete_ban(unit, "203.0.113.9")); });
  const sftp::Ban lifted = next();
  EXPECT_EQ(lifted.network, "203.0.113.9");
  EXPECT_EQ(lifted.until, 0);
  EXPECT_FALSE(bans_->is_banned("203.0.113.9"));
  EXPECT_TRUE(bans_->is_banned("198.51.100.1"));
}

TEST_F(BrokerTest, SessionsEndThatWouldNotBeLetInAnyMore) {
  PartnerInput input;
  input.auth = "any";
  partners_->update(caller_, "acme", input);
  partners_->set_password(caller_, "acme", base::Secret("correct horse battery"));
  auto by_word = session();
  ASSERT_EQ(login(*by_word, by_password("acme", "correct horse battery")).outcome, Outcome::allow);
  auto by_its_key = logged_in();
  partners_->set_password(caller_, "acme", base::Secret("another horse battery"));
  EXPECT_TRUE(ends(*by_word));
  EXPECT_FALSE(by_its_key->ended()) << "which is as good as it was";
  input.allowed_ips = {"198.51.100.0/24"};
  partners_->update(caller_, "acme", input);
  EXPECT_TRUE(ends(*by_its_key));
  EXPECT_THAT(by_its_key->end_sentence(), testing::HasSubstr("has been changed"));
}

TEST_F(BrokerTest, AProcessThatDoesNotLeaveIsEndedByItsParent) {
  sftp::BrokerClient control(config_->get()->gateway.broker_socket);
  control.send(sftp::ControlHello{});
  for (int i = 0; i < 2; ++i) (void)control.finish(0, patience);
  auto stays = logged_in();
  auto goes = logged_in();
  server_->end_sessions("acme", "", "This account has been suspended.");
  goes.reset();
  for (int i = 0; i < 3; ++i) {  // told to go, told to go, and gone
    const sftp::Received received = control.finish(0, patience);
    const auto* end = std::get_if<sftp::EndProcess>(&received.envelope.message);
    ASSERT_NE(end, nullptr);
    EXPECT_EQ(end->process, static_cast<std::uint32_t>(::getpid()));
  }
}

TEST_F(BrokerTest, ABanDoesNotTellWhatIsRight) {
  auto client = session();
  bans_->add("192.0.2.7", "a test", clock_.now() + std::chrono::hours{1});
  EXPECT_EQ(login(*client, by_key("acme", key_)).outcome, Outcome::deny);
  EXPECT_EQ(login(*client, by_key("acme", ed25519_blob('x'))).outcome, Outcome::deny);
  client.reset();
  server_.reset();  // writes what is left
  const auto events = store_->read([](store::Unit& unit) {
    return store::list_session_events(unit, {"acme", {}, {}}, 10);
  });
  ASSERT_EQ(events.size(), 2U);
  for (const auto& event : events) EXPECT_EQ(event.detail, "banned");
}

TEST_F(BrokerTest, ALoginIsGivenUpOnce) {
  auto client = session();
  client->send(sftp::LoginFailure{"acme", "bad_signature"});
  client->send(sftp::LoginFailure{"acme", "bad_signature"});
  EXPECT_TRUE(ends(*client));
}

}  // namespace
}  // namespace sallyport::daemon

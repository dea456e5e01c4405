#include "daemon/verify/verifier.h"

#include <gtest/gtest.h>

#include <map>

#include "daemon/http/json.h"
#include "daemon/verify/verification.h"
#include "tests/unit/daemon/verify/sample.h"

namespace sallyport::daemon {
namespace {

using test::sample_key;
using test::sample_value;
using test::start_time;

struct Answer {
  int status = 0;
  std::map<std::string, std::string> headers;
  std::string body;
};

class VerifierTest : public ::testing::Test {
 protected:
  VerifierTest() {
    store::Token token;
    token.id = "t1";
    token.kind = store::TokenKind::gateway;
    token.sha256 = base::sha256("gateway-secret");
    token.created = start_time;
    token.expires = start_time + base::one_day;
    store::Token access = token;
    access.id = "t2";
    access.kind = store::TokenKind::access;
    access.sha256 = base::sha256("access-secret");
    store_->write([&](store::Unit& unit) {
      store::insert_token(unit, token);
      store::insert_token(unit, access);
    });
    auto key = sample_key("key1", "ERP");
    key.contact = store::Contact{"Zoë", "O'Neil\r\nX-Evil: 1", "zoe", "zoe@example.com"};
    add(key, "value1");
    auto narrow = sample_key("narrow");
    narrow.allowed_ips = {"198.51.100.0/24"};
    narrow.denied_ips = {"198.51.100.7"};
    add(narrow, "narrow-value");
    options_.trusted_proxies = {*IpRange::from("10.0.0.0/8")};
    verification_ = std::make_unique<Verification>(options_, *store_, clock_, waker_, health_);
    verification_->start();
    tcp_.address = "192.0.2.1";
    proxy_.address = "10.0.0.2";
    socket_.listener = Listener::verify_socket;
  }

  void add(const store::ApiKey& key, const std::string& value) { test::insert(store_, key, value); }

  Answer ask(const Peer& peer, std::vector<HeaderView> headers, std::string_view target = "/verify",
             std::string_view method = "GET", std::string_view body = "") {
    std::string head;
    Answer answer;
    answer.status = verification_->handler().answer({method, target, headers, body, peer, 0}, head,
                                                    answer.body);
    while (!head.empty()) {
      const auto end = head.find("\r\n");
      const std::string line = head.substr(0, end);
      head.erase(0, end + 2);
      const auto colon = line.find(": ");
      EXPECT_NE(colon, std::string::npos) << line;
      EXPECT_TRUE(answer.headers.emplace(line.substr(0, colon), line.substr(colon + 2)).second)
          << line << " comes twice";
    }
    return answer;
  }
  std::string reason(const Peer& peer, std::vector<HeaderView> headers,
                     std::string_view target = "/verify") {
    Answer answer = ask(peer, std::move(headers), target);
    return fmt::format("{} {}", answer.status, answer.headers["X-Deny-Reason"]);
  }
  std::optional<store::ApiKey> stored(const std::string& id) {
    verification_->usage().flush();
    return store_->read([&](store::Unit& unit) { return store::find_key(unit, id); });
  }

  test::SampleStore store_;
  base::ManualClock clock_{start_time};
  NoWaker waker_;
  Health health_{clock_};
  VerificationOptions options_;
  std::unique_ptr<Verification> verification_;
  Peer tcp_, proxy_, socket_;
};

TEST_F(VerifierTest, AdmitsAKnownKeyAndSaysWhoItIs) {
  Answer answer = ask(socket_, {{"X-API-Key", "value1"}});
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.headers["X-Key-Id"], "key1");
  EXPECT_EQ(answer.headers["X-Key-Name"], "ERP");
  EXPECT_EQ(answer.headers["X-Key-Privileges"], "SEARCH_API/LOGICAL_INDEX/VIEW");
  EXPECT_EQ(answer.headers["X-Key-Contact"], "Zo%C3%AB O'Neil%0D%0AX-Evil: 1");
  EXPECT_EQ(answer.headers.count("X-Evil"), 0U);
  EXPECT_EQ(answer.headers.count("X-Deny-Reason"), 0U);
}

TEST_F(VerifierTest, AKeyWithoutAContactSaysSo) {
  const Answer answer =
      ask(socket_, {{"X-API-Key", "narrow-value"}, {"X-Forwarded-For", "198.51.100.1"}});
  ASSERT_EQ(answer.headers.count("X-Key-Contact"), 1U);
  EXPECT_EQ(answer.headers.at("X-Key-Contact"), "");
}

TEST_F(VerifierTest, TakesTheKeyFromThreePlaces) {
  EXPECT_EQ(ask(socket_, {{"x-coupa-api-key", "value1"}}).status, 200);
  EXPECT_EQ(ask(socket_, {{"authorization", "bearer value1"}}).status, 200);
  EXPECT_EQ(ask(socket_, {{"Authorization", "Bearer   value1"}}).status, 200);
  EXPECT_EQ(ask(socket_, {{"X-API-KEY", "value1"}, {"Authorization", "Bearer value1"}}).status,
            200);
  EXPECT_EQ(ask(socket_, {{"X-API-Key", "value1"}, {"Authorization", "Basic abc"}}).status, 200);
}

TEST_F(VerifierTest, TwoDifferentKeysAreRefusedWhateverTheyAre) {
  EXPECT_EQ(reason(socket_, {{"X-API-Key", "value1"}, {"Authorization", "Bearer narrow-value"}}),
            "401 two-keys");
  EXPECT_EQ(reason(socket_, {{"X-API-Key", "value1"}, {"X-API-Key", "nonsense"}}), "401 two-keys");
  EXPECT_EQ(reason(socket_,
                   {{"X-API-Key", "value1"}, {"X-API-Key", "other"}, {"X-COUPA-API-KEY", "other"}}),
            "401 two-keys");
}

TEST_F(VerifierTest, DenialsLookTheSameOutside) {
  auto revoked = sample_key("gone");
  revoked.state = store::KeyState::revoked;
  verification_->keys().key_changed(revoked, {sample_value(revoked, "gone-value")});
  std::string challenge;
  for (const char* key : {"", "unknown", "gone-value", "narrow-value"}) {
    std::vector<HeaderView> headers;
    if (*key != '\0') headers.push_back({"X-API-Key", key});
    Answer answer = ask(socket_, headers);
    EXPECT_EQ(answer.status, 401) << key;
    EXPECT_TRUE(answer.body.empty());
    answer.headers.erase("X-Deny-Reason");
    ASSERT_EQ(answer.headers.size(), 1U) << key;
    if (challenge.empty()) challenge = answer.headers["WWW-Authenticate"];
    EXPECT_EQ(answer.headers["WWW-Authenticate"], challenge);
  }
  EXPECT_FALSE(challenge.empty());
  EXPECT_EQ(reason(socket_, {}), "401 no-key");
  EXPECT_EQ(reason(socket_, {{"X-API-Key", "unknown"}}), "401 unknown-key");
  EXPECT_EQ(reason(socket_, {{"X-API-Key", "gone-value"}}), "401 revoked");
  EXPECT_EQ(reason(socket_, {{"X-API-Key", "narrow-value"}}), "401 address-unknown");
}

TEST_F(VerifierTest, RequiresEveryPrivilegeThatIsAsked) {
  const std::vector<HeaderView> key = {{"X-API-Key", "value1"}};
  EXPECT_EQ(reason(socket_, key, "/verify?require=SEARCH_API/LOGICAL_INDEX"), "200 ");
  EXPECT_EQ(reason(socket_, key, "/verify?require=SEARCH_API/LOGICAL_INDEX/VIEW@x"), "200 ");
  EXPECT_EQ(reason(socket_, key, "/verify?require=SEARCH_API%2FLOGICAL_INDEX%2FVIEW"), "200 ");
  EXPECT_EQ(reason(socket_, key, "/verify?require=SEARCH_API/LOGICAL_INDEX/EDIT"),
            "403 missing-privilege");
  EXPECT_EQ(
      reason(socket_, key, "/verify/a/b?require=SEARCH_API/LOGICAL_INDEX&require=SEARCH_API/OTHER"),
      "403 missing-privilege");
  EXPECT_EQ(reason(socket_, key, "/verify?require=nonsense"), "403 malformed-require");
  EXPECT_EQ(reason(socket_, key, "/verify?require="), "403 malformed-require");
  EXPECT_EQ(reason(socket_, key, "/verify?require=invoices:create"), "403 missing-privilege");
  EXPECT_EQ(reason(socket_, {{"X-API-Key", "unknown"}}, "/verify?require=nonsense"),
            "401 unknown-key");
}

TEST_F(VerifierTest, OnlyGatewaysMayAskOverTcp) {
  const HeaderView key{"X-API-Key", "value1"};
  EXPECT_EQ(reason(tcp_, {key}), "401 not-a-gateway");
  EXPECT_EQ(reason(tcp_, {key, {"X-Gateway-Token", "wrong"}}), "401 not-a-gateway");
  EXPECT_EQ(reason(tcp_, {key, {"X-Gateway-Token", "access-secret"}}), "401 not-a-gateway");
  EXPECT_EQ(reason(tcp_, {key, {"X-Gateway-Token", "gateway-secret"}}), "200 ");
  EXPECT_EQ(reason(proxy_, {key}), "200 ");
  Peer certified = tcp_;
  certified.client_certificate = "/CN=gateway";
  EXPECT_EQ(reason(certified, {key}), "200 ");
  clock_.advance(base::one_day);
  EXPECT_EQ(reason(tcp_, {key, {"X-Gateway-Token", "gateway-secret"}}), "401 not-a-gateway");
}

TEST_F(VerifierTest, ARevokedGatewayTokenIsRefusedOnTheNextCall) {
  const std::vector<HeaderView> headers = {{"X-API-Key", "value1"},
                                           {"X-Gateway-Token", "gateway-secret"}};
  EXPECT_EQ(reason(tcp_, headers), "200 ");
  store_->write([](store::Unit& unit) {
    for (store::Token token : store::list_tokens(unit)) {
      token.revoked = start_time;
      EXPECT_TRUE(store::update_token(unit, token));
    }
  });
  verification_->access_changed();
  EXPECT_EQ(reason(tcp_, headers), "401 not-a-gateway");
}

TEST_F(VerifierTest, BelievesForwardedAddressesOfTrustedPeersOnly) {
  const HeaderView key{"X-API-Key", "narrow-value"};
  const HeaderView token{"X-Gateway-Token", "gateway-secret"};
  EXPECT_EQ(reason(socket_, {key, {"X-Forwarded-For", "198.51.100.8"}}), "200 ");
  EXPECT_EQ(reason(socket_, {key, {"X-Forwarded-For", "198.51.100.7"}}), "401 address-denied");
  EXPECT_EQ(reason(socket_, {key, {"X-Forwarded-For", "198.51.100.8, 203.0.113.9"}}),
            "401 address-not-allowed");
  EXPECT_EQ(reason(socket_, {key, {"X-Forwarded-For", "198.51.100.8, 10.1.1.1"}}), "200 ");
  EXPECT_EQ(reason(proxy_, {key, {"X-Forwarded-For", "198.51.100.8"}}), "200 ");
  EXPECT_EQ(reason(proxy_, {key}), "401 address-unknown");
  EXPECT_EQ(reason(tcp_, {key, token, {"X-Forwarded-For", "198.51.100.8"}}),
            "401 address-not-allowed")
      << "a gateway token does not make a trusted proxy";
  Peer inside = tcp_;
  inside.address = "198.51.100.8";
  EXPECT_EQ(reason(inside, {key, token, {"X-Forwarded-For", "203.0.113.9"}}), "200 ");
  std::vector<HeaderView> many = {key};
  for (int i = 0; i < 20; ++i) many.push_back({"X-Forwarded-For", "198.51.100.8"});
  EXPECT_EQ(reason(socket_, many), "401 address-unknown");
}

TEST_F(VerifierTest, RemembersEveryAttemptOnAKnownKey) {
  clock_.advance(base::Seconds{5});
  EXPECT_EQ(reason(socket_, {{"X-API-Key", "narrow-value"}}), "401 address-unknown");
  EXPECT_EQ(reason(socket_, {{"X-API-Key", "value1"}}), "200 ");
  clock_.advance(base::Seconds{5});
  EXPECT_EQ(reason(socket_, {{"X-API-Key", "value1"}}, "/verify?require=A/B"),
            "403 missing-privilege");
  EXPECT_EQ(stored("narrow")->last_used, start_time + base::Seconds{5});
  EXPECT_EQ(stored("narrow")->last_allowed, std::nullopt);
  EXPECT_EQ(stored("key1")->last_used, start_time + base::Seconds{10});
  EXPECT_EQ(stored("key1")->last_allowed, start_time + base::Seconds{5});
}

TEST_F(VerifierTest, UsageIsDueTenSecondsAfterTheFirstUse) {
  UsageBuffer& usage = verification_->usage();
  EXPECT_EQ(usage.earliest(), std::nullopt);
  clock_.advance(base::Seconds{100});
  EXPECT_EQ(reason(socket_, {{"X-API-Key", "value1"}}), "200 ");
  EXPECT_EQ(usage.earliest(), start_time + base::Seconds{110});
  usage.run_pass(clock_.now());
  EXPECT_EQ(usage.earliest(), std::nullopt);
}

TEST_F(VerifierTest, Introspects) {
  const auto introspect = [&](std::string_view body, const Peer& peer) {
    Answer answer = ask(peer, {}, "/introspect", "POST", body);
    return fmt::format("{} {}", answer.status, answer.body);
  };
  const Answer answer = ask(socket_, {}, "/introspect", "POST", "token=value1");
  EXPECT_EQ(answer.status, 200);
  const Json json = parse_json(answer.body);
  EXPECT_EQ(json["active"], Json(true));
  EXPECT_EQ(json["sub"], Json("key1"));
  EXPECT_EQ(json["scope"], Json("SEARCH_API/LOGICAL_INDEX/VIEW"));
  const std::string inactive = R"(200 {"active":false})";
  EXPECT_EQ(introspect("token=nope", socket_), inactive);
  EXPECT_EQ(introspect("token=narrow-value", socket_), inactive);
  EXPECT_EQ(introspect("token=narrow-value&client_ip=203.0.113.1", socket_), inactive);
  EXPECT_EQ(introspect("token=value1&require=A/B", socket_), inactive);
  EXPECT_EQ(introspect("token=value1&require=x", socket_), inactive);
  EXPECT_NE(introspect("token=narrow-value&client_ip=198.51.100.9", socket_), inactive);
  EXPECT_EQ(introspect("x=1", socket_).substr(0, 3), "400");
  EXPECT_EQ(introspect("token=value1", tcp_).substr(0, 3), "401");
  EXPECT_EQ(ask(socket_, {}, "/introspect").status, 405);
  EXPECT_EQ(stored("key1")->last_used, std::nullopt) << "introspection is no use";
}

TEST_F(VerifierTest, NothingIsAdmittedBeforeTheKeysAreLoaded) {
  Verification fresh(options_, *store_, clock_, waker_, health_);
  std::string headers;
  std::string body;
  const std::vector<HeaderView> key = {{"X-API-Key", "value1"}};
  EXPECT_EQ(fresh.handler().answer({"GET", "/verify", key, "", socket_, 0}, headers, body), 401);
}

TEST_F(VerifierTest, ANodeThatHearsNothingDeniesAfterItsLimit) {
  VerificationTable table(ProfileRules{}, clock_);
  GatewayTokens tokens;
  UsageBuffer usage({}, *store_, clock_, waker_);
  Freshness freshness;
  freshness.limit(base::Seconds{900});
  freshness.heard(clock_.monotonic());
  Verifier verifier(table, tokens, usage, freshness, clock_, {});
  const auto key = sample_key("k");
  table.key_changed(key, {sample_value(key, "v")});
  const std::vector<HeaderView> headers = {{"X-API-Key", "v"}};
  const auto status = [&] {
    std::string head;
    std::string body;
    return verifier.answer({"GET", "/verify", headers, "", socket_, 0}, head, body);
  };
  EXPECT_EQ(status(), 200);
  clock_.advance(base::Seconds{900});
  EXPECT_EQ(status(), 200);
  clock_.advance(base::Seconds{1});
  EXPECT_EQ(status(), 401);
  freshness.heard(clock_.monotonic());
  EXPECT_EQ(status(), 200);
}

}  // namespace
}  // namespace sallyport::daemon

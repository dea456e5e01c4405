// What is asked of bans and policies over the management API, and what comes of it.
#include "daemon/partners/partner_routes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "broker_fixture.h"

namespace sallyport::daemon {
namespace {

using ::testing::HasSubstr;

class PartnerRoutesTest : public test::BrokerTest {
 protected:
  void SetUp() override {
    test::BrokerTest::SetUp();
    add_partner_routes(router_, *partners_);
    add_ban_routes(router_, *bans_, clock_);
  }

  Response call(Method method, std::string path, const Json& body, Fields query = {}) {
    Request request;
    request.method = method;
    request.path = std::move(path);
    request.query = std::move(query);
    request.headers.emplace_back("content-type", "application/json");
    request.body = body.dump();
    request.peer.listener = Listener::admin_socket;
    request.caller = caller_;
    return router_.handle(request);
  }
  Response ban(const char* address) {
    return call(Method::post, "/admin/bans", Json::object({{"address", address}}));
  }
  Response lift(const char* address) {
    return call(Method::delete_, "/admin/bans", Json::object(), {{"address", address}});
  }
  Response set_policies(std::string_view json) {
    return call(Method::put, "/rest/organizations/acme/partners/acme",
                Json::object({{"policies", parse_json(json)}}));
  }

  Router router_{"acme"};
};

TEST_F(PartnerRoutesTest, AnAddressIsBannedAsTheNetworkThatIsLookedFor) {
  EXPECT_EQ(ban("2001:db8::1").status, 204);
  EXPECT_EQ(ban("192.0.2.9/32").status, 204);
  EXPECT_TRUE(bans_->is_banned("2001:db8::1"));
  EXPECT_TRUE(bans_->is_banned("2001:db8::2"));
  EXPECT_FALSE(bans_->is_banned("2001:db8:0:1::1"));
  EXPECT_TRUE(bans_->is_banned("192.0.2.9"));
  ASSERT_EQ(bans_->list().size(), 2U);
  EXPECT_EQ(bans_->list()[1].address, "2001:db8::/64");

  EXPECT_EQ(lift("2001:db8::7").status, 204);
  EXPECT_EQ(lift("192.0.2.9").status, 204);
  EXPECT_FALSE(bans_->is_banned("2001:db8::1"));
  EXPECT_FALSE(bans_->is_banned("192.0.2.9"));
  EXPECT_EQ(lift("192.0.2.9").status, 404);
}

TEST_F(PartnerRoutesTest, WhatNoBanWouldBeFoundForIsRefused) {
  for (const char* bad : {"127.0.0.0/8", "2001:db8::/32", "2001:db8::1/128", "nonsense", ""}) {
    for (const Response& answer : {ban(bad), lift(bad)}) {
      EXPECT_EQ(answer.status, 400) << bad;
      EXPECT_THAT(answer.body, HasSubstr("write an IPv4 address such as 192.0.2.7")) << bad;
    }
  }
  EXPECT_TRUE(bans_->list().empty());
}

TEST_F(PartnerRoutesTest, WhatASessionReadsOnceIsRefusedForAnObject) {
  const Response answer = set_policies(R"({"per_object":{"Users":{"max_file_bytes":10}}})");
  EXPECT_EQ(answer.status, 400);
  EXPECT_THAT(answer.body, HasSubstr("Users: max_file_bytes is read once for a whole session: set "
                                     "it for the partner, not for an object."));
  EXPECT_EQ(partners_->get("acme").partner.policies, "");
  EXPECT_EQ(set_policies(R"({"max_file_bytes":10})").status, 200);
  EXPECT_EQ(set_policies(R"({"per_object":{"Users":{"encryption":"required"}}})").status, 200);
}

}  // namespace
}  // namespace sallyport::daemon

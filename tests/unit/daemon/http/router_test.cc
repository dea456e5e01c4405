#include "daemon/http/router.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <stdexcept>

#include "store/error.h"

namespace sallyport::daemon {
namespace {

class RouterTest : public ::testing::Test {
 protected:
  RouterTest() {
    const auto echo = [](std::string text) {
      return [text](const Request&, const Params& params) {
        return text_response(200, text + params["id"]);
      };
    };
    router_.add(Method::get, "/rest/organizations/{org}/things/{id}",
                Access::privilege("PLATFORM/THING/VIEW"), echo("one:"));
    router_.add(Method::put, "/rest/organizations/{org}/things/{id}",
                Access::privilege("PLATFORM/THING/EDIT"), echo("put:"));
    router_.add(Method::put, "/rest/organizations/{org}/things/{id}/activate",
                Access::privilege("PLATFORM/THING/EDIT"), echo("activate:"));
    router_.add(Method::put, "/rest/organizations/{org}/things/activate/bulk",
                Access::privilege("PLATFORM/THING/EDIT"), echo("bulk"));
    router_.add(Method::get, "/rest/organizations/{org}/things/special",
                Access::privilege("PLATFORM/THING/VIEW"), echo("special"));
    router_.add(Method::get, "/admin/secret", Access::local(), echo("secret"));
    router_.add(Method::get, "/who", Access::any_caller(),
                [](const Request& request, const Params&) {
                  return text_response(200, request.caller.actor());
                });
    router_.add(Method::get, "/open", Access::anybody(), echo("open"));
    router_.add(Method::get, "/fail/{id}", Access::anybody(),
                [](const Request&, const Params& params) -> Response {
                  if (params["id"] == "problem") {
                    throw ProblemError(409, "KEY_FINAL", "It has ended.",
                                       Json::object({{"state", "REVOKED"}}));
                  }
                  if (params["id"] == "away") {
                    throw store::Error(store::Failure::unavailable, 2006, "gone: password=hunter2");
                  }
                  throw std::runtime_error("secret detail");
                });
    router_.authenticate_with([this](const Request& request) {
      ++asked_;
      Caller caller;
      const auto token = request.header("authorization");
      if (!token) return caller;
      caller.kind = CallerKind::administrator;
      caller.email = "ada@example.com";
      if (*token == "Bearer editor") {
        caller.privileges.push_back({"PLATFORM", "THING", "EDIT", ""});
      } else if (*token == "Bearer viewer") {
        caller.privileges.push_back({"PLATFORM", "THING", "VIEW", ""});
      }
      return caller;
    });
  }

  Response call(Method method, std::string path, std::string token = "editor",
                Listener listener = Listener::tcp) {
    Request request;
    request.method = method;
    request.path = std::move(path);
    request.id = "r-1";
    request.peer.listener = listener;
    if (listener == Listener::admin_socket) request.caller.kind = CallerKind::local;
    if (!token.empty()) request.headers.emplace_back("authorization", "Bearer " + token);
    return router_.handle(request);
  }

  Router router_{"acme"};
  int asked_ = 0;
};

TEST_F(RouterTest, FindsTheMostLiteralRoute) {
  EXPECT_EQ(call(Method::get, "/rest/organizations/acme/things/x1").body, "one:x1");
  EXPECT_EQ(call(Method::get, "/rest/organizations/acme/things/special").body, "special");
  EXPECT_EQ(call(Method::put, "/rest/organizations/acme/things/activate/bulk").body, "bulk");
  EXPECT_EQ(call(Method::put, "/rest/organizations/acme/things/x/activate").body, "activate:x");
  EXPECT_EQ(call(Method::put, "/rest/organizations/acme/things/special").body, "put:special");
  EXPECT_EQ(call(Method::head, "/rest/organizations/acme/things/x1").status, 200);
}

TEST_F(RouterTest, DecodesParametersOnce) {
  EXPECT_EQ(call(Method::get, "/rest/organizations/acme/things/a%20b%2Fc%2541").body,
            "one:a b/c%41");
  EXPECT_EQ(call(Method::get, "/rest/organizations/acme/things/a%2").status, 400);
  EXPECT_EQ(call(Method::get, "/rest/organizations/acme/things/a%00").status, 400);
  EXPECT_EQ(call(Method::get, "/rest/organizations/acme/things/%ff").status, 400);
}

TEST_F(RouterTest, UnknownForeignAndInvisibleLookTheSame) {
  const std::string body = call(Method::get, "/nothing").body;
  for (const char* path : {"/rest/organizations/other/things/x1", "/rest/organizations/acme/things",
                           "/admin/secret", "/rest/organizations/acme/things/",
                           "/rest/organizations/acme//things/x1", "", "open", "//open", "/open/"}) {
    const Response answer = call(Method::get, path);
    EXPECT_EQ(answer.status, 404) << path;
    EXPECT_EQ(answer.body, body) << path;
  }
  EXPECT_EQ(call(Method::get, "/admin/secret", "", Listener::admin_socket).body, "secret");
}

TEST_F(RouterTest, SaysWhichMethodsArePossible) {
  const Response answer = call(Method::delete_, "/rest/organizations/acme/things/x1");
  EXPECT_EQ(answer.status, 405);
  EXPECT_EQ(answer.headers, (Fields{{"Allow", "GET, PUT"}}));
  EXPECT_EQ(call(Method::put, "/admin/secret").status, 404) << "tells that the route exists";
}

TEST_F(RouterTest, AsksForACallerAndAPrivilege) {
  const Response nobody = call(Method::get, "/rest/organizations/acme/things/x1", "");
  EXPECT_EQ(nobody.status, 401);
  EXPECT_EQ(nobody.headers.at(0).first, "WWW-Authenticate");
  EXPECT_EQ(call(Method::get, "/rest/organizations/acme/things/x1", "viewer").status, 200);
  EXPECT_EQ(call(Method::get, "/rest/organizations/acme/things/x1", "editor").status, 200);
  const Response refused = call(Method::put, "/rest/organizations/acme/things/x1", "viewer");
  EXPECT_EQ(refused.status, 403);
  EXPECT_EQ(parse_json(refused.body)["missingPrivileges"].dump(), R"(["PLATFORM/THING/EDIT"])");
  EXPECT_EQ(call(Method::get, "/who", "anyone").body, "ada@example.com");
  EXPECT_EQ(call(Method::get, "/who", "").status, 401);
}

TEST_F(RouterTest, PublicAndLocalRoutesAskNobody) {
  EXPECT_EQ(call(Method::get, "/open", "").body, "open");
  EXPECT_EQ(
      call(Method::put, "/rest/organizations/acme/things/x", "", Listener::admin_socket).status,
      200);
  EXPECT_EQ(asked_, 0);
}

TEST_F(RouterTest, TurnsExceptionsIntoProblems) {
  const Response refused = call(Method::get, "/fail/problem");
  EXPECT_EQ(refused.status, 409);
  EXPECT_EQ(refused.content_type, "application/problem+json");
  const Json body = parse_json(refused.body);
  EXPECT_EQ(body["errorCode"], Json("KEY_FINAL"));
  EXPECT_EQ(body["status"], Json(409));
  EXPECT_EQ(body["title"], Json("Conflict"));
  EXPECT_EQ(body["detail"], Json("It has ended."));
  EXPECT_EQ(body["state"], Json("REVOKED"));

  const Response away = call(Method::get, "/fail/away");
  EXPECT_EQ(away.status, 503);
  EXPECT_EQ(away.body.find("hunter2"), std::string::npos);
  EXPECT_EQ(away.headers.at(0).first, "Retry-After");
  const Response failed = call(Method::get, "/fail/other");
  EXPECT_EQ(failed.status, 500);
  EXPECT_EQ(failed.body.find("secret detail"), std::string::npos);
  EXPECT_NE(failed.body.find("r-1"), std::string::npos);
}

TEST_F(RouterTest, RefusesTheSameRouteTwice) {
  EXPECT_THROW(router_.add(Method::get, "/rest/organizations/{org}/things/{name}",
                           Access::anybody(), nullptr),
               std::logic_error);
}

TEST(RequestBody, MustBeJson) {
  Request request;
  request.body = "{}";
  EXPECT_NO_THROW((void)request.json());
  request.headers.emplace_back("content-type", "Application/JSON; charset=utf-8");
  EXPECT_NO_THROW((void)request.json());
  request.headers[0].second = "text/xml";
  EXPECT_THROW((void)request.json(), ProblemError);
  request.headers.clear();
  request.body = "{";
  EXPECT_THROW((void)request.json(), ProblemError);
}

TEST(RequestQuery, ReadsNumbersWithinBounds) {
  Request request;
  request.query = {{"page", "3"}, {"size", "1e3"}, {"big", "99999999999999999999"}};
  EXPECT_EQ(request.query_number("page", 0, 0, 10), 3);
  EXPECT_EQ(request.query_number("other", 7, 0, 10), 7);
  EXPECT_THROW((void)request.query_number("page", 0, 4, 10), ProblemError);
  EXPECT_THROW((void)request.query_number("size", 0, 0, 10), ProblemError);
  EXPECT_THROW((void)request.query_number("big", 0, 0, 10), ProblemError);
}

TEST(FileResponse, SendsTheRangeThatIsAskedFor) {
  char path[] = "/tmp/sallyport_range_XXXXXX";
  base::UniqueFd fd(::mkstemp(path));
  ASSERT_TRUE(fd);
  ::unlink(path);
  ASSERT_EQ(::write(fd.get(), "0123456789", 10), 10);
  struct Case {
    const char* range;
    int status;
    std::uint64_t offset, length;
  };
  for (const Case& wanted :
       {Case{"", 200, 0, 10}, Case{"bytes=2-4", 206, 2, 3}, Case{"bytes=7-", 206, 7, 3},
        Case{"bytes=-4", 206, 6, 4}, Case{"bytes=-99", 206, 0, 10}, Case{"bytes=0-99", 206, 0, 10},
        Case{"bytes=10-", 416, 0, 0}, Case{"bytes=-0", 416, 0, 0}, Case{"bytes=4-2", 200, 0, 10},
        Case{"bytes=1-2,4-5", 200, 0, 10}, Case{"lines=1-2", 200, 0, 10},
        Case{"bytes=-", 200, 0, 10}, Case{"bytes=99999999999999999999-", 200, 0, 10}}) {
    Request request;
    if (*wanted.range != '\0') request.headers.emplace_back("range", wanted.range);
    const Response answer =
        file_response(request, base::UniqueFd(::dup(fd.get())), "text/plain", "a\r\nb\".txt");
    EXPECT_EQ(answer.status, wanted.status) << wanted.range;
    if (wanted.status == 416) continue;
    ASSERT_TRUE(answer.file) << wanted.range;
    EXPECT_EQ(answer.file->offset, wanted.offset) << wanted.range;
    EXPECT_EQ(answer.file->length, wanted.length) << wanted.range;
    EXPECT_EQ(answer.headers.at(1).second, "attachment; filename*=UTF-8''a%0D%0Ab%22.txt");
  }
}

TEST(Covers, FollowsTypesAndTargets) {
  using P = store::Privilege;
  EXPECT_TRUE(covers(P{"A", "B", "EDIT", ""}, P{"A", "B", "VIEW", ""}));
  EXPECT_FALSE(covers(P{"A", "B", "VIEW", ""}, P{"A", "B", "EDIT", ""}));
  EXPECT_TRUE(covers(P{"A", "B", "EDIT", ""}, P{"A", "B", "", ""}));
  EXPECT_FALSE(covers(P{"A", "B", "", ""}, P{"A", "B", "VIEW", ""}));
  EXPECT_TRUE(covers(P{"A", "B", "", ""}, P{"A", "B", "", "x"}));
  EXPECT_TRUE(covers(P{"A", "B", "", "*"}, P{"A", "B", "", ""}));
  EXPECT_TRUE(covers(P{"A", "B", "", "x"}, P{"A", "B", "", "x"}));
  EXPECT_FALSE(covers(P{"A", "B", "", "x"}, P{"A", "B", "", ""}));
  EXPECT_FALSE(covers(P{"A", "B", "", "x"}, P{"A", "B", "", "y"}));
  EXPECT_FALSE(covers(P{"A", "B", "", "x"}, P{"A", "B", "", "*"}));
  EXPECT_FALSE(covers(P{"A", "B", "", ""}, P{"A", "C", "", ""}));
  EXPECT_FALSE(covers(P{"A", "B", "", ""}, P{"C", "B", "", ""}));
}

TEST(Caller, AGroupCanHoldEverythingAKeyCannot) {
  const store::Privilege everything{"*", "*", "", ""};
  const store::Privilege wanted{"PLATFORM", "API_KEY", "EDIT", ""};
  Caller caller;
  caller.privileges = {everything};
  EXPECT_FALSE(caller.holds(wanted)) << "nobody";
  caller.kind = CallerKind::feed;
  EXPECT_FALSE(caller.holds(wanted)) << "a feed";
  caller.kind = CallerKind::administrator;
  EXPECT_TRUE(caller.holds(wanted));
  EXPECT_FALSE(covers(everything, wanted)) << "as the privilege of a key";
}

}  // namespace
}  // namespace sallyport::daemon

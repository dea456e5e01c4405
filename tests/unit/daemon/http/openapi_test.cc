#include "daemon/http/openapi.h"

#include <gtest/gtest.h>

#include <set>

namespace sallyport::daemon {
namespace {

Response nothing(const Request&, const Params&) {
  return empty_response();
}

/// Every "$ref" in `value`.
void collect_references(const Json& value, std::set<std::string>& found) {
  if (const auto* items = value.if_array()) {
    for (const Json& item : *items) collect_references(item, found);
  }
  if (const auto* members = value.if_object()) {
    for (const auto& [name, member] : *members) {
      if (name == "$ref") found.insert(*member.if_string());
      collect_references(member, found);
    }
  }
}

TEST(OpenApi, DescribesWhatIsRegistered) {
  Router router("acme");
  router.schema("Thing", R"({"type":"object"})");
  router
      .add(Method::get, "/rest/organizations/{org}/things/{id}",
           Access::privilege("PLATFORM/THING/VIEW"), nothing)
      .describe("One thing")
      .query("deep", "With its parts", "boolean")
      .answers(200, "Thing")
      .answers(404);
  router
      .add(Method::put, "/rest/organizations/{org}/things/{id}",
           Access::privilege("PLATFORM/THING/EDIT"), nothing)
      .takes("Thing")
      .answers(200, "[]Thing");
  router.add(Method::get, "/admin/hidden", Access::local(), nothing);
  router.add(Method::get, "/open", Access::anybody(), nothing);
  add_openapi_route(router, "1.2.3");

  Request request;
  request.path = "/openapi.json";
  const Response answer = router.handle(request);
  ASSERT_EQ(answer.status, 200);
  const Json document = parse_json(answer.body);
  EXPECT_EQ(document["openapi"], Json("3.1.0"));
  EXPECT_EQ(document["info"]["version"], Json("1.2.3"));
  const Json& paths = document["paths"];
  EXPECT_EQ(paths.find("/admin/hidden"), nullptr);
  EXPECT_NE(paths.find("/verify"), nullptr);
  EXPECT_NE(paths.find("/introspect"), nullptr);
  const Json& item = paths["/rest/organizations/{org}/things/{id}"];
  const Json& get = item["get"];
  EXPECT_EQ(get["operationId"], Json("getThingsId"));
  EXPECT_EQ(get["summary"], Json("One thing"));
  EXPECT_EQ(get["description"], Json("Needs PLATFORM/THING/VIEW."));
  EXPECT_EQ(get["parameters"].if_array()->size(), 3U);
  EXPECT_EQ(get["responses"]["200"]["content"]["application/json"]["schema"]["$ref"],
            Json("#/components/schemas/Thing"));
  for (const char* status : {"401", "403", "404"}) {
    EXPECT_NE(get["responses"][status].find("content"), nullptr) << status;
  }
  EXPECT_EQ(item["put"]["responses"]["200"]["content"]["application/json"]["schema"]["type"],
            Json("array"));
  EXPECT_NE(item["put"]["responses"].find("400"), nullptr);
  EXPECT_EQ(paths["/open"]["get"]["security"], Json::array());

  std::set<std::string> references;
  collect_references(document, references);
  EXPECT_EQ(references.count("#/components/schemas/Problem"), 1U);
  for (const std::string& reference : references) {
    const std::string name = reference.substr(std::string("#/components/schemas/").size());
    EXPECT_NE(document["components"]["schemas"].find(name), nullptr) << reference;
  }
}

}  // namespace
}  // namespace sallyport::daemon

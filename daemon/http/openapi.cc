#include "daemon/http/openapi.h"

#include <algorithm>

#include "daemon/http/server_reply.h"

namespace sallyport::daemon {

namespace {

constexpr std::string_view problem_schema = R"json({
"type": "object", "required": ["title", "status", "detail", "errorCode"],
"additionalProperties": true,
"properties": {"type": {"type": "string"}, "title": {"type": "string"},
               "status": {"type": "integer"}, "detail": {"type": "string"},
               "errorCode": {"type": "string"}, "message": {"type": "string"}}})json";

// What gateways use is answered by no route of the router.
constexpr std::string_view gateway_paths = R"json({
"/verify": {"get": {
  "operationId": "verify", "summary": "May this key do this, from there, now? Any method, and any path under it",
  "security": [{"gatewayToken": []}],
  "parameters": [
    {"name": "require", "in": "query", "description": "owner/domain[/type][@targetId] or object:action; all must be held",
     "schema": {"type": "array", "items": {"type": "string"}}, "style": "form", "explode": true},
    {"name": "X-API-Key", "in": "header", "description": "The key; or X-COUPA-API-KEY, or Authorization: Bearer", "schema": {"type": "string"}},
    {"name": "X-Forwarded-For", "in": "header", "description": "Believed from trusted proxies only", "schema": {"type": "string"}}],
  "responses": {
    "200": {"description": "Allowed", "headers": {
      "X-Key-Id": {"schema": {"type": "string"}}, "X-Key-Name": {"schema": {"type": "string"}},
      "X-Key-Privileges": {"schema": {"type": "string"}}, "X-Key-Contact": {"schema": {"type": "string"}}}},
    "401": {"description": "No key, unknown, ended, or from a wrong address", "headers": {
      "WWW-Authenticate": {"schema": {"type": "string"}}, "X-Deny-Reason": {"schema": {"type": "string"}}}},
    "403": {"description": "Known and good, but without a required privilege", "headers": {
      "X-Deny-Reason": {"schema": {"type": "string"}}}}}}},
"/introspect": {"post": {
  "operationId": "introspect", "summary": "RFC 7662 token introspection",
  "security": [{"gatewayToken": []}],
  "requestBody": {"required": true, "content": {"application/x-www-form-urlencoded": {"schema": {
    "type": "object", "required": ["token"], "properties": {
      "token": {"type": "string"}, "client_ip": {"type": "string"},
      "require": {"type": "array", "items": {"type": "string"}}}}}}},
  "responses": {
    "200": {"description": "What is known of an active key, or only that it is not active", "content": {"application/json": {"schema": {
      "type": "object", "required": ["active"], "properties": {
        "active": {"type": "boolean"}, "token_type": {"type": "string"}, "sub": {"type": "string"},
        "client_id": {"type": "string"}, "username": {"type": "string"}, "scope": {"type": "string"},
        "contact": {"type": "string"}, "exp": {"type": "integer"}}}}}},
    "400": {"description": "No token"},
    "401": {"description": "Not a gateway"}}}}
})json";

Json reference(std::string_view schema) {
  const bool many = schema.substr(0, 2) == "[]";
  Json one = Json::object(
      {{"$ref", "#/components/schemas/" + std::string(many ? schema.substr(2) : schema)}});
  return many ? Json::object({{"type", "array"}, {"items", std::move(one)}}) : one;
}

std::string_view meaning(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 204:
      return "Done";
    case 206:
      return "A part of the content";
    case 400:
      return "The request is not acceptable";
    case 401:
      return "No valid access token";
    case 403:
      return "The caller does not hold what this needs";
    case 404:
      return "Unknown, or not visible to the caller";
    case 409:
      return "Not possible in the present state";
    case 500:
      return "Any other failure, such as a database that does not answer";
    default:
      return "See the body";
  }
}

Json answer_of(int status, const std::string& schema) {
  Json answer = Json::object({{"description", meaning(status)}});
  if (status >= 400) {
    answer.set("content", Json::object({{"application/problem+json",
                                         Json::object({{"schema", reference("Problem")}})}}));
  } else if (!schema.empty()) {
    answer.set("content",
               Json::object({{"application/json", Json::object({{"schema", reference(schema)}})}}));
  }
  return answer;
}

std::string operation_id(const Route& route) {
  std::string id = lower_case(method_name(route.method));
  for (const std::string& segment : route.segments) {
    if (segment == "rest" || segment == "organizations" || segment == "{org}") continue;
    bool capital = true;
    for (const char c : segment) {
      const bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
      if (word) {
        id += capital && c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
        capital = false;
      } else {
        capital = c != '}';
      }
    }
  }
  return id;
}

Json parameters_of(const Route& route) {
  Json parameters = Json::array();
  for (const std::string& segment : route.segments) {
    if (segment.size() < 3 || segment.front() != '{') continue;
    parameters.push(Json::object({{"name", segment.substr(1, segment.size() - 2)},
                                  {"in", "path"},
                                  {"required", true},
                                  {"schema", Json::object({{"type", "string"}})}}));
  }
  for (const auto& parameter : route.query_parameters) {
    parameters.push(Json::object({{"name", parameter.name},
                                  {"in", "query"},
                                  {"description", parameter.description},
                                  {"schema", Json::object({{"type", parameter.type}})}}));
  }
  return parameters;
}

Json operation_of(const Route& route) {
  Json operation = Json::object({{"operationId", operation_id(route)}});
  if (!route.summary.empty()) operation.set("summary", route.summary);
  Json parameters = parameters_of(route);
  if (!parameters.if_array()->empty()) operation.set("parameters", std::move(parameters));
  if (!route.request_schema.empty()) {
    operation.set(
        "requestBody",
        Json::object(
            {{"required", true},
             {"content",
              Json::object({{"application/json",
                             Json::object({{"schema", reference(route.request_schema)}})}})}}));
  }
  Json responses = Json::object();
  bool success = false;
  for (const auto& answer : route.responses) {
    responses.set(std::to_string(answer.status), answer_of(answer.status, answer.schema));
    success = success || answer.status < 300;
  }
  if (!success) responses.set("200", answer_of(200, ""));
  const auto also = [&](int status) {
    const std::string name = std::to_string(status);
    if (responses.find(name) == nullptr) responses.set(name, answer_of(status, "Problem"));
  };
  const bool asks = route.access.kind() != Access::Kind::anybody;
  if (asks) also(401);
  if (route.access.kind() == Access::Kind::privilege) {
    also(403);
    operation.set("description", "Needs " + format_privilege(route.access.wanted()) + ".");
  }
  if (!route.request_schema.empty() || !route.query_parameters.empty()) also(400);
  if (std::count(route.segments.begin(), route.segments.end(), "{org}") > 0) also(404);
  // The database is away, too many requests wait, ...
  responses.set("default", answer_of(500, "Problem"));
  operation.set("responses", std::move(responses));
  operation.set("security", asks ? Json::array({Json::object({{"accessToken", Json::array()}})})
                                 : Json::array());
  return operation;
}

}  // namespace

Json openapi_document(const Router& router, const std::string& version) {
  Json paths = parse_json(gateway_paths);
  for (const auto& route : router.routes()) {
    if (route->access.kind() == Access::Kind::local) continue;
    Json item = paths[route->path];
    item.set(lower_case(method_name(route->method)), operation_of(*route));
    paths.set(route->path, std::move(item));
  }
  Json schemas = Json::object({{"Problem", parse_json(problem_schema)}});
  for (const auto& [name, schema] : router.schemas()) schemas.set(name, schema);
  return Json::object(
      {{"openapi", "3.1.0"},
       {"info",
        Json::object({{"title", "Sallyport"},
                      {"version", version},
                      {"description",
                       "API keys and their life, partners and their files. Errors are "
                       "problem details of RFC 9457; every answer carries X-Request-ID."}})},
       {"paths", std::move(paths)},
       {"components",
        Json::object(
            {{"schemas", std::move(schemas)},
             {"securitySchemes",
              Json::object({{"accessToken", Json::object({{"type", "http"}, {"scheme", "bearer"}})},
                            {"gatewayToken", Json::object({{"type", "apiKey"},
                                                           {"in", "header"},
                                                           {"name", "X-Gateway-Token"}})}})}})}});
}

void add_openapi_route(Router& router, const std::string& version) {
  Route& route = router.add(Method::get, "/openapi.json", Access::anybody(), nullptr);
  route.describe("This document").answers(200);
  // Made once: the routes do not change after this.
  route.handler = [document = openapi_document(router, version).dump()](const Request&,
                                                                        const Params&) {
    return text_response(200, document, "application/json");
  };
}

}  // namespace sallyport::daemon

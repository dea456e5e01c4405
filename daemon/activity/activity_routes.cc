#include "daemon/activity/activity_routes.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/bytes.h"
#include "daemon/activity/chain.h"

namespace sallyport::daemon {

namespace {

constexpr std::string_view view = "PLATFORM/ACTIVITIES/VIEW";
constexpr std::int64_t most_per_page = 1000;

constexpr std::string_view activity_schema = R"json({
"type": "object",
"required": ["id", "operation", "result", "state", "triggeredBy", "createDate"],
"properties": {
  "id": {"type": "string"}, "operation": {"type": "string"}, "resourceType": {"type": "string"},
  "resourceId": {"type": "string"}, "resourceName": {"type": "string"},
  "organizationId": {"type": "string"}, "result": {"type": "string"}, "state": {"type": "string"},
  "section": {"type": "string"},
  "createDate": {"type": "integer"}, "startDate": {"type": "integer"},
  "endDate": {"type": "integer"}, "duration": {"type": "integer"},
  "triggeredBy": {"type": "object"}, "source": {"type": "string"}, "content": {},
  "node": {"type": "string"}, "sequence": {"type": "integer"}}})json";

constexpr std::string_view page_schema = R"json({
"type": "object",
"required": ["items", "totalEntries", "totalPages"],
"properties": {"items": {"type": "array", "items": {"$ref": "#/components/schemas/Activity"}},
  "totalEntries": {"type": "integer"}, "totalPages": {"type": "integer"}}})json";

constexpr std::string_view names_schema =
    R"json({"type": "array", "items": {"type": "string"}})json";

constexpr std::string_view names_by_resource_schema = R"json({
"type": "object",
"additionalProperties": {"type": "array", "items": {"type": "string"}}})json";

constexpr std::string_view filter_schema = R"json({
"type": "object",
"properties": {
  "operations": {"type": "array", "items": {"type": "string"}},
  "resourceTypes": {"type": "array", "items": {"type": "string"}},
  "resourceIds": {"type": "array", "items": {"type": "string"}},
  "resultTypes": {"type": "array", "items": {"type": "string"}}}})json";

Json content_json(const std::string& changes) {
  if (changes.empty()) return {};
  try {
    return parse_json(changes);
  } catch (const JsonError&) {
    return changes;  // of another program, or damaged: shown as it is
  }
}

Json activity_json(const store::Activity& row, const std::string& organization) {
  const std::int64_t at = base::to_unix(row.at) * 1000;
  const bool by_system = row.actor == "scheduler";
  Json out = Json::object({{"id", row.id},
                           {"operation", row.operation},
                           {"resourceType", row.resource_type},
                           {"resourceId", row.resource_id},
                           {"resourceName", row.resource_name},
                           {"organizationId", organization},
                           {"result", row.result},
                           {"state", "COMPLETED"},
                           {"section", "PUBLIC"},
                           {"createDate", at},
                           {"startDate", at},
                           {"endDate", at},
                           {"duration", 0},
                           {"triggeredBy", Json::object({{"type", by_system ? "SYSTEM" : "USER"},
                                                         {"id", row.actor},
                                                         {"displayName", row.actor}})},
                           {"source", row.source},
                           {"node", row.node},
                           {"sequence", row.sequence}});
  out.set_if("content", content_json(row.changes));
  return out;
}

/// Every field, for `activity export`: whoever holds it can work the chain out again.
Json chain_json(const store::Activity& row) {
  return Json::object({{"node", row.node},
                       {"sequence", row.sequence},
                       {"id", row.id},
                       {"at", base::format_iso(row.at)},
                       {"actor", row.actor},
                       {"source", row.source},
                       {"operation", row.operation},
                       {"resourceType", row.resource_type},
                       {"resourceId", row.resource_id},
                       {"resourceName", row.resource_name},
                       {"result", row.result},
                       {"changes", row.changes},
                       {"previousHash", base::to_hex(row.previous_hash)},
                       {"hash", base::to_hex(row.hash)}});
}

std::optional<base::Instant> read_time(const Request& request, std::string_view name) {
  const auto text = request.query_value(name);
  if (!text || text->empty()) return std::nullopt;
  std::int64_t millis = 0;
  const char* end = text->data() + text->size();
  if (const auto parsed = std::from_chars(text->data(), end, millis);
      parsed.ec == std::errc{} && parsed.ptr == end) {
    return base::from_unix(millis / 1000);
  }
  // Fractions of a second are common in ISO texts; the log counts seconds.
  std::string whole(*text);
  if (const auto dot = whole.find('.'); dot != std::string::npos && whole.back() == 'Z') {
    whole = whole.substr(0, dot) + "Z";
  }
  if (const auto instant = base::parse_instant(whole)) return instant;
  throw ProblemError(
      400, "INVALID_FIELD",
      std::string(name) + " must be Unix milliseconds, 2026-11-22 or 2026-11-22T14:30:00Z.");
}

store::ActivityFilter read_filter(const Request& request) {
  store::ActivityFilter filter;
  filter.from = read_time(request, "from");
  filter.to = read_time(request, "to");
  if (request.body.empty()) return filter;
  const JsonReader reader(request.json());
  filter.operations = reader.maybe_texts("operations").value_or(std::vector<std::string>{});
  filter.resource_types = reader.maybe_texts("resourceTypes").value_or(std::vector<std::string>{});
  filter.resource_ids = reader.maybe_texts("resourceIds").value_or(std::vector<std::string>{});
  filter.results = reader.maybe_texts("resultTypes").value_or(std::vector<std::string>{});
  filter.actor = reader.maybe_text("actor").value_or("");
  return filter;
}

const std::array<std::pair<std::string_view, std::vector<std::string>>, 4>& known_operations() {
  static const std::array<std::pair<std::string_view, std::vector<std::string>>, 4> all{{
      {"API_KEY",
       {"CREATE", "UPDATE", "DELETE", "ENABLE", "DISABLE", "DUPLICATE", "REGENERATE", "REVOKE",
        "EXTEND", "EXPOSE", "WITHDRAW_EXPOSURE", "EXPIRE", "DISABLE_FOR_INACTIVITY",
        "DISABLE_EXPOSED", "NOTICE", "IMPORT"}},
      {"ADMINISTRATOR", {"CREATE", "UPDATE", "DELETE"}},
      {"PARTNER", {"CREATE", "UPDATE", "DELETE"}},
      {"FILE", {"DOWNLOAD", "RETRY"}},
  }};
  return all;
}

Json report_json(const ChainReport& report) {
  return Json::object({{"node", report.node},
                       {"good", report.good()},
                       {"rows", report.rows},
                       {"first", report.first},
                       {"last", report.last},
                       {"vouched", report.vouched},
                       {"checkpoints", report.checkpoints},
                       {"unauthenticated", report.unauthenticated},
                       {"findings", Json::array_of(report.findings)}});
}

class ActivityRoutes : public std::enable_shared_from_this<ActivityRoutes> {
 public:
  ActivityRoutes(Router& router, store::Store& store, const LiveConfig& config)
      : router_(router), store_(store), config_(config) {}

  void add() {
    router_.schema("Activity", activity_schema);
    router_.schema("ActivityPage", page_schema);
    router_.schema("ActivityFilter", filter_schema);
    router_.schema("Names", names_schema);
    router_.schema("NamesByResource", names_by_resource_schema);
    const std::string base = "/rest/organizations/{org}/activities";
    router_
        .add(Method::post, base + "/public", Access::privilege(view),
             [this, self = shared_from_this()](const Request& request, const Params&) {
               return list(request);
             })
        .describe("The activity log, newest first")
        .query("page", "From 0", "integer")
        .query("perPage", "1 to 1000", "integer")
        .query("from", "Not before")
        .query("to", "Before")
        .takes("ActivityFilter")
        .answers(200, "ActivityPage");
    router_
        .add(Method::get, base + "/{id}", Access::privilege(view),
             [this, self = shared_from_this()](const Request&, const Params& params) {
               const auto row = store_.read(
                   [&](store::Unit& unit) { return store::find_activity(unit, params["id"]); });
               if (!row) {
                 throw ProblemError(404, "ACTIVITY_NOT_FOUND", "There is no such activity.");
               }
               return json_response(200, activity_json(*row, config_.get()->organization));
             })
        .describe("One activity")
        .answers(200, "Activity")
        .answers(404, "Problem");
    add_names(base);
    add_local();
  }

 private:
  Response list(const Request& request) {
    const auto filter = read_filter(request);
    const auto page = request.query_number("page", 0, 0, 1'000'000);
    const auto per_page = request.query_number("perPage", 100, 1, most_per_page);
    std::int64_t total = 0;
    const auto rows = store_.read([&](store::Unit& unit) {
      total = store::count_activity(unit, filter);
      const std::int64_t offset = page * per_page;
      // A page behind the end, however far, is empty.
      if (offset >= total) return std::vector<store::Activity>{};
      return store::list_activity(unit, filter, static_cast<unsigned>(offset),
                                  static_cast<unsigned>(per_page));
    });
    Json items = Json::array();
    for (const auto& row : rows) items.push(activity_json(row, config_.get()->organization));
    return json_response(200, Json::object({{"items", std::move(items)},
                                            {"totalEntries", total},
                                            {"totalPages", (total + per_page - 1) / per_page}}));
  }

  void add_names(const std::string& base) {
    router_
        .add(Method::get, base + "/resourcetypes", Access::privilege(view),
             [](const Request&, const Params&) {
               Json out = Json::array();
               for (const auto& [type, operations] : known_operations()) out.push(type);
               return json_response(200, out);
             })
        .describe("The types of resources in the log")
        .answers(200, "Names");
    router_
        .add(Method::get, base + "/operationtypes", Access::privilege(view),
             [](const Request&, const Params&) {
               std::vector<std::string> all;
               for (const auto& [type, operations] : known_operations()) {
                 all.insert(all.end(), operations.begin(), operations.end());
               }
               std::sort(all.begin(), all.end());
               all.erase(std::unique(all.begin(), all.end()), all.end());
               return json_response(200, Json::array_of(all));
             })
        .describe("The operations in the log")
        .answers(200, "Names");
    router_
        .add(Method::get, base + "/resourcesandoperations", Access::privilege(view),
             [](const Request&, const Params&) {
               Json out = Json::object();
               for (const auto& [type, operations] : known_operations()) {
                 out.set(type, Json::array_of(operations));
               }
               return json_response(200, out);
             })
        .describe("The operations in the log by type of resource")
        .answers(200, "NamesByResource");
  }

  void add_local() {
    router_
        .add(Method::get, "/admin/activity/verify", Access::local(),
             [this, self = shared_from_this()](const Request&, const Params&) {
               base::Secret credential;
               std::string problem;
               try {
                 credential = activity_credential(*config_.get());
               } catch (const base::Error& error) {
                 problem = error.what();
               }
               Json chains = Json::array();
               bool good = true;
               for (const auto& report :
                    verify_activity(store_, credential, config_.get()->files.state)) {
                 good = good && report.good();
                 chains.push(report_json(report));
               }
               Json out = Json::object({{"good", good},
                                        {"authenticated", !credential.empty()},
                                        {"chains", std::move(chains)}});
               if (!problem.empty()) out.set("credentialProblem", problem);
               return json_response(200, out);
             })
        .describe("Whether a row of the activity log was changed, removed or cut off")
        .answers(200);
    router_
        .add(Method::get, "/admin/activity/nodes", Access::local(),
             [this, self = shared_from_this()](const Request&, const Params&) {
               return json_response(200, Json::array_of(store_.read([](store::Unit& unit) {
                                      return store::activity_nodes(unit);
                                    })));
             })
        .describe("The nodes that have a chain")
        .answers(200);
    router_
        .add(Method::get, "/admin/activity/chain", Access::local(),
             [this, self = shared_from_this()](const Request& request, const Params&) {
               const std::string node(request.query_value("node").value_or(""));
               const auto after =
                   request.query_number("after", 0, 0, std::numeric_limits<std::int64_t>::max());
               const auto limit = request.query_number("limit", most_per_page, 1, most_per_page);
               Json out = Json::array();
               for (const auto& row : store_.read([&](store::Unit& unit) {
                      return store::activity_chain(unit, node, after, static_cast<unsigned>(limit));
                    })) {
                 out.push(chain_json(row));
               }
               return json_response(200, out);
             })
        .describe("A node's chain in order, with its hashes")
        .query("node", "Whose")
        .query("after", "Sequence after which to begin", "integer")
        .query("limit", "1 to 1000", "integer")
        .answers(200);
  }

  Router& router_;
  store::Store& store_;
  const LiveConfig& config_;
};

}  // namespace

void add_activity_routes(Router& router, store::Store& store, const LiveConfig& config) {
  std::make_shared<ActivityRoutes>(router, store, config)->add();
}

}  // namespace sallyport::daemon

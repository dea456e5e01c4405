#include "daemon/keys/key_routes.h"

#include <algorithm>
#include <memory>

#include "base/bytes.h"
#include "daemon/keys/json_array_body.h"
#include "daemon/keys/key_checks.h"
#include "daemon/keys/key_json.h"
#include "daemon/keys/key_schemas.h"

namespace sallyport::daemon {

namespace {

using lifecycle::Event;

constexpr std::string_view view = "PLATFORM/API_KEY/VIEW";
constexpr std::string_view edit = "PLATFORM/API_KEY/EDIT";

/// Its handlers own it.
class KeyRoutes : public std::enable_shared_from_this<KeyRoutes> {
 public:
  KeyRoutes(Router& router, KeyService& keys) : router_(router), keys_(keys) {}

  void add() {
    router_.schema("ApiKey", key_schema);
    router_.schema("ApiKeyInput", key_input_schema);
    router_.schema("ApiKeyTemplate", template_schema);
    router_.schema("ApiKeyTemplateEligibility", eligibility_schema);
    router_.schema("ExposureReportInput", exposure_input_schema);
    router_.schema("ExposureOutcome", exposure_outcome_schema);
    router_.schema("Ids", ids_schema);
    add_reading();
    add_new_keys();
    add_changes();
    add_bulk();
    add_exposures();
    add_templates();
  }

 private:
  [[nodiscard]] std::string path(std::string_view rest) const {
    return "/rest/organizations/{org}/" + std::string(rest);
  }

  [[nodiscard]] KeyView key_view() {
    const auto& parts = keys_.parts();
    return {parts.config.get()->organization, keys_.policy(), parts.clock.now(),
            keys_.group_names()};
  }

  [[nodiscard]] Json with_value(const NewKey& made) {
    Json out = key_json(made.key, key_view());
    out.set("value", std::string(made.value.reveal()));
    return out;
  }

  void add_reading() {
    router_
        .add(Method::get, path("apikeys"), Access::privilege(view),
             [this, self = shared_from_this()](const Request& request, const Params&) {
               const auto filter = parse_key_filter(request.query_value("status").value_or(""));
               if (!filter) {
                 throw ProblemError(
                     400, "INVALID_FILTER",
                     "status must be one of ACTIVE, SOON_TO_BE_DISABLED, SOON_TO_BE_EXPIRED, "
                     "ACTIVE_AND_EXPOSED, WITH_WARNING, ALL_EXPOSED, DEACTIVATED.");
               }
               const KeyView shown = key_view();
               JsonArrayBody out;
               keys_.each(request.caller, *filter,
                          [&](const store::ApiKey& key) { out.push(key_json(key, shown)); });
               return out.finish();
             })
        .describe("The keys that the caller may see")
        .query("status", "Which of them")
        .answers(200, "[]ApiKey");
    router_
        .add(Method::get, path("apikeys/{id}"), Access::privilege(view),
             [this, self = shared_from_this()](const Request& request, const Params& params) {
               return json_response(200,
                                    key_json(keys_.get(request.caller, params["id"]), key_view()));
             })
        .describe("One key, never its value")
        .answers(200, "ApiKey")
        .answers(404, "Problem");
  }

  void add_new_keys() {
    router_
        .add(Method::post, path("apikeys"), Access::privilege(edit),
             [this, self = shared_from_this()](const Request& request, const Params&) {
               const KeyInput input = read_key_input(request.json());
               std::string tmpl(request.query_value("apiKeyTemplateId").value_or(""));
               if (tmpl.empty()) tmpl = input.template_id.value_or("");
               return json_response(201, with_value(keys_.create(request.caller, tmpl, input)));
             })
        .describe("Creates a key; the only answer that holds its value")
        .query("apiKeyTemplateId", "The template of the key")
        .takes("ApiKeyInput")
        .answers(201, "ApiKey")
        .answers(400, "Problem")
        .answers(403, "Problem")
        .answers(409, "Problem");
    router_
        .add(Method::put, path("apikeys/{id}/duplicate"), Access::privilege(edit),
             [this, self = shared_from_this()](const Request& request, const Params& params) {
               const KeyInput input = read_key_input(body_or_empty(request));
               return json_response(
                   201, with_value(keys_.duplicate(request.caller, params["id"], input)));
             })
        .describe("Creates a key with the template and settings of this one")
        .takes("ApiKeyInput")
        .answers(201, "ApiKey")
        .answers(404, "Problem");
    router_
        .add(Method::put, path("apikeys/{id}/regenerate"), Access::privilege(edit),
             [this, self = shared_from_this()](const Request& request, const Params& params) {
               return json_response(200, with_value(keys_.regenerate(request.caller, params["id"],
                                                                     overlap(request))));
             })
        .describe("Gives the key a new value; the old one ends now or after the overlap")
        .query("overlap", "How long the old value stays valid, such as P2D or 12h")
        .answers(200, "ApiKey")
        .answers(404, "Problem")
        .answers(409, "Problem");
  }

  static Json body_or_empty(const Request& request) {
    return request.body.empty() ? Json::object() : request.json();
  }

  /// From the query or the body; "P2D", "36h" or nothing.
  base::Seconds overlap(const Request& request) {
    std::string text(request.query_value("overlap").value_or(""));
    if (text.empty()) {
      text = JsonReader(body_or_empty(request)).maybe_text("overlap").value_or("");
    }
    if (text.empty()) return base::Seconds{0};
    if (const auto period = base::parse_period(text)) {
      const base::Instant now = keys_.parts().clock.now();
      return base::add(now, *period) - now;
    }
    if (const auto duration = base::parse_duration(text)) return *duration;
    throw ProblemError(400, "INVALID_OVERLAP", "overlap must be a duration such as P2D, 36h or 0.");
  }

  using Operation = store::ApiKey (KeyService::*)(const Caller&, const std::string&);

  void add_operation(std::string_view name, Operation operation, std::string summary) {
    router_
        .add(Method::put, path("apikeys/{id}/" + std::string(name)), Access::privilege(edit),
             [this, self = shared_from_this(), operation](const Request& request,
                                                          const Params& params) {
               return json_response(
                   200, key_json((keys_.*operation)(request.caller, params["id"]), key_view()));
             })
        .describe(std::move(summary))
        .answers(200, "ApiKey")
        .answers(404, "Problem")
        .answers(409, "Problem");
  }

  void add_changes() {
    router_
        .add(Method::put, path("apikeys/{id}"), Access::privilege(edit),
             [this, self = shared_from_this()](const Request& request, const Params& params) {
               const KeyInput input = read_key_input(request.json());
               return json_response(
                   200, key_json(keys_.update(request.caller, params["id"], input), key_view()));
             })
        .describe("Edits name, description, IP lists, contact and access groups")
        .takes("ApiKeyInput")
        .answers(200, "ApiKey")
        .answers(404, "Problem")
        .answers(409, "Problem");
    router_
        .add(Method::delete_, path("apikeys/{id}"), Access::privilege(edit),
             [this, self = shared_from_this()](const Request& request, const Params& params) {
               keys_.remove(request.caller, params["id"]);
               return empty_response();
             })
        .describe("Removes a key for good; its activity stays")
        .answers(204)
        .answers(404, "Problem");
    add_operation("activate", &KeyService::activate, "Activates a disabled key");
    add_operation("disable", &KeyService::disable, "Disables a key");
    add_operation("revoke", &KeyService::revoke, "Ends a compromised key at once and for good");
    add_operation("activation/extend", &KeyService::extend,
                  "Restarts the inactivity timer of a key that is about to be disabled");
  }

  void add_bulk_operation(Method method, std::string_view name, Event event, std::string summary) {
    router_
        .add(method, path("apikeys/" + std::string(name) + "/bulk"), Access::privilege(edit),
             [this, self = shared_from_this(), event](const Request& request, const Params&) {
               keys_.bulk(request.caller, event, read_ids(request.json()));
               return empty_response();
             })
        .describe(std::move(summary))
        .takes("Ids")
        .answers(204)
        .answers(404, "Problem")
        .answers(409, "Problem");
  }

  static std::vector<std::string> read_ids(const Json& body) {
    const auto* items = body.if_array();
    std::vector<std::string> ids;
    bool good = items != nullptr;
    if (good) {
      for (const auto& item : *items) {
        const auto* id = item.if_string();
        if (id == nullptr) {
          good = false;
          break;
        }
        ids.push_back(*id);
      }
    }
    if (!good) {
      throw ProblemError(400, "INVALID_BODY", "The body must be a JSON array of ids of keys.");
    }
    return ids;
  }

  void add_bulk() {
    add_bulk_operation(Method::put, "activate", Event::activate, "Activates all or none");
    add_bulk_operation(Method::put, "disable", Event::disable, "Disables all or none");
    add_bulk_operation(Method::post, "delete", Event::remove, "Removes all or none");
  }

  static lifecycle::ExposureReport read_report(const JsonReader& reader) {
    lifecycle::ExposureReport report;
    const auto severity = lifecycle::parse_severity(reader.text("severity"));
    if (!severity) {
      throw ProblemError(400, "INVALID_FIELD",
                         "severity must be one of CRITICAL, HIGH, MEDIUM, LOW, WARN.");
    }
    report.severity = *severity;
    const auto source = lifecycle::parse_source(reader.maybe_text("source").value_or("MANUAL"));
    if (!source) {
      throw ProblemError(400, "INVALID_FIELD",
                         "source must be one of MANUAL, GITHUB, GITLAB, API.");
    }
    report.source = *source;
    report.reason = reader.maybe_text("reason").value_or("");
    if (report.reason.find_first_not_of(" \t\r\n") == std::string::npos) {
      throw ProblemError(400, "FIELD_REQUIRED", "reason is missing: say what was found.");
    }
    report.url = reader.maybe_text("url").value_or("");
    report.suspicious_activity = reader.maybe_flag("suspiciousActivity").value_or(false);
    return report;
  }

  Response report(const Request& request, const KeyReference& reference, const JsonReader& reader) {
    const auto answer = keys_.report_exposure(request.caller, reference, read_report(reader));
    Json out = Json::object({{"outcome", std::string(lifecycle::outcome_name(answer.outcome))},
                             {"apiKey", key_json(answer.key, key_view())}});
    return json_response(answer.outcome == lifecycle::ReportOutcome::repeated ? 200 : 201, out);
  }

  void add_exposures() {
    router_
        .add(Method::post, path("exposures"), Access::privilege(edit),
             [this, self = shared_from_this()](const Request& request, const Params&) {
               const JsonReader reader(request.json());
               KeyReference reference;
               reference.id = reader.maybe_text("id").value_or("");
               reference.value = reader.maybe_text("value").value_or("");
               if (const auto text = reader.maybe_text("sha256")) {
                 const auto raw = base::from_hex(*text);
                 base::Sha256 sha256{};
                 if (!raw || raw->size() != sha256.size()) {
                   throw ProblemError(400, "INVALID_FIELD", "sha256 must be 64 hex digits.");
                 }
                 std::copy(raw->begin(), raw->end(), sha256.begin());
                 reference.sha256 = sha256;
               }
               return report(request, reference, reader);
             })
        .describe("Reports a key as exposed, by id, value or SHA-256 of a value")
        .takes("ExposureReportInput")
        .answers(201, "ExposureOutcome")
        .answers(200, "ExposureOutcome")
        .answers(404, "Problem");
    router_
        .add(Method::post, path("apikeys/{id}/exposure"), Access::privilege(edit),
             [this, self = shared_from_this()](const Request& request, const Params& params) {
               KeyReference reference;
               reference.id = params["id"];
               return report(request, reference, JsonReader(request.json()));
             })
        .describe("Reports this key as exposed")
        .takes("ExposureReportInput")
        .answers(201, "ExposureOutcome")
        .answers(200, "ExposureOutcome")
        .answers(404, "Problem");
    router_
        .add(Method::delete_, path("apikeys/{id}/exposure"), Access::privilege(edit),
             [this, self = shared_from_this()](const Request& request, const Params& params) {
               std::string reason(request.query_value("reason").value_or(""));
               if (reason.empty()) {
                 reason = JsonReader(body_or_empty(request)).maybe_text("reason").value_or("");
               }
               return json_response(
                   200, key_json(keys_.withdraw_exposure(request.caller, params["id"], reason),
                                 key_view()));
             })
        .describe("Withdraws a false report before its deadline")
        .query("reason", "Why it was false; or in the body")
        .answers(200, "ApiKey")
        .answers(404, "Problem")
        .answers(409, "Problem");
  }

  void add_templates() {
    router_
        .add(Method::get, path("templates/apikeys"), Access::privilege(view),
             [this, self = shared_from_this()](const Request&, const Params&) {
               Json out = Json::array();
               for (const auto& each : keys_.parts().templates.all()) out.push(template_json(each));
               return json_response(200, out);
             })
        .describe("The templates of keys")
        .answers(200, "[]ApiKeyTemplate");
    router_
        .add(Method::get, path("templates/apikeys/{id}"), Access::privilege(view),
             [this, self = shared_from_this()](const Request&, const Params& params) {
               const auto* found = keys_.parts().templates.find(params["id"]);
               if (found == nullptr) {
                 throw ProblemError(404, "TEMPLATE_NOT_FOUND",
                                    "There is no such template of keys.");
               }
               return json_response(200, template_json(*found));
             })
        .describe("One template")
        .answers(200, "ApiKeyTemplate")
        .answers(404, "Problem");
    router_
        .add(Method::get, path("templates/apikeys/privileges/eligibility"), Access::privilege(view),
             [this, self = shared_from_this()](const Request& request, const Params&) {
               Json out = Json::array();
               for (const auto& each : keys_.parts().templates.all()) {
                 const auto lacking = keys_.missing_privileges(request.caller, each);
                 out.push(Json::object({{"id", each.id},
                                        {"missingPrivileges", privileges_json(lacking)},
                                        {"canGenerate", lacking.empty()}}));
               }
               return json_response(200, out);
             })
        .describe("Of which templates the caller may create keys")
        .answers(200, "[]ApiKeyTemplateEligibility");
  }

  Router& router_;
  KeyService& keys_;
};

}  // namespace

void add_key_routes(Router& router, KeyService& keys) {
  std::make_shared<KeyRoutes>(router, keys)->add();
}

}  // namespace sallyport::daemon

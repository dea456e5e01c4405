#include "daemon/keys/look_ahead_routes.h"

#include "daemon/keys/key_import.h"
#include "daemon/keys/look_ahead.h"

namespace sallyport::daemon {

namespace {

constexpr std::int64_t most_days = 3660;
constexpr std::size_t most_imported = 1000;

base::Seconds days(const Request& request, std::int64_t otherwise) {
  return base::one_day * request.query_number("days", otherwise, 1, most_days);
}

std::vector<std::pair<base::Instant, base::Instant>> asleep(const Request& request) {
  std::vector<std::pair<base::Instant, base::Instant>> out;
  for (const auto& [name, text] : request.query) {
    if (name != "asleep") continue;
    const auto slash = text.find('/');
    std::optional<base::Instant> from;
    std::optional<base::Instant> until;
    if (slash != std::string::npos) {
      from = base::parse_instant(text.substr(0, slash));
      until = base::parse_instant(text.substr(slash + 1));
    }
    if (!from || !until || *until < *from) {
      throw ProblemError(400, "INVALID_FIELD",
                         "asleep must be FROM/TO, such as 2027-05-01/2027-05-15T12:00:00Z.");
    }
    out.emplace_back(*from, *until);
  }
  return out;
}

Json events_json(const std::vector<SimulatedEvent>& events) {
  Json out = Json::array();
  for (const auto& event : events) out.push(event_json(event));
  return out;
}

Response calendar(KeyService& keys, const Request& request) {
  const auto deadlines = LookAhead(keys).calendar(request.caller, days(request, 90));
  if (request.query_value("format") == "ics") {
    return text_response(
        200,
        to_icalendar(deadlines, keys.parts().config.get()->organization, keys.parts().clock.now()),
        "text/calendar; charset=utf-8");
  }
  Json out = Json::array();
  for (const auto& deadline : deadlines) out.push(deadline_json(deadline));
  return json_response(200, out);
}

Response import(KeyService& keys, const Request& request) {
  const JsonReader reader(request.json());
  const auto* items = reader.raw("keys").if_array();
  if (items == nullptr || items->empty() || items->size() > most_imported) {
    throw ProblemError(400, "INVALID_BODY",
                       "keys must be a list of 1 to " + std::to_string(most_imported) + " keys.");
  }
  ImportRequest wanted;
  wanted.keys = *items;
  wanted.dry_run = reader.maybe_flag("dryRun").value_or(false);
  wanted.first_row = reader.maybe_number("firstRow").value_or(1);
  const auto answer = import_keys(keys, request.caller, wanted);
  Json ids = Json::array();
  if (!wanted.dry_run) {
    for (const auto& key : answer.keys) ids.push(key.id);
  }
  return json_response(wanted.dry_run ? 200 : 201,
                       Json::object({{"dryRun", wanted.dry_run},
                                     {"count", answer.keys.size()},
                                     {"ids", std::move(ids)},
                                     {"next60Days", events_json(answer.next)}}));
}

}  // namespace

void add_look_ahead_routes(Router& router, KeyService& keys) {
  router
      .add(Method::get, "/admin/keys/simulate", Access::local(),
           [&keys](const Request& request, const Params&) {
             return json_response(200, events_json(LookAhead(keys).simulate(
                                           request.caller, days(request, 30), asleep(request))));
           })
      .describe("Every transition and mail of the coming days, changing nothing")
      .query("days", "1 to 3660", "integer")
      .query("asleep", "FROM/TO, as if the daemon were down in between")
      .answers(200);
  router
      .add(Method::get, "/admin/keys/calendar", Access::local(),
           [&keys](const Request& request, const Params&) { return calendar(keys, request); })
      .describe("Coming deadlines")
      .query("days", "1 to 3660", "integer")
      .query("format", "ics for iCalendar")
      .answers(200);
  router
      .add(Method::get, "/admin/keys/why", Access::local(),
           [&keys](const Request& request, const Params&) {
             return json_response(
                 200, LookAhead(keys).why(request.caller,
                                          std::string(request.query_value("id").value_or(""))));
           })
      .describe("Which timers of a key run, what happens next, who is told")
      .query("id", "The key's id")
      .answers(200)
      .answers(404, "Problem");
  router
      .add(Method::post, "/admin/keys/import", Access::local(),
           [&keys](const Request& request, const Params&) { return import(keys, request); })
      .describe("Takes over existing keys; all or nothing")
      .answers(200)
      .answers(201)
      .answers(400, "Problem")
      .answers(409, "Problem");
}

}  // namespace sallyport::daemon

#include "daemon/outbox/notice_routes.h"

#include <array>
#include <string>

#include "daemon/outbox/destination.h"
#include "daemon/outbox/retry.h"
#include "notify/facts.h"
#include "store/notices.h"

namespace sallyport::daemon {
namespace {

using store::Notice;
using store::NoticeState;
using store::Unit;

constexpr std::int64_t default_page = 100;
constexpr std::int64_t largest_page = 1000;

struct StateName {
  NoticeState state;
  const char* name;
};
constexpr std::array state_names{StateName{NoticeState::pending, "pending"},
                                 StateName{NoticeState::claimed, "claimed"},
                                 StateName{NoticeState::sent, "sent"},
                                 StateName{NoticeState::failed, "failed"},
                                 StateName{NoticeState::not_applicable, "not_applicable"},
                                 StateName{NoticeState::superseded, "superseded"},
                                 StateName{NoticeState::cancelled, "cancelled"}};

constexpr const char* notice_schema = R"json({
  "type": "object",
  "properties": {
    "id": {"type": "string"},
    "subjectType": {"type": "string", "description": "api_key, file, ssh_key, pgp_key, token, ..."},
    "subjectId": {"type": "string"},
    "subjectName": {"type": ["string", "null"]},
    "kind": {"type": "string"},
    "cycle": {"type": "string", "format": "date-time", "description": "The deadline it is about; the clock's start for inactivity"},
    "offset": {"type": "integer", "description": "Seconds before the deadline; 0 when it has happened"},
    "recipient": {"type": ["string", "null"]},
    "channel": {"type": "string", "enum": ["mail", "webhook"]},
    "role": {"type": "string", "description": "Why this recipient gets it"},
    "state": {"type": "string", "enum": ["pending", "claimed", "sent", "failed", "not_applicable", "superseded", "cancelled"]},
    "created": {"type": "string", "format": "date-time"},
    "due": {"type": "string", "format": "date-time"},
    "nextAttempt": {"type": ["string", "null"], "format": "date-time"},
    "attempts": {"type": "integer"},
    "answer": {"type": ["string", "null"], "description": "What the server said last"},
    "finished": {"type": ["string", "null"], "format": "date-time"},
    "messageId": {"type": "string"}}})json";
constexpr const char* page_schema = R"json({
  "type": "object",
  "required": ["items", "next"],
  "properties": {
    "items": {"type": "array", "items": {"$ref": "#/components/schemas/Notice"}},
    "next": {"type": ["string", "null"], "description": "The value of after for the next page"}}})json";

std::string name_of(NoticeState state) {
  for (const StateName& each : state_names) {
    if (each.state == state) return each.name;
  }
  return {};
}

Json instant(const std::optional<base::Instant>& at) {
  return at ? Json(base::format_iso(*at)) : Json();
}

Json text(const std::string& value) {
  return value.empty() ? Json() : Json(value);
}

/// What people call the subject; its id says which one it is.
std::string subject_name(const notify::Facts& facts) {
  if (facts.key) return facts.key->name;
  if (facts.file) return facts.file->name;
  if (facts.credential)
    return facts.credential->label.empty() ? facts.credential->fingerprint
                                           : facts.credential->label;
  if (facts.expectation) return facts.partner + "/" + facts.expectation->object;
  if (facts.health) return facts.health->condition;
  return facts.partner;
}

Json to_json(const Notice& notice, const Config& config) {
  const bool mail = notice.channel == store::Channel::mail;
  const auto facts = notify::parse_facts(notice.facts);
  return Json::object(
      {{"id", notice.id},
       {"subjectType", notice.subject_type},
       {"subjectId", notice.subject_id},
       {"subjectName", facts ? text(subject_name(*facts)) : Json()},
       {"kind", notice.kind},
       {"cycle", base::format_iso(base::from_unix(notice.cycle))},
       {"offset", notice.offset},
       {"recipient", text(notice.recipient)},
       {"channel", mail ? "mail" : "webhook"},
       {"role", notice.role},
       {"state", name_of(notice.state)},
       {"created", base::format_iso(notice.created)},
       {"due", base::format_iso(notice.due)},
       {"nextAttempt",
        notice.state == NoticeState::pending ? instant(notice.next_attempt) : Json()},
       {"attempts", notice.attempts},
       {"answer", text(notice.answer)},
       {"finished", instant(notice.finished)},
       // A webhook's receiver sees the notice's id itself.
       {"messageId", mail ? Json(message_id_of(notice, config)) : Json(notice.id)}});
}

Notice find_or_404(const NoticeRouteParts& parts, const std::string& id) {
  auto notice = parts.store.read([&](Unit& unit) { return store::find_notice(unit, id); });
  if (!notice) throw ProblemError(404, "NOTICE_NOT_FOUND", "There is no notice " + id + ".");
  return std::move(*notice);
}

store::NoticeFilter filter_of(const Request& request) {
  const auto value_of = [&](std::string_view name) {
    return std::string(request.query_value(name).value_or(""));
  };
  store::NoticeFilter filter;
  filter.subject_id = value_of("subject");
  filter.recipient = value_of("recipient");
  filter.kind = value_of("kind");
  if (!filter.kind.empty() && !notify::parse_kind(filter.kind)) {
    throw ProblemError(400, "INVALID_PARAMETER",
                       "kind must be a kind of notices, such as key_expiring or file_failed.");
  }
  if (const std::string wanted = value_of("state"); !wanted.empty()) {
    std::string known;
    for (const StateName& each : state_names) {
      if (wanted == each.name) filter.state = each.state;
      known += (known.empty() ? "" : ", ") + std::string(each.name);
    }
    if (!filter.state) {
      throw ProblemError(400, "INVALID_PARAMETER", "state must be one of " + known + ".");
    }
  }
  return filter;
}

Response list(const NoticeRouteParts& parts, const Request& request) {
  const store::NoticeFilter filter = filter_of(request);
  const auto limit =
      static_cast<unsigned>(request.query_number("limit", default_page, 1, largest_page));
  std::optional<Notice> after;
  if (const auto id = request.query_value("after"); id && !id->empty()) {
    after = find_or_404(parts, std::string(*id));
  }
  // One more than asked for tells whether there is another page.
  auto notices = parts.store.read([&](Unit& unit) {
    return store::list_notices(unit, filter, after ? &*after : nullptr, limit + 1);
  });
  const bool more = notices.size() > limit;
  if (more) notices.resize(limit);
  const auto config = parts.config.get();
  Json items = Json::array();
  for (const Notice& notice : notices) items.push(to_json(notice, *config));
  Json answer = Json::object({{"items", std::move(items)}});
  answer.set("next", more ? Json(notices.back().id) : Json());
  return json_response(200, answer);
}

Response requeue(const NoticeRouteParts& parts, const Request& request, const std::string& id) {
  const Notice before = find_or_404(parts, id);
  parts.store.write([&](Unit& unit) {
    if (!requeue_notice(unit, id, parts.clock.now())) {
      throw ProblemError(409, "NOTICE_NOT_FAILED",
                         "Only a notice that was given up can be requeued; this one is " +
                             name_of(before.state) + ".");
    }
    ActivityEntry entry;
    entry.actor = request.caller.actor();
    entry.source = request.caller.source;
    entry.operation = "REQUEUE";
    entry.resource_type = "NOTICE";
    entry.resource_id = id;
    entry.resource_name = before.kind;
    entry.changes = Json::object({{"state", Json::object({{"old", "failed"}, {"new", "pending"}})},
                                  {"recipient", before.recipient}});
    parts.activity.append(unit, entry);
  });
  parts.waker.wake("outbox");
  return json_response(200, to_json(find_or_404(parts, id), *parts.config.get()));
}

}  // namespace

void add_notice_routes(Router& router, const NoticeRouteParts& parts) {
  router.schema("Notice", notice_schema);
  router.schema("Notices", page_schema);
  const std::string base = "/rest/organizations/{org}/notices";
  router
      .add(Method::get, base, Access::privilege("PLATFORM/API_KEY/VIEW"),
           [parts](const Request& request, const Params&) { return list(parts, request); })
      .describe("Notices by mail and webhook, newest first")
      .query("state", "Only in this state, such as pending, sent or failed")
      .query("subject", "Only about the key, file or credential of this id")
      .query("recipient", "Only to this mail address or webhook")
      .query("kind", "Only of this kind, such as key_expiring")
      .query("limit", "How many, 1 to 1000", "integer")
      .query("after", "The id of the last notice of the page before")
      .answers(200, "Notices");
  router
      .add(Method::get, base + "/{id}", Access::privilege("PLATFORM/API_KEY/VIEW"),
           [parts](const Request&, const Params& params) {
             return json_response(200,
                                  to_json(find_or_404(parts, params["id"]), *parts.config.get()));
           })
      .describe("One notice and what became of it")
      .answers(200, "Notice")
      .answers(404);
  router.add(Method::post, "/admin/notices/{id}/requeue", Access::local(),
             [parts](const Request& request, const Params& params) {
               return requeue(parts, request, params["id"]);
             });
}

}  // namespace sallyport::daemon

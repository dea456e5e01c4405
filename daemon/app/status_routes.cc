#include "daemon/app/status_routes.h"

#include <fmt/format.h>

#include "daemon/partners/sheet.h"
#include "store/notices.h"

namespace sallyport::daemon {
namespace {

constexpr std::chrono::minutes advance_patience{9};
constexpr base::Seconds most_advance = 10 * 366 * base::one_day;

Json milliseconds(base::Instant at) {
  return base::to_unix(at) * 1000;
}

// With the one condition that is no event but what one sees when one looks: a front that is away.
Json health_json(const StatusParts& parts) {
  Json all = Json::array();
  for (const HealthCondition& one : parts.health.list()) {
    all.push(Json::object(
        {{"name", one.name}, {"sentence", one.sentence}, {"since", milliseconds(one.since)}}));
  }
  if (parts.broker != nullptr && !parts.broker->front().connected) {
    all.push(Json::object({{"name", "sftp.away"},
                           {"sentence",
                            "sallyport-sftp is not connected: partners cannot log in; run "
                            "'systemctl status sallyport-sftp'"},
                           {"since", nullptr}}));
  }
  return all;
}

Json scheduler_json(Scheduler& scheduler) {
  Json all = Json::array();
  for (const Scheduler::Status& one : scheduler.status()) {
    Json work = Json::object({{"name", one.name}});
    work.set("next", one.next ? milliseconds(*one.next) : Json());
    work.set("running", one.running);
    work.set("passes", static_cast<std::int64_t>(one.passes));
    work.set_if("problem", one.problem.empty() ? Json() : Json(one.problem));
    all.push(std::move(work));
  }
  return all;
}

Json clock_json(const StatusParts& parts) {
  Json json = Json::object({{"now", milliseconds(parts.clock.now())},
                            {"trusted", parts.watch.final_transitions_allowed()}});
  json.set("testClock", parts.test_clock != nullptr);
  if (parts.test_clock != nullptr) json.set("offsetSeconds", parts.clock.offset().count());
  return json;
}

// What the store counts; null where it does not answer.
Json notice_counts(store::Store& store) {
  try {
    return store.read([](store::Unit& unit) {
      return Json::object({{"pending", store::count_notices(unit, store::NoticeState::pending)},
                           {"failed", store::count_notices(unit, store::NoticeState::failed)},
                           {"sent", store::count_notices(unit, store::NoticeState::sent)}});
    });
  } catch (const store::Error&) {
    return {};
  }
}

Response status(const StatusParts& parts) {
  const auto config = parts.config.get();
  const Json health = health_json(parts);
  Json json = Json::object({{"organization", config->organization},
                            {"version", SALLYPORT_VERSION},
                            {"node", parts.node},
                            {"store", config->store.driver},
                            {"healthy", health.if_array()->empty()},
                            {"health", health},
                            {"leading", parts.leadership.leading()}});
  json.set("keyValues", static_cast<std::int64_t>(parts.key_values()));
  json.set("connections", static_cast<std::int64_t>(parts.connections()));
  json.set("notices", notice_counts(parts.store));
  json.set("clock", clock_json(parts));
  json.set("scheduler", scheduler_json(parts.scheduler));
  if (parts.broker != nullptr) {
    const BrokerServer::Front front = parts.broker->front();
    json.set(
        "sftp",
        Json::object({{"connected", front.connected},
                      {"listening", Json::array_of(front.listening)},
                      {"sessions", static_cast<std::int64_t>(parts.broker->sessions().size())}}));
  }
  return json_response(200, json);
}

Response sessions(const StatusParts& parts) {
  Json all = Json::array();
  if (parts.broker != nullptr) {
    for (const SessionControl::Session& one : parts.broker->sessions()) {
      all.push(Json::object({{"partner", one.partner},
                             {"address", one.address},
                             {"client", one.banner},
                             {"fingerprint", one.fingerprint},
                             {"since", milliseconds(one.since)}}));
    }
  }
  return json_response(200, Json::object({{"items", all}}));
}

Response host_keys(const StatusParts& parts) {
  Json all = Json::array();
  if (parts.broker != nullptr) {
    for (const sftp::HostKeyLine& key : parts.broker->front().host_keys) {
      all.push(Json::object({{"algorithm", key.algorithm},
                             {"sha256", key.sha256},
                             {"md5", key.md5},
                             {"publicLine", key.public_line},
                             {"sshfp", key.sshfp},
                             {"staged", key.staged}}));
    }
  }
  const auto config = parts.config.get();
  return json_response(200, Json::object({{"host", public_host(*config)},
                                          {"port", config->gateway.public_port},
                                          {"items", all}}));
}

Response advance(const StatusParts& parts, const Request& request) {
  if (parts.test_clock == nullptr) {
    throw ProblemError(409, "NO_TEST_CLOCK",
                       "The clock of this daemon is the machine's. Only a test instance, started "
                       "with --test-clock, can move its own.");
  }
  const JsonReader reader(request.json());
  const auto by = base::parse_duration(reader.text("by"));
  if (!by || *by <= base::Seconds{0} || *by > most_advance) {
    throw ProblemError(400, "INVALID_DURATION",
                       "by is a length of time such as 90s, 2h or 7d, at most ten years.");
  }
  const bool done = parts.test_clock->advance(*by, parts.scheduler,
                                              std::chrono::steady_clock::now() + advance_patience);
  Json json = clock_json(parts);
  json.set("done", done);
  return json_response(200, json);
}

}  // namespace

void add_status_routes(Router& router, const StatusParts& parts) {
  router.add(Method::get, "/admin/status", Access::local(),
             [parts](const Request&, const Params&) { return status(parts); });
  router.add(Method::get, "/admin/sessions", Access::local(),
             [parts](const Request&, const Params&) { return sessions(parts); });
  router.add(Method::get, "/admin/host-keys", Access::local(),
             [parts](const Request&, const Params&) { return host_keys(parts); });
  router.add(Method::get, "/admin/clock", Access::local(), [parts](const Request&, const Params&) {
    return json_response(200, clock_json(parts));
  });
  router.add(Method::post, "/admin/clock/advance", Access::local(),
             [parts](const Request& request, const Params&) { return advance(parts, request); });
  router.add(Method::post, "/admin/clock/confirm", Access::local(),
             [parts](const Request&, const Params&) {
               parts.watch.confirm();
               parts.scheduler.wake_all();
               return json_response(200, clock_json(parts));
             });
}

}  // namespace sallyport::daemon

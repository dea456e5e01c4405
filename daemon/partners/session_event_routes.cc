#include "daemon/partners/session_event_routes.h"

#include <utility>

#include "daemon/http/query_instant.h"
#include "store/files.h"

namespace sallyport::daemon {
namespace {

constexpr std::int64_t usual_page = 50;
constexpr std::int64_t largest_page = 10'000;

Json event_json(const store::SessionEvent& event) {
  return Json::object({{"at", base::format_iso(event.at)},
                       {"partner", event.partner},
                       {"event", event.event},
                       {"path", event.path},
                       {"bytes", static_cast<std::int64_t>(event.bytes)},
                       {"durationMs", event.duration_ms},
                       {"address", event.address},
                       {"client", event.banner},
                       {"fingerprint", event.fingerprint},
                       {"detail", event.detail}});
}

}  // namespace

void add_session_event_routes(Router& router, store::Store& store) {
  router.add(
      Method::get, "/admin/session-events", Access::local(),
      [&store](const Request& request, const Params&) {
        store::SessionEventFilter filter;
        filter.partner = request.query_value("partner").value_or("");
        filter.since = query_instant(request, "since").value_or(base::Instant{});
        filter.until = query_instant(request, "until");
        const auto limit =
            static_cast<unsigned>(request.query_number("limit", usual_page, 1, largest_page));
        // One more than asked for tells whether there are others.
        auto events = store.read(
            [&](store::Unit& unit) { return store::list_session_events(unit, filter, limit + 1); });
        const bool more = events.size() > limit;
        if (more) events.resize(limit);
        Json items = Json::array();
        for (const store::SessionEvent& event : events) items.push(event_json(event));
        return json_response(200, Json::object({{"items", std::move(items)}, {"more", more}}));
      });
}

}  // namespace sallyport::daemon

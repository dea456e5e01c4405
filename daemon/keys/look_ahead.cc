#include "daemon/keys/look_ahead.h"

#include <algorithm>

#include "base/bytes.h"
#include "daemon/keys/change.h"
#include "daemon/keys/key_json.h"

namespace sallyport::daemon {

namespace {

using lifecycle::Timer;
using store::KeyState;

constexpr unsigned most_ahead = 8;
constexpr std::size_t most_at_once = 1000;  // keys in memory

std::string_view status_after(KeyState state) {
  switch (state) {
    case KeyState::expired:
      return "EXPIRED";
    case KeyState::disabled_exposed:
      return "DISABLED_EXPOSED";
    case KeyState::disabled_for_inactivity:
      return "DISABLED_FOR_INACTIVITY";
    case KeyState::revoked:
      return "REVOKED";
    case KeyState::disabled:
      return "DISABLED";
    case KeyState::enabled:
      break;
  }
  return "ENABLED";
}

std::vector<Deadline> deadlines_of(const store::ApiKey& key, const lifecycle::Policy& policy) {
  std::vector<Deadline> out;
  if (lifecycle::is_final(key.state)) return out;
  const bool enabled = key.state == KeyState::enabled;
  if (key.expires_at) {
    out.push_back({*key.expires_at, key.id, key.display_name, "EXPIRY", "EXPIRED"});
  }
  if (enabled) {
    out.push_back({lifecycle::inactivity_deadline(key, policy), key.id, key.display_name,
                   "INACTIVITY", "DISABLED_FOR_INACTIVITY"});
  }
  if (enabled && lifecycle::is_flagged(key)) {
    out.push_back(
        {*key.exposure->deadline, key.id, key.display_name, "EXPOSURE", "DISABLED_EXPOSED"});
  }
  return out;
}

std::string calendar_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\' || c == ';' || c == ',') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else if (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) {
      out += c;
    }
  }
  return out;
}

/// Content lines of more than 75 octets are folded, not within a character.
void add_line(std::string& out, const std::string& line) {
  std::size_t used = 0;
  for (std::size_t i = 0; i < line.size();) {
    std::size_t length = 1;
    while (i + length < line.size() &&
           (static_cast<unsigned char>(line[i + length]) & 0xC0) == 0x80) {
      ++length;
    }
    if (used + length > 74) {
      out += "\r\n ";
      used = 1;
    }
    out.append(line, i, length);
    used += length;
    i += length;
  }
  out += "\r\n";
}

std::string calendar_instant(base::Instant instant) {
  std::string out;
  for (const char c : base::format_iso(instant)) {
    if (c != '-' && c != ':') out += c;
  }
  return out;
}

std::string_view timer_name(Timer timer) {
  switch (timer) {
    case Timer::expiry:
      return "EXPIRY";
    case Timer::inactivity:
      return "INACTIVITY";
    case Timer::exposure:
      break;
  }
  return "EXPOSURE";
}

void sort_by_time(std::vector<SimulatedEvent>& events) {
  std::stable_sort(events.begin(), events.end(), [](const auto& a, const auto& b) {
    return std::tie(a.at, a.key_id) < std::tie(b.at, b.key_id);
  });
}

Json timer_json(Timer timer, const store::ApiKey& key, const lifecycle::Policy& policy,
                base::Instant now) {
  Json out = Json::object({{"timer", std::string(timer_name(timer))}});
  const bool enabled = key.state == KeyState::enabled;
  const auto runs = [&](base::Instant deadline, std::string because) {
    out.set("runs", true);
    out.set("deadline", millis(deadline));
    out.set("because", std::move(because));
  };
  const auto rests = [&](std::string because) {
    out.set("runs", false);
    out.set("because", std::move(because));
  };
  if (lifecycle::is_final(key.state)) {
    rests("the key has ended");
    return out;
  }
  switch (timer) {
    case Timer::expiry:
      if (key.expires_at) {
        runs(*key.expires_at, "the key was made to be good through " +
                                  base::format_date(*key.expires_at - base::one_day) +
                                  (enabled ? "" : "; it is disabled, so nobody is told"));
      } else {
        rests("the key was made to never expire");
      }
      break;
    case Timer::inactivity: {
      if (!enabled) {
        rests("the key is disabled");
        break;
      }
      const auto clock = lifecycle::inactivity_clock(key);
      const std::string last = clock == key.activated  ? "it was activated"
                               : key.extended == clock ? "its timer was extended"
                                                       : "it was last used";
      runs(lifecycle::inactivity_deadline(key, policy),
           last + " at " + base::format_utc(clock) +
               (key.inactivity_moved_to
                    ? "; the deadline was moved, because the last warning was accepted late"
                    : ""));
      out.set("pending", now >= lifecycle::inactivity_deadline(key, policy));
      break;
    }
    case Timer::exposure:
      if (!lifecycle::is_flagged(key)) {
        rests(!key.exposure             ? "the key is not reported as exposed"
              : key.exposure->withdrawn ? "the report was withdrawn"
                                        : "the report is recorded without a deadline");
      } else if (!enabled) {
        rests("the key is reported as exposed but disabled: it cannot be activated");
      } else {
        runs(*key.exposure->deadline,
             "it was reported as exposed, severity " +
                 std::string(lifecycle::severity_name(key.exposure->severity)));
      }
      break;
  }
  return out;
}

}  // namespace

std::optional<base::Instant> LookAhead::accepted(store::Unit& unit, const store::ApiKey& key) {
  if (!key.inactivity_progress.cycle) return std::nullopt;
  return last_warning_accepted(unit, key, keys_.policy());
}

void LookAhead::add_events(store::Unit& unit, NoticeWriter& writer, const store::ApiKey& key,
                           const lifecycle::Horizon& horizon, std::vector<SimulatedEvent>& out) {
  for (const auto& prediction :
       lifecycle::predict(key, accepted(unit, key), keys_.policy(), horizon)) {
    SimulatedEvent event;
    event.at = prediction.at;
    event.key_id = key.id;
    event.key_name = key.display_name;
    if (const auto* transition = std::get_if<lifecycle::Transition>(&prediction.what)) {
      event.what = "TRANSITION";
      event.detail = status_after(transition->to);
      event.deadline = transition->at;
    } else {
      const auto& notice = std::get<lifecycle::PlannedNotice>(prediction.what);
      event.what = "MAIL";
      event.detail = notify::to_string(notice.kind);
      event.offset = notice.offset;
      event.deadline = notice.due + std::max(notice.offset, base::Seconds{0});
      for (const auto& recipient : writer.recipients(key, notice.kind)) {
        event.recipients.push_back(recipient.address);
      }
    }
    out.push_back(std::move(event));
  }
}

void LookAhead::add_events(const std::vector<store::ApiKey>& keys,
                           const lifecycle::Horizon& horizon, std::vector<SimulatedEvent>& out) {
  const auto config = keys_.parts().config.get();
  const auto events = keys_.parts().store.read([&](store::Unit& unit) {
    std::vector<SimulatedEvent> found;
    NoticeWriter writer(unit, *config, horizon.from);
    for (const auto& key : keys) add_events(unit, writer, key, horizon, found);
    return found;
  });
  out.insert(out.end(), events.begin(), events.end());
}

std::vector<SimulatedEvent> LookAhead::simulate(
    const Caller& caller, base::Seconds length,
    std::vector<std::pair<base::Instant, base::Instant>> asleep) {
  const base::Instant now = keys_.parts().clock.now();
  const lifecycle::Horizon horizon{now, now + length, std::move(asleep)};
  std::vector<SimulatedEvent> out;
  std::vector<store::ApiKey> some;
  keys_.each(caller, KeyFilter::all, [&](store::ApiKey& key) {
    some.push_back(std::move(key));
    if (some.size() < most_at_once) return;
    add_events(some, horizon, out);
    some.clear();
  });
  add_events(some, horizon, out);
  sort_by_time(out);
  return out;
}

std::vector<SimulatedEvent> LookAhead::simulate(const std::vector<store::ApiKey>& keys,
                                                base::Seconds length) {
  const base::Instant now = keys_.parts().clock.now();
  std::vector<SimulatedEvent> out;
  add_events(keys, {now, now + length, {}}, out);
  sort_by_time(out);
  return out;
}

std::vector<Deadline> LookAhead::calendar(const Caller& caller, base::Seconds length) {
  const base::Instant now = keys_.parts().clock.now();
  const auto policy = keys_.policy();
  std::vector<Deadline> out;
  keys_.each(caller, KeyFilter::all, [&](const store::ApiKey& key) {
    for (auto& deadline : deadlines_of(key, policy)) {
      if (deadline.at <= now + length) out.push_back(std::move(deadline));
    }
  });
  std::stable_sort(out.begin(), out.end(), [](const Deadline& a, const Deadline& b) {
    return std::tie(a.at, a.key_id) < std::tie(b.at, b.key_id);
  });
  return out;
}

Json LookAhead::why(const Caller& caller, const std::string& id) {
  const store::ApiKey key = keys_.get(caller, id);
  const auto policy = keys_.policy();
  const base::Instant now = keys_.parts().clock.now();
  const auto config = keys_.parts().config.get();
  Json timers = Json::array();
  for (const Timer timer : {Timer::expiry, Timer::inactivity, Timer::exposure}) {
    timers.push(timer_json(timer, key, policy, now));
  }
  Json next = Json::array();
  keys_.parts().store.read([&](store::Unit& unit) {
    NoticeWriter writer(unit, *config, now);
    std::vector<SimulatedEvent> events;
    add_events(unit, writer, key, {now, base::add(now, base::Period{110, 0, 0, 0}), {}}, events);
    if (events.size() > most_ahead) events.resize(most_ahead);
    for (const auto& event : events) next.push(event_json(event));
  });
  return Json::object({{"id", key.id},
                       {"displayName", key.display_name},
                       {"status", std::string(lifecycle::status_name(
                                      lifecycle::displayed_status(key, policy, now)))},
                       {"usable", lifecycle::is_usable(key, now)},
                       {"timers", std::move(timers)},
                       {"next", std::move(next)}});
}

std::string to_icalendar(const std::vector<Deadline>& deadlines, const std::string& organization,
                         base::Instant now) {
  std::string out;
  add_line(out, "BEGIN:VCALENDAR");
  add_line(out, "VERSION:2.0");
  add_line(out, "PRODID:-//Sallyport//API keys//EN");
  add_line(out, "X-WR-CALNAME:" + calendar_text("API keys of " + organization));
  for (const auto& deadline : deadlines) {
    const std::string identity =
        deadline.key_id + "-" + deadline.timer + "-" + std::to_string(base::to_unix(deadline.at));
    add_line(out, "BEGIN:VEVENT");
    add_line(out, "UID:" + base::to_hex(base::sha256(identity)).substr(0, 32) + "@sallyport");
    add_line(out, "DTSTAMP:" + calendar_instant(now));
    add_line(out, "DTSTART:" + calendar_instant(deadline.at));
    add_line(out, "SUMMARY:" + calendar_text("API key " + deadline.key_name + " becomes " +
                                             deadline.becomes));
    add_line(out, "DESCRIPTION:" +
                      calendar_text("Key " + deadline.key_id + ", timer " + deadline.timer + "."));
    add_line(out, "TRANSP:TRANSPARENT");
    add_line(out, "END:VEVENT");
  }
  add_line(out, "END:VCALENDAR");
  return out;
}

Json event_json(const SimulatedEvent& event) {
  Json out = Json::object({{"at", millis(event.at)},
                           {"apiKeyId", event.key_id},
                           {"displayName", event.key_name},
                           {"what", event.what},
                           {event.what == "MAIL" ? "kind" : "status", event.detail},
                           {"deadline", millis(event.deadline)}});
  if (event.what == "MAIL") {
    out.set("offsetSeconds", event.offset.count());
    out.set("recipients", Json::array_of(event.recipients));
  }
  return out;
}

Json deadline_json(const Deadline& deadline) {
  return Json::object({{"at", millis(deadline.at)},
                       {"apiKeyId", deadline.key_id},
                       {"displayName", deadline.key_name},
                       {"timer", deadline.timer},
                       {"status", deadline.becomes}});
}

}  // namespace sallyport::daemon

#include "daemon/lifecycle/events.h"

#include "daemon/lifecycle/status.h"

namespace sallyport::daemon::lifecycle {

namespace {

using store::KeyState;

Guard unchanged() {
  return {Verdict::unchanged, 0, {}, {}};
}

Guard refused(std::string code, std::string detail) {
  return {Verdict::refused, 409, std::move(code), std::move(detail)};
}

Guard ended(KeyState state, std::string_view what) {
  const std::string instead = " Create a new key from this one (duplicate) if it is still needed.";
  switch (state) {
    case KeyState::expired:
      return refused("API_KEY_EXPIRED",
                     "The key has expired and cannot be " + std::string(what) + "." + instead);
    case KeyState::revoked:
      return refused("API_KEY_REVOKED",
                     "The key was revoked and cannot be " + std::string(what) + "." + instead);
    default:
      return refused("API_KEY_EXPOSED",
                     "The key was disabled because it was exposed and cannot be " +
                         std::string(what) + "." + instead);
  }
}

Guard check_activate(const store::ApiKey& key) {
  if (key.state == KeyState::enabled) return unchanged();
  if (is_final(key.state)) return ended(key.state, "activated");
  if (cannot_be_reactivated(key.template_id)) {
    return refused("API_KEY_CANNOT_BE_REACTIVATED",
                   "A key of the template " + key.template_id +
                       " cannot be reactivated. Create a new key from this one (duplicate).");
  }
  if (is_flagged(key)) {
    return refused("API_KEY_EXPOSED",
                   "The key is reported as exposed and cannot be activated. Create a new key from "
                   "this one (duplicate), or withdraw the report if it was false.");
  }
  return {};
}

Guard check_regenerate(const store::ApiKey& key) {
  if (is_final(key.state)) return ended(key.state, "regenerated");
  if (key.state == KeyState::disabled_for_inactivity) {
    return refused("API_KEY_DISABLED_FOR_INACTIVITY",
                   "The key is disabled for inactivity. Activate it before it is regenerated, or "
                   "create a new key from this one (duplicate).");
  }
  if (is_flagged(key)) {
    return refused("API_KEY_EXPOSED",
                   "The key is reported as exposed; a new value would not lift that. Create a new "
                   "key from this one (duplicate), or withdraw the report if it was false.");
  }
  return {};
}

Guard check_extend(const store::ApiKey& key, const Policy& policy, Instant now) {
  if (is_final(key.state)) return ended(key.state, "extended");
  if (key.state != KeyState::enabled) {
    return refused("API_KEY_NOT_ENABLED",
                   "The key is disabled, so no inactivity timer runs that could be extended. "
                   "Activate the key instead.");
  }
  if (!in_inactivity_warning(key, policy, now)) {
    const Instant deadline = inactivity_deadline(key, policy);
    return refused("API_KEY_NOT_IN_WARNING_PERIOD",
                   "The key is not about to be disabled for inactivity (that would be at " +
                       base::format_utc(deadline) +
                       "), so there is nothing to extend. Extending is possible in the last " +
                       base::format_duration(policy.inactivity_warnings.empty()
                                                 ? Seconds{0}
                                                 : policy.inactivity_warnings.front()) +
                       " before that; any use of the key has the same effect.");
  }
  return {};
}

Guard check_withdraw(const store::ApiKey& key, Instant now) {
  if (!key.exposure || key.exposure->withdrawn) {
    return refused("API_KEY_NOT_EXPOSED",
                   "There is no exposure report to withdraw: the key is not reported as exposed.");
  }
  if (key.state == KeyState::disabled_exposed ||
      (key.exposure->deadline && now >= *key.exposure->deadline)) {
    return refused("EXPOSURE_DEADLINE_PASSED",
                   "The deadline of the exposure has passed, so it can no longer be withdrawn. "
                   "Create a new key from this one (duplicate).");
  }
  return {};
}

}  // namespace

std::string_view event_name(Event event) {
  switch (event) {
    case Event::activate:
      return "activate";
    case Event::disable:
      return "disable";
    case Event::revoke:
      return "revoke";
    case Event::regenerate:
      return "regenerate";
    case Event::duplicate:
      return "duplicate";
    case Event::extend:
      return "extend";
    case Event::edit:
      return "edit";
    case Event::report_exposure:
      return "report_exposure";
    case Event::withdraw_exposure:
      return "withdraw_exposure";
    case Event::remove:
      return "delete";
  }
  return "";
}

bool cannot_be_reactivated(std::string_view template_id) {
  return template_id == "CUSTOM";
}

Guard check(Event event, const store::ApiKey& key, const Policy& policy, Instant now) {
  switch (event) {
    case Event::activate:
      return check_activate(key);
    case Event::disable:
      if (key.state == KeyState::enabled) return {};
      if (key.state == KeyState::expired || key.state == KeyState::revoked) {
        return refused(key.state == KeyState::expired ? "API_KEY_EXPIRED" : "API_KEY_REVOKED",
                       "The key has ended already and is refused everywhere; there is nothing to "
                       "disable. Delete it if it is no longer wanted.");
      }
      return unchanged();
    case Event::revoke:
      if (is_final(key.state)) {
        Guard guard = ended(key.state, "revoked");
        guard.detail =
            "The key has ended already and is refused everywhere; there is nothing to revoke. "
            "Delete it if it is no longer wanted.";
        return guard;
      }
      return {};
    case Event::regenerate:
      return check_regenerate(key);
    case Event::extend:
      return check_extend(key, policy, now);
    case Event::withdraw_exposure:
      return check_withdraw(key, now);
    case Event::duplicate:
    case Event::edit:
    case Event::report_exposure:
    case Event::remove:
      return {};
  }
  return {};
}

void activate(store::ApiKey& key, Instant now) {
  key.state = KeyState::enabled;
  key.activated = now;
  key.disabled.reset();
}

void disable(store::ApiKey& key, Instant now) {
  key.state = KeyState::disabled;
  key.disabled = now;
}

void revoke(store::ApiKey& key, Instant now) {
  key.state = KeyState::revoked;
  key.disabled = now;
}

void extend(store::ApiKey& key, Instant now) {
  key.extended = now;
}

}  // namespace sallyport::daemon::lifecycle

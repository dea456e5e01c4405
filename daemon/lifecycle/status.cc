#include "daemon/lifecycle/status.h"

#include <algorithm>

namespace sallyport::daemon::lifecycle {

using store::KeyState;

std::string_view status_name(Status status) {
  switch (status) {
    case Status::enabled:
      return "ENABLED";
    case Status::soon_to_be_expired:
      return "SOON_TO_BE_EXPIRED";
    case Status::soon_to_be_disabled:
      return "SOON_TO_BE_DISABLED";
    case Status::disabled:
      return "DISABLED";
    case Status::disabled_for_inactivity:
      return "DISABLED_FOR_INACTIVITY";
    case Status::disabled_exposed:
      return "DISABLED_EXPOSED";
    case Status::expired:
      return "EXPIRED";
    case Status::revoked:
      return "REVOKED";
  }
  return "";
}

bool is_final(KeyState state) {
  return state == KeyState::expired || state == KeyState::revoked ||
         state == KeyState::disabled_exposed;
}

bool is_flagged(const store::ApiKey& key) {
  return key.exposure && !key.exposure->withdrawn && key.exposure->deadline;
}

Instant inactivity_clock(const store::ApiKey& key) {
  Instant clock = key.activated;
  if (key.last_used) clock = std::max(clock, *key.last_used);
  if (key.extended) clock = std::max(clock, *key.extended);
  return clock;
}

Instant inactivity_deadline(const store::ApiKey& key, const Policy& policy) {
  const Instant clock = inactivity_clock(key);
  if (key.inactivity_moved_to && key.inactivity_progress.cycle == clock) {
    return *key.inactivity_moved_to;
  }
  return base::end_of_day(base::add(clock, policy.inactivity));
}

Instant moved_inactivity_deadline(Instant accepted) {
  const Instant least = accepted + warning_hold;
  return base::start_of_day(least) == least ? least : base::end_of_day(least);
}

bool in_inactivity_warning(const store::ApiKey& key, const Policy& policy, Instant now) {
  if (key.state != KeyState::enabled || policy.inactivity_warnings.empty()) return false;
  return now >= inactivity_deadline(key, policy) - policy.inactivity_warnings.front();
}

Instant expiry_after(Instant from, const Period& lifetime) {
  return base::end_of_day(base::add(from, lifetime));
}

Status displayed_status(const store::ApiKey& key, const Policy& policy, Instant now) {
  if (key.state == KeyState::revoked) return Status::revoked;
  if (key.state == KeyState::disabled_exposed) return Status::disabled_exposed;
  if (key.state == KeyState::expired) return Status::expired;
  const bool expired = key.expires_at && now >= *key.expires_at;
  if (key.state == KeyState::enabled && is_flagged(key) && now >= *key.exposure->deadline &&
      !(expired && *key.expires_at < *key.exposure->deadline)) {
    return Status::disabled_exposed;
  }
  if (expired) return Status::expired;
  if (key.state == KeyState::disabled_for_inactivity) return Status::disabled_for_inactivity;
  if (key.state == KeyState::disabled) return Status::disabled;
  if (key.expires_at && !policy.expiry_warnings.empty() &&
      now >= *key.expires_at - policy.expiry_warnings.front()) {
    return Status::soon_to_be_expired;
  }
  if (in_inactivity_warning(key, policy, now)) return Status::soon_to_be_disabled;
  return Status::enabled;
}

bool is_usable(const store::ApiKey& key, Instant now) {
  if (key.state != KeyState::enabled) return false;
  if (key.expires_at && now >= *key.expires_at) return false;
  return !(is_flagged(key) && now >= *key.exposure->deadline);
}

}  // namespace sallyport::daemon::lifecycle

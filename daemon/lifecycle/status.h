// What a key is at an instant: its deadlines and the status that is displayed (spec/api-keys.md 3).
//
// Pure: no clock, store or mail.
#pragma once

#include <optional>
#include <string_view>

#include "daemon/lifecycle/policy.h"

namespace sallyport::daemon::lifecycle {

enum class Status {
  enabled,
  soon_to_be_expired,
  soon_to_be_disabled,
  disabled,
  disabled_for_inactivity,
  disabled_exposed,
  expired,
  revoked
};

/// "SOON_TO_BE_EXPIRED"
[[nodiscard]] std::string_view status_name(Status status);

/// No event leads out of it: expired, revoked, disabled for exposure.
[[nodiscard]] bool is_final(store::KeyState state);

/// A report with a deadline that has not been withdrawn.
[[nodiscard]] bool is_flagged(const store::ApiKey& key);

/// The latest of last used (allowed or denied), activation and extension (section 5).
[[nodiscard]] Instant inactivity_clock(const store::ApiKey& key);
/// When it is disabled if nobody uses it: the end of the UTC day one period after the clock's date,
/// or where that deadline has moved in the present cycle.
[[nodiscard]] Instant inactivity_deadline(const store::ApiKey& key, const Policy& policy);
/// The end of the first UTC day that lies at least 24 hours after `accepted`.
[[nodiscard]] Instant moved_inactivity_deadline(Instant accepted);
/// An enabled key within its widest inactivity warning.
[[nodiscard]] bool in_inactivity_warning(const store::ApiKey& key, const Policy& policy,
                                         Instant now);

/// The end of the UTC day that lies `lifetime` after `from` (section 4).
[[nodiscard]] Instant expiry_after(Instant from, const Period& lifetime);

/// Compares the instants themselves: it does not wait for a pass to have stored a transition.
[[nodiscard]] Status displayed_status(const store::ApiKey& key, const Policy& policy, Instant now);

/// May be used at `now`, as verification decides it.
[[nodiscard]] bool is_usable(const store::ApiKey& key, Instant now);

}  // namespace sallyport::daemon::lifecycle

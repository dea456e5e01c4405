// The numbers of the life of a key that a configuration may change (spec/api-keys.md 4 to 6).
//
// Plain values; the defaults are the documented ones.
#pragma once

#include <vector>

#include "base/instant.h"
#include "store/keys.h"

namespace sallyport::daemon::lifecycle {

using base::Instant;
using base::Period;
using base::Seconds;

/// What a person is owed before a key is disabled for inactivity: a warning that a mail server took
/// this long before.
inline constexpr Seconds warning_hold{24 * 3600};

/// A warning is mailed some moments after its due instant, never before it. One that was accepted
/// this soon counts as on time, or no key would ever be disabled on the announced day.
inline constexpr Seconds sending_allowance{5 * 60};

/// How soon a key is looked at again when its final transition has to wait for the outside: for a
/// trusted clock, for the nodes' uses, for the acceptance of a warning (which also wakes it).
inline constexpr Seconds clock_recheck{60};
inline constexpr Seconds usage_recheck{10};
inline constexpr Seconds pending_recheck{3600};

struct Policy {
  Period inactivity{1, 0, 0, 0};
  // Each from the widest to the tightest.
  std::vector<Seconds> expiry_warnings = {Seconds{7 * 86400}, Seconds{2 * 86400}};
  std::vector<Seconds> inactivity_warnings = {Seconds{30 * 86400}, Seconds{15 * 86400},
                                              Seconds{86400}};
  std::vector<Seconds> exposure_warnings = {Seconds{3 * 86400}, Seconds{86400}};

  Seconds exposure_critical{0};
  Seconds exposure_high{2 * 86400};
  Seconds exposure_medium{7 * 86400};
  Seconds exposure_low{14 * 86400};
  Seconds exposure_warn{30 * 86400};

  Seconds max_overlap{30 * 86400};

  [[nodiscard]] Seconds exposure_delay(store::Severity severity) const {
    switch (severity) {
      case store::Severity::critical:
        return exposure_critical;
      case store::Severity::high:
        return exposure_high;
      case store::Severity::medium:
        return exposure_medium;
      case store::Severity::low:
        return exposure_low;
      case store::Severity::warn:
        return exposure_warn;
    }
    return exposure_critical;
  }
};

}  // namespace sallyport::daemon::lifecycle

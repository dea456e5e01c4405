// When the end of a credential (SSH key, PGP key, token, certificate) is announced: at the warning
// offsets before it and when it comes (spec/gateway.md 1). Pure.
#pragma once

#include <optional>
#include <vector>

#include "base/instant.h"

namespace sallyport::daemon {

struct ExpiryStep {
  /// What is to be announced at `now`: that many seconds before the end, 0 = it has ended. Only the
  /// tightest of those that are past.
  std::optional<base::Seconds> announce;
  /// When to look again; none after the end.
  std::optional<base::Instant> next_due;
};

/// `warnings` longest first.
[[nodiscard]] ExpiryStep expiry_step(base::Instant expires,
                                     const std::vector<base::Seconds>& warnings, base::Instant now);
/// The first instant to look at a credential that is new at `now`: what is past by then was never
/// applicable.
[[nodiscard]] std::optional<base::Instant> first_due(const std::optional<base::Instant>& expires,
                                                     const std::vector<base::Seconds>& warnings,
                                                     base::Instant now);

}  // namespace sallyport::daemon

#include "daemon/partners/credential_expiry.h"

namespace sallyport::daemon {

ExpiryStep expiry_step(base::Instant expires, const std::vector<base::Seconds>& warnings,
                       base::Instant now) {
  if (now >= expires) return {base::Seconds{0}, std::nullopt};
  ExpiryStep step;
  for (const base::Seconds before : warnings) {
    if (expires - before <= now) {
      step.announce = before;
    } else {
      step.next_due = expires - before;
      return step;
    }
  }
  step.next_due = expires;
  return step;
}

std::optional<base::Instant> first_due(const std::optional<base::Instant>& expires,
                                       const std::vector<base::Seconds>& warnings,
                                       base::Instant now) {
  if (!expires) return std::nullopt;
  const ExpiryStep step = expiry_step(*expires, warnings, now);
  return step.next_due ? step.next_due : *expires;
}

}  // namespace sallyport::daemon

// What becomes of a notice after an attempt to send it. Pure.
#pragma once

#include "notify/delivery.h"
#include "store/notices.h"

namespace sallyport::daemon {

struct RetryPolicy {
  base::Seconds first{60};
  base::Seconds most{3600};
  base::Seconds give_up{5 * 86400};
};

/// The pause after so many failed attempts: `first`, doubled each time, at most `most`.
[[nodiscard]] base::Seconds pause_after(std::int32_t attempts, const RetryPolicy& policy);

/// Counts the attempt and makes the notice sent, failed, or pending until its next attempt. Failed
/// at once only if we ourselves refused to send it; a server's refusal is retried like silence, for
/// mailboxes and policies get mended, and given up after `give_up` from the first attempt.
void apply(store::Notice& notice, const notify::Delivery& delivery, const RetryPolicy& policy,
           base::Instant now);

/// True if `other` tells the same recipient of the same timer something tighter than `notice` does:
/// then `notice` is not worth sending any more (spec/api-keys.md 7).
[[nodiscard]] bool supersedes(const store::Notice& other, const store::Notice& notice);

/// A failed notice is tried again from the start, with the others of its digest. False, and nothing
/// changed, if it is in any other state or does not exist. Wake "outbox" after the commit.
[[nodiscard]] bool requeue_notice(store::Unit& unit, std::string_view id, base::Instant now);

}  // namespace sallyport::daemon

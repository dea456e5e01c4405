// Which notices this node sends next, and which of them go out together.
//
// A claim is a compare-and-swap on each row, so that of several nodes one sends it; it ends by
// itself. With digests switched on, the notices about expiry and inactivity to one recipient wait
// for each other for a while and are then bound into one digest for good: its row says which they
// are before anything is sent, and neither its members nor its Message-ID ever change.
//
// Within a unit of work of the store only; failures are the store's.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "store/notices.h"

namespace sallyport::daemon {

/// What is handed over at once: one notice, or a digest.
struct Parcel {
  /// Claimed by us: what becomes of the parcel becomes of each of them.
  std::vector<store::Notice> notices;
  /// Every member in the digest's order, also those that apply no more; empty: no digest.
  std::vector<store::Notice> members;
  /// No attempt was begun before this claim.
  bool fresh = false;

  [[nodiscard]] bool is_digest() const { return !members.empty(); }
};

struct ClaimPolicy {
  std::string node;
  base::Seconds length{240};
  bool digest = false;
  base::Seconds digest_wait{600};
  unsigned batch = 32;  ///< most due rows looked at
  std::size_t largest_digest = 100;
};

struct Claimed {
  std::vector<Parcel> parcels;
  bool more = false;  ///< there may be more that is due
};

[[nodiscard]] Claimed claim_due(store::Unit& unit, const ClaimPolicy& policy, base::Instant now);

}  // namespace sallyport::daemon

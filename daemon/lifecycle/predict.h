// What the very rules of the daemon will make of a key if nobody touches it: its transitions and
// mails by a virtual clock (spec/api-keys.md 11).
//
// Pure. It assumes that the outbox works: a mail is accepted a second after it is written.
#pragma once

#include <utility>
#include <variant>
#include <vector>

#include "daemon/lifecycle/evaluate.h"

namespace sallyport::daemon::lifecycle {

struct Horizon {
  Instant from{};
  Instant until{};  ///< inclusive
  /// While the daemon is down: what falls due then happens at the second instant.
  std::vector<std::pair<Instant, Instant>> asleep;
};

struct Prediction {
  Instant at{};
  std::variant<Transition, PlannedNotice> what;  ///< notices that will be mailed only
};

/// In order of time. `accepted`: Facts::warning_accepted as it is at `from`.
[[nodiscard]] std::vector<Prediction> predict(const store::ApiKey& key,
                                              std::optional<Instant> accepted, const Policy& policy,
                                              const Horizon& horizon);

}  // namespace sallyport::daemon::lifecycle

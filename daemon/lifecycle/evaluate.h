// The three timers of a key: what has become of it by `now`, what has to be announced, and when to
// look again (spec/api-keys.md 3 to 7).
//
// Pure: no clock, store or mail; safe from any thread; nothing fails. Looking at a key at every
// instant and looking at it only at its next_due give the same transitions and notices; looking
// late gives the same transitions, and of the warnings of one timer that were missed only the
// tightest is left to be mailed.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "daemon/lifecycle/policy.h"
#include "notify/facts.h"
#include "store/keys.h"
#include "store/notices.h"

namespace sallyport::daemon::lifecycle {

enum class Timer { expiry, inactivity, exposure };

/// The kind of a timer's warnings in the ledger.
[[nodiscard]] notify::Kind warning_kind(Timer timer);

/// What a rule has to know and the key does not tell.
struct Facts {
  /// When a mail server first took the tightest inactivity warning of the present cycle from us.
  /// Looked at only where needs_acceptance() says so.
  std::optional<Instant> warning_accepted;
  /// The wall clock is in doubt: final transitions wait.
  bool hold_final = false;
  /// Every node's uses up to this instant are in the key; none = all up to now.
  std::optional<Instant> usage_known_until;
};

/// A notice to be written, once for each recipient.
struct PlannedNotice {
  notify::Kind kind{};
  Timer timer{};
  Instant cycle{};
  Seconds offset{0};  ///< before the deadline; 0 = when it has happened; -n = the n-th report
  Instant due{};
  store::NoticeState state = store::NoticeState::pending;

  friend bool operator==(const PlannedNotice&, const PlannedNotice&) = default;
};

struct Transition {
  store::KeyState from{};
  store::KeyState to{};
  Timer timer{};
  Instant at{};  ///< the instant it was due

  friend bool operator==(const Transition&, const Transition&) = default;
};

struct Evaluation {
  store::ApiKey key;  ///< with its new state, progress and next_due
  std::vector<Transition> transitions;
  std::vector<PlannedNotice> notices;
  /// Timers that ended or began anew: their warnings that are still unsent are void.
  std::vector<Timer> cancelled;
  /// Past its inactivity deadline, but usable until a warning has been accepted for long enough.
  bool inactivity_pending = false;
};

/// True if evaluate() will look at Facts::warning_accepted.
[[nodiscard]] bool needs_acceptance(const store::ApiKey& key, const Policy& policy, Instant now);

[[nodiscard]] Evaluation evaluate(const store::ApiKey& key, const Facts& facts,
                                  const Policy& policy, Instant now);

}  // namespace sallyport::daemon::lifecycle

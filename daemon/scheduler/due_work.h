// Work that falls due at an instant: the one shape in which every part of the daemon tells the
// scheduler when it wants to run. Nobody polls and nobody else sleeps until a wall-clock instant.
//
// The scheduler gives each kind its own thread: passes of one kind never overlap, passes of
// different kinds do. After each pass, and after wake(), it asks earliest() again. An exception out
// of either raises health ("scheduler.<name>") and the kind is tried again with growing pauses
// (1 s to 1 min).
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "base/instant.h"

namespace sallyport::daemon {

class DueWork {
 public:
  virtual ~DueWork() = default;

  /// Stable and short: "lifecycle", "outbox", "files", "activity", "tokens". Constant.
  [[nodiscard]] virtual std::string name() const = 0;
  /// When the next pass is due; in the past means now, nullopt means when woken. May ask the store.
  [[nodiscard]] virtual std::optional<base::Instant> earliest() = 0;
  /// One bounded batch of what is due at `now`. true = there is more, call again at once.
  virtual bool run_pass(base::Instant now) = 0;
  /// True: of the nodes that share a store only the one that holds the scheduler's lease runs it.
  /// False: each node runs its own (outbox and pipeline claim rows; usage is a node's own).
  [[nodiscard]] virtual bool leader_only() const { return false; }
  /// For kinds that go on in threads of their own after run_pass() returned: blocks until nothing
  /// that was due is left, or `deadline`. Called by drain() only.
  virtual void settle(std::chrono::steady_clock::time_point deadline) { (void)deadline; }
};

/// What the parts see of the scheduler.
class Waker {
 public:
  virtual ~Waker() = default;
  /// Something changed: asks earliest() of that kind again, soon, and runs it if it is due. Cheap,
  /// never blocks, any thread. Call it after the commit.
  virtual void wake(std::string_view name) noexcept = 0;
  /// Something that is due at `at` was added, and nothing else changed: as wake(), but asks nobody
  /// where a time is enough. For what happens often and is due late.
  virtual void wake_at(std::string_view name, base::Instant at) noexcept {
    (void)at;
    wake(name);
  }
};

/// Whether final transitions (expiry, deactivation) may be made now. They wait after the wall clock
/// stepped by more than an hour against the boot clock, until it is synchronised or an operator
/// confirms it (spec/api-keys.md 12). Any thread.
class ClockGuard {
 public:
  virtual ~ClockGuard() = default;
  [[nodiscard]] virtual bool final_transitions_allowed() const = 0;
};

/// For tests and tools.
class NoWaker final : public Waker {
 public:
  void wake(std::string_view) noexcept override {}
};
class TrustedClock final : public ClockGuard {
 public:
  [[nodiscard]] bool final_transitions_allowed() const override { return true; }
};

}  // namespace sallyport::daemon

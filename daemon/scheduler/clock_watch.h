// Notices when the wall clock steps against the machine's boot clock, and holds final transitions
// back until the clock can be believed again (spec/api-keys.md 12). A machine that slept is no
// step: the boot clock counts sleep.
//
// Thread-safe. Nothing here fails.
#pragma once

#include <chrono>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "base/clock.h"
#include "daemon/health.h"
#include "daemon/scheduler/due_work.h"

namespace sallyport::daemon {

class ClockWatch final : public ClockGuard {
 public:
  /// `synchronised` says whether the machine's clock is known to be right now (an NTP service
  /// says so).
  ClockWatch(const base::Clock& clock, Health& health, std::function<bool()> synchronised);

  struct Policy {
    bool wait = true;  ///< false: a step is logged and nothing waits
    base::Seconds step{3600};
  };
  void set_policy(Policy policy);

  /// Compares the clocks. Returns true if there was a step since the last call. Also ends the
  /// waiting when the clock has become synchronised. Called on every turn of the scheduler.
  bool look();
  /// The operator says that the wall clock is right.
  void confirm();
  /// A step of ours (a test instance's clock): `move` makes it, and look() does not find it.
  void step(base::Seconds by, const std::function<void()>& move);
  /// As if a step had been seen: what a restart takes over from before.
  void distrust(const std::string& why);

  [[nodiscard]] bool final_transitions_allowed() const override;
  /// Told, without a lock held, whenever the answer of final_transitions_allowed() changes.
  void on_change(std::function<void(bool allowed)> callback) { changed_ = std::move(callback); }

 private:
  using Milliseconds = std::chrono::milliseconds;
  [[nodiscard]] Milliseconds difference() const;
  void allow(bool allowed, const std::string& why);

  const base::Clock& clock_;
  Health& health_;
  const std::function<bool()> synchronised_;
  std::function<void(bool)> changed_;
  mutable std::mutex mutex_;
  Policy policy_;
  Milliseconds difference_;  ///< wall minus boot clock when last looked at
  bool allowed_ = true;
};

/// What the kernel says about this machine's clock: true while an NTP service keeps it right. False
/// where it may not be asked.
[[nodiscard]] bool machine_clock_is_synchronised();

}  // namespace sallyport::daemon

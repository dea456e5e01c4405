// Runs due work when it is due: sleeps until the earliest instant of all kinds on a timerfd of
// CLOCK_REALTIME that a clock set cancels, so that a step of the clock wakes it too.
//
// Ownership: the works outlive the scheduler; add() all before start().
// Threads: one that watches the clock, and one for each kind. wake(), drain() and the others may be
// called from any thread. Failures: see due_work.h; only the constructor throws (no timerfd).
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/c_handle.h"
#include "base/clock.h"
#include "daemon/health.h"
#include "daemon/scheduler/clock_watch.h"
#include "daemon/scheduler/due_work.h"

namespace sallyport::daemon {

class Scheduler final : public Waker {
 public:
  /// `leading` says whether leader_only() kinds may run on this node now.
  Scheduler(const base::Clock& clock, Health& health, ClockWatch& watch,
            std::function<bool()> leading);
  ~Scheduler() override;  ///< stop()
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  void add(DueWork& work);
  void start();
  /// Lets running passes end.
  void stop();

  void wake(std::string_view name) noexcept override;
  void wake_at(std::string_view name, base::Instant at) noexcept override;
  /// Asks every kind again: after a clock set, a reload, or a change of leadership.
  void wake_all() noexcept;

  /// Runs until nothing that is due now is left anywhere; false at the deadline. What cannot be
  /// done now (a store that is away, transitions that wait) does not count.
  [[nodiscard]] bool drain(std::chrono::steady_clock::time_point deadline);

  struct Status {
    std::string name;
    std::optional<base::Instant> next;
    bool running = false;
    std::uint64_t passes = 0;
    std::string problem;  ///< why the last pass failed, or empty
  };
  [[nodiscard]] std::vector<Status> status();

  /// When the watching thread last went round, by the boot clock: for the watchdog.
  [[nodiscard]] std::chrono::nanoseconds last_alive() const {
    return std::chrono::nanoseconds{last_alive_.load()};
  }

 private:
  struct Kind;
  void watch_clock();
  void run(Kind& kind);
  void one_turn(Kind& kind);
  void arm(std::optional<base::Instant> earliest);
  void poke() noexcept;
  static void call(Kind& kind) noexcept;
  [[nodiscard]] bool idle(const Kind& kind, base::Instant now) const;

  const base::Clock& clock_;
  Health& health_;
  ClockWatch& watch_;
  const std::function<bool()> leading_;
  base::UniqueFd timer_;
  base::UniqueFd poked_;  ///< eventfd: something about the next instants changed
  std::mutex mutex_;
  std::condition_variable changed_;  ///< a turn has ended
  std::vector<std::unique_ptr<Kind>> kinds_;
  std::uint64_t progress_ = 0;  ///< passes that did something
  bool stopping_ = false;
  std::atomic<std::int64_t> last_alive_{0};
  std::thread watcher_;
};

}  // namespace sallyport::daemon

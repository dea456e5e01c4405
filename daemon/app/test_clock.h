// The clock of a test instance: real time plus an offset that `clock advance` moves and that the
// store remembers, so that a restarted instance does not go back in time. Without --test-clock the
// offset is zero and nothing here can be reached.
//
// Thread-safe. Failures are the store's.
#pragma once

#include "base/clock.h"
#include "daemon/scheduler/clock_watch.h"
#include "daemon/scheduler/scheduler.h"
#include "store/store.h"

namespace sallyport::daemon {

class TestClock {
 public:
  TestClock(base::SystemClock& clock, ClockWatch& watch, store::Store& store)
      : clock_(clock), watch_(watch), store_(store) {}

  /// Goes to the remembered offset.
  void restore();
  /// Moves the clock and remembers it, then works off everything that is due. False if that was
  /// not done by the deadline.
  [[nodiscard]] bool advance(base::Seconds by, Scheduler& scheduler,
                             std::chrono::steady_clock::time_point deadline);

 private:
  base::SystemClock& clock_;
  ClockWatch& watch_;
  store::Store& store_;
};

}  // namespace sallyport::daemon

// Waiting awake: to be put to sleep and woken costs a few dozen microseconds, which is what a peer
// on the same machine or wire often takes to answer.
//
// Threads: any. Only poll(), sched_yield() and the clock's calls are made, which a session's
// sandbox allows.
#pragma once

#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>

#include <chrono>
#include <ctime>

namespace sallyport::sftp {

/// Naps are as short as they are asked for: a thread's timers may be 50 us late otherwise. Before
/// its sandbox is entered.
inline void nap_exactly() noexcept {
  (void)::prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
}

/// Calls `look` until it is true; false if it is not by `end`, or as soon as others had use for the
/// processor for long, which is given away between looks: who keeps many sessions awake takes
/// little time from anybody but them.
template <class Look>
bool awake_until(std::chrono::steady_clock::time_point end, Look look) {
  using Clock = std::chrono::steady_clock;
  // A look takes a microsecond or two when nobody else runs in between. A local client that works
  // on our answer meanwhile, on this processor, is worth waiting for: it is how its next word
  // comes.
  constexpr std::chrono::microseconds somebody_ran{8};
  constexpr std::chrono::microseconds others_ran{100};
  // Newer kernels (6.6) yield within a group alone, which each service and each terminal is, and
  // leave who sleeps in a queue that it has had its share of (6.12): there it is woken, behind us,
  // and had to wait for up to 100 us, a fifth of the time of small files (perf sched, 6.18). One
  // nap empties the queue, and it is woken where nobody runs.
  constexpr timespec nap{0, 5'000};
  auto looked = Clock::now();
  while (!look()) {
    ::sched_yield();
    const auto now = Clock::now();
    if (now >= end || now - looked > others_ran) return false;
    if (now - looked > somebody_ran) {
      (void)::clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, nullptr);
      looked = Clock::now();
    } else {
      looked = now;
    }
  }
  return true;
}

/// True as soon as `fd` has something to read (or has ended).
inline bool readable_by(int fd, std::chrono::steady_clock::time_point end) {
  pollfd entry{fd, POLLIN, 0};
  return awake_until(end, [&entry] { return ::poll(&entry, 1, 0) != 0; });
}

}  // namespace sallyport::sftp

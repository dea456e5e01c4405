// Waiting awake: to be put to sleep and woken costs a few dozen microseconds, which is what a peer
// on the same machine or wire often takes to answer.
//
// Threads: any. Only poll(), sched_yield() and the clock are called, which a session's sandbox
// allows.
#pragma once

#include <poll.h>
#include <sched.h>

#include <chrono>

namespace sallyport::sftp {

/// Calls `look` until it is true; false if it is not by `end`, or as soon as others had use for the
/// processor for long, which is given away between looks: who keeps many sessions awake takes
/// little time from anybody but them.
template <class Look>
bool awake_until(std::chrono::steady_clock::time_point end, Look look) {
  using Clock = std::chrono::steady_clock;
  // A look takes a microsecond or two when nobody else runs in between. A local client that works
  // on our answer meanwhile, on this processor, is worth waiting for: it is how its next word
  // comes.
  constexpr std::chrono::microseconds others_ran{100};
  auto looked = Clock::now();
  while (!look()) {
    ::sched_yield();
    const auto now = Clock::now();
    if (now >= end || now - looked > others_ran) return false;
    looked = now;
  }
  return true;
}

/// True as soon as `fd` has something to read (or has ended).
inline bool readable_by(int fd, std::chrono::steady_clock::time_point end) {
  pollfd entry{fd, POLLIN, 0};
  return awake_until(end, [&entry] { return ::poll(&entry, 1, 0) != 0; });
}

}  // namespace sallyport::sftp

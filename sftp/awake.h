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

/// True as soon as `fd` has something to read (or has ended); false if it has not by `end`, or as
/// soon as somebody else had use for the processor, which is given away between looks: who keeps
/// many sessions awake takes no time from anybody but them.
inline bool readable_by(int fd, std::chrono::steady_clock::time_point end) {
  using Clock = std::chrono::steady_clock;
  // A look takes a microsecond or two when nobody else runs in between.
  constexpr std::chrono::microseconds others_ran{20};
  pollfd entry{fd, POLLIN, 0};
  auto looked = Clock::now();
  while (::poll(&entry, 1, 0) == 0) {
    ::sched_yield();
    const auto now = Clock::now();
    if (now >= end || now - looked > others_ran) return false;
    looked = now;
  }
  return true;
}

}  // namespace sallyport::sftp

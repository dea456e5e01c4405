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

/// True as soon as `fd` has something to read (or has ended); false if it has not by `end`. Gives
/// the processor away between looks.
inline bool readable_by(int fd, std::chrono::steady_clock::time_point end) {
  pollfd entry{fd, POLLIN, 0};
  while (::poll(&entry, 1, 0) == 0) {
    if (std::chrono::steady_clock::now() >= end) return false;
    ::sched_yield();
  }
  return true;
}

}  // namespace sallyport::sftp

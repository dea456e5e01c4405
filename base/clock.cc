#include "base/clock.h"

#include <ctime>

namespace sallyport::base {
namespace {

std::chrono::nanoseconds read(clockid_t id) {
  timespec time{};
  ::clock_gettime(id, &time);  // cannot fail for these clocks
  return std::chrono::seconds{time.tv_sec} + std::chrono::nanoseconds{time.tv_nsec};
}

}  // namespace

std::chrono::sys_time<std::chrono::milliseconds> SystemClock::now_ms() const {
  using std::chrono::milliseconds;
  return std::chrono::sys_time<milliseconds>{
      std::chrono::floor<milliseconds>(read(CLOCK_REALTIME)) + offset()};
}

std::chrono::nanoseconds SystemClock::monotonic() const {
  return read(CLOCK_BOOTTIME);
}

}  // namespace sallyport::base

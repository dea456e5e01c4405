// Wall and monotonic clock behind one interface. Rules never see it: they take `now`.
//
// Thread-safe. Nothing here fails.
#pragma once

#include <atomic>
#include <chrono>

#include "base/instant.h"

namespace sallyport::base {

class Clock {
 public:
  virtual ~Clock() = default;
  /// The wall clock, UTC, in milliseconds.
  [[nodiscard]] virtual std::chrono::sys_time<std::chrono::milliseconds> now_ms() const = 0;
  /// Never goes back, counts the time asleep too (CLOCK_BOOTTIME).
  [[nodiscard]] virtual std::chrono::nanoseconds monotonic() const = 0;

  [[nodiscard]] Instant now() const { return std::chrono::floor<Seconds>(now_ms()); }
};

/// The machine's clocks, the wall clock moved by an offset that is zero unless a test instance
/// moves it (`clock advance`, only with --test-clock).
class SystemClock final : public Clock {
 public:
  [[nodiscard]] std::chrono::sys_time<std::chrono::milliseconds> now_ms() const override;
  [[nodiscard]] std::chrono::nanoseconds monotonic() const override;

  void advance(Seconds by) { offset_.fetch_add(by.count()); }
  [[nodiscard]] Seconds offset() const { return Seconds{offset_.load()}; }

 private:
  std::atomic<std::int64_t> offset_{0};
};

/// A clock that stands still until a test sets it.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(Instant start) : seconds_(to_unix(start)) {}
  [[nodiscard]] std::chrono::sys_time<std::chrono::milliseconds> now_ms() const override {
    return from_unix(seconds_.load());
  }
  [[nodiscard]] std::chrono::nanoseconds monotonic() const override {
    return Seconds{seconds_.load()};
  }

  void set(Instant now) { seconds_.store(to_unix(now)); }
  void advance(Seconds by) { seconds_.fetch_add(by.count()); }

 private:
  std::atomic<std::int64_t> seconds_;
};

}  // namespace sallyport::base

// Who gets one of a few things next. What somebody waits for (an answer to a partner, to a gateway,
// to an administrator) goes before work in the background, which has every eighth turn all the
// same, so that it goes on however much the others want. Where there is but one thing, a burst of
// what somebody waits for is not broken into either: the background waits until it is calm.
//
// Threads: any. Nothing here fails.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace sallyport::store {

class Turns {
 public:
  /// It is calm when nothing of the foreground has come for `calm`.
  explicit Turns(unsigned limit, std::chrono::milliseconds calm = {})
      : limit_(limit), calm_(calm) {}

  /// Waits for a turn; false if none came within `patience`.
  [[nodiscard]] bool take(bool background, std::chrono::milliseconds patience);
  void give_back(bool background) noexcept;
  /// How many wait now.
  [[nodiscard]] unsigned waiting();

 private:
  struct Line {
    std::condition_variable called;
    unsigned waiting = 0;
  };
  using Clock = std::chrono::steady_clock;
  [[nodiscard]] bool backgrounds_turn() const;
  [[nodiscard]] bool may_take(bool background, Clock::time_point now) const;
  void wait(bool background, std::unique_lock<std::mutex>& lock, Clock::time_point now,
            Clock::time_point deadline);
  void call_next();

  const unsigned limit_;
  const Clock::duration calm_;
  std::mutex mutex_;
  unsigned in_use_ = 0;
  unsigned in_a_row_ = 0;  ///< turns of the foreground since the last one of the background
  Clock::time_point calm_at_;
  bool watched_ = false;  ///< one of the background waits for the calm, for all of them
  Line foreground_;
  Line background_;
};

}  // namespace sallyport::store

#include "store/turns.h"

#include <algorithm>

namespace sallyport::store {
namespace {

constexpr unsigned most_in_a_row = 7;

}  // namespace

// Under the mutex.
bool Turns::backgrounds_turn() const {
  return in_a_row_ >= most_in_a_row;
}

bool Turns::may_take(bool background, Clock::time_point now) const {
  if (in_use_ >= limit_) return false;
  if (!background) return background_.waiting == 0 || !backgrounds_turn();
  return backgrounds_turn() || (foreground_.waiting == 0 && now >= calm_at_);
}

bool Turns::take(bool background, std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  Line& own = background ? background_ : foreground_;
  const auto deadline = Clock::now() + patience;
  ++own.waiting;
  bool got = false;
  for (;;) {
    const auto now = Clock::now();
    got = may_take(background, now);
    if (got || now >= deadline) break;
    wait(background, lock, now, deadline);
  }
  --own.waiting;
  // Another has to watch from now on.
  if (background && !watched_ && calm_ > Clock::duration::zero()) background_.called.notify_one();
  if (!got) {
    // The call that this one slept through, or the turn that it had by its waiting, is another's.
    if (in_use_ < limit_) call_next();
    return false;
  }
  ++in_use_;
  in_a_row_ = background ? 0 : std::min(in_a_row_ + 1, most_in_a_row);
  // With more than one thing there may be one left for the other line.
  if (in_use_ < limit_) call_next();
  return true;
}

// Nobody tells when it has become calm: one of the background looks for itself. If each were called
// whenever the foreground is done, that would be in the way of what comes next.
void Turns::wait(bool background, std::unique_lock<std::mutex>& lock, Clock::time_point now,
                 Clock::time_point deadline) {
  if (!background || watched_ || calm_ == Clock::duration::zero()) {
    (background ? background_ : foreground_).called.wait_until(lock, deadline);
    return;
  }
  watched_ = true;
  background_.called.wait_until(lock, std::min(now < calm_at_ ? calm_at_ : now + calm_, deadline));
  watched_ = false;
}

// Under the mutex. Both lines, as either may be the one whose turn it is not.
void Turns::call_next() {
  if (foreground_.waiting > 0) foreground_.called.notify_one();
  if (background_.waiting > 0) background_.called.notify_one();
}

void Turns::give_back(bool background) noexcept {
  const std::lock_guard lock(mutex_);
  --in_use_;
  bool calm = true;
  if (calm_ > Clock::duration::zero()) {
    const auto now = Clock::now();
    if (!background) calm_at_ = now + calm_;
    calm = now >= calm_at_;
  }
  const bool to_background =
      background_.waiting > 0 && (backgrounds_turn() || (calm && foreground_.waiting == 0));
  (to_background ? background_ : foreground_).called.notify_one();
}

unsigned Turns::waiting() {
  const std::lock_guard lock(mutex_);
  return foreground_.waiting + background_.waiting;
}

}  // namespace sallyport::store

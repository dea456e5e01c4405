#include "store/turns.h"

#include <algorithm>

namespace sallyport::store {
namespace {

constexpr unsigned most_in_a_row = 7;

}  // namespace

// Under the mutex, and while both wait.
bool Turns::backgrounds_turn() const {
  return in_a_row_ >= most_in_a_row;
}

bool Turns::take(bool background, std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  Line& own = background ? background_ : foreground_;
  const Line& other = background ? foreground_ : background_;
  ++own.waiting;
  const bool got = own.called.wait_for(lock, patience, [&] {
    return in_use_ < limit_ && (other.waiting == 0 || backgrounds_turn() == background);
  });
  --own.waiting;
  if (!got) {
    // The call that this one slept through, or the turn that it had by its waiting, is another's.
    if (in_use_ < limit_) {
      foreground_.called.notify_one();
      background_.called.notify_one();
    }
    return false;
  }
  ++in_use_;
  in_a_row_ = background ? 0 : std::min(in_a_row_ + 1, most_in_a_row);
  // With more than one thing there may be one left for the other line.
  if (in_use_ < limit_) {
    foreground_.called.notify_one();
    background_.called.notify_one();
  }
  return true;
}

void Turns::give_back() noexcept {
  {
    const std::lock_guard lock(mutex_);
    --in_use_;
    const bool background =
        background_.waiting > 0 && (foreground_.waiting == 0 || backgrounds_turn());
    (background ? background_ : foreground_).called.notify_one();
  }
}

unsigned Turns::waiting() {
  const std::lock_guard lock(mutex_);
  return foreground_.waiting + background_.waiting;
}

}  // namespace sallyport::store

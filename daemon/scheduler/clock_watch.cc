#include "daemon/scheduler/clock_watch.h"

#include <sys/timex.h>

#include <cstdlib>

#include "base/log.h"

namespace sallyport::daemon {
namespace {

constexpr std::string_view condition = "clock.stepped";

}  // namespace

ClockWatch::ClockWatch(const base::Clock& clock, Health& health, std::function<bool()> synchronised)
    : clock_(clock),
      health_(health),
      synchronised_(std::move(synchronised)),
      difference_(difference()) {}

void ClockWatch::set_policy(Policy policy) {
  const std::lock_guard lock(mutex_);
  policy_ = policy;
}

ClockWatch::Milliseconds ClockWatch::difference() const {
  return clock_.now_ms().time_since_epoch() -
         std::chrono::duration_cast<Milliseconds>(clock_.monotonic());
}

bool ClockWatch::look() {
  Milliseconds step{0};
  bool stepped = false;
  bool waits = false;
  {
    const std::lock_guard lock(mutex_);
    const Milliseconds now = difference();
    step = now - difference_;
    stepped = std::chrono::abs(step) > policy_.step;
    waits = stepped && policy_.wait;
    // Small differences are the clock being slewed; they must not add up to a step.
    difference_ = now;
    // With the difference, or a pass could run between the two and take the step for believed.
    if (waits) allowed_ = false;
  }
  if (stepped) {
    const auto seconds = std::chrono::duration_cast<base::Seconds>(step).count();
    base::log_warning("clock.stepped", {{"seconds", seconds}},
                      "The wall clock stepped by {} s against the boot clock", seconds);
    if (waits) {
      allow(false, fmt::format("The wall clock stepped by {} s: keys are not expired or "
                               "deactivated until it is synchronised. If it is right, run "
                               "'sallyportctl clock confirm'.",
                               seconds));
    }
  }
  if (!stepped && !final_transitions_allowed() && synchronised_()) {
    allow(true, "the clock is synchronised");
  }
  return stepped;
}

void ClockWatch::confirm() {
  {
    const std::lock_guard lock(mutex_);
    difference_ = difference();  // what is confirmed is the clock as it is now
  }
  allow(true, "an operator confirmed the clock");
}

void ClockWatch::step(base::Seconds by, const std::function<void()>& move) {
  const std::lock_guard lock(mutex_);
  move();
  difference_ += by;
}

void ClockWatch::distrust(const std::string& why) {
  allow(false, why);
}

bool ClockWatch::final_transitions_allowed() const {
  const std::lock_guard lock(mutex_);
  // A step that look() has not come to see yet counts already.
  const bool stepped = policy_.wait && std::chrono::abs(difference() - difference_) > policy_.step;
  return allowed_ && !stepped;
}

void ClockWatch::allow(bool allowed, const std::string& why) {
  {
    const std::lock_guard lock(mutex_);
    if (allowed_ == allowed && allowed) return;
    allowed_ = allowed;
  }
  if (allowed) {
    base::log_notice("clock.trusted", {}, "Final transitions go on: {}", why);
    health_.clear(condition);
  } else {
    health_.raise(condition, why);
  }
  if (changed_) changed_(allowed);
}

bool machine_clock_is_synchronised() {
  timex state{};
  const int answer = ::adjtimex(&state);
  return answer != -1 && answer != TIME_ERROR && (state.status & STA_UNSYNC) == 0;
}

}  // namespace sallyport::daemon

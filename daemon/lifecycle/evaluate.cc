#include "daemon/lifecycle/evaluate.h"

#include <algorithm>
#include <array>
#include <tuple>

#include "daemon/lifecycle/status.h"

namespace sallyport::daemon::lifecycle {

namespace {

using store::KeyState;
using store::NoticeState;

constexpr std::array all_timers{Timer::exposure, Timer::expiry, Timer::inactivity};

/// The instant a timer began: offsets before it were never applicable.
struct Running {
  Timer timer{};
  Instant cycle{};
  Instant begin{};
  Instant deadline{};
  const std::vector<Seconds>* warnings = nullptr;
  store::TimerProgress* progress = nullptr;
};

struct Event {
  Running timer;
  Instant at{};
  bool final = false;
  std::size_t warning = 0;
};

class Evaluator {
 public:
  Evaluator(const store::ApiKey& key, const Facts& facts, const Policy& policy, Instant now)
      : facts_(facts), policy_(policy), now_(now) {
    result_.key = key;
  }

  Evaluation run() {
    reset_ended_cycles();
    while (const auto event = next_event()) {
      if (event->at > now_) {
        look_again(event->at);
        break;
      }
      if (event->final) {
        pass_deadline(*event);
      } else {
        pass_warning(*event);
      }
    }
    supersede_all_but_the_tightest();
    if (is_final(key().state)) next_due_.reset();
    key().next_due = next_due_;
    return std::move(result_);
  }

 private:
  store::ApiKey& key() { return result_.key; }
  bool enabled() { return key().state == KeyState::enabled; }

  store::TimerProgress& progress(Timer timer) {
    switch (timer) {
      case Timer::expiry:
        return key().expiry_progress;
      case Timer::inactivity:
        return key().inactivity_progress;
      case Timer::exposure:
        break;
    }
    return key().exposure_progress;
  }

  /// The timer as it runs now; nullopt if it does not.
  std::optional<Running> running(Timer timer) {
    if (is_final(key().state)) return std::nullopt;
    Running out;
    out.timer = timer;
    out.progress = &progress(timer);
    switch (timer) {
      case Timer::expiry:
        if (!key().expires_at) return std::nullopt;
        out.cycle = out.deadline = *key().expires_at;
        out.begin = key().created;
        out.warnings = &policy_.expiry_warnings;
        return out;
      case Timer::inactivity:
        if (!enabled()) return std::nullopt;
        out.cycle = out.begin = inactivity_clock(key());
        out.deadline = inactivity_deadline(key(), policy_);
        out.warnings = &policy_.inactivity_warnings;
        return out;
      case Timer::exposure:
        if (!is_flagged(key())) return std::nullopt;
        out.cycle = out.deadline = *key().exposure->deadline;
        out.begin = key().exposure->created;
        for (const auto& reason : key().exposure->reasons) {
          if (reason.applied) out.begin = std::max(out.begin, reason.created);
        }
        out.warnings = &policy_.exposure_warnings;
        return out;
    }
    return std::nullopt;
  }

  /// A warning of a cycle that is over must not be mailed any more.
  void reset_ended_cycles() {
    for (const Timer timer : all_timers) {
      store::TimerProgress& state = progress(timer);
      if (!state.cycle) continue;
      const auto now_running = running(timer);
      if (now_running && now_running->cycle == *state.cycle) continue;
      if (!now_running && is_final(key().state)) continue;
      state = {};
      if (timer == Timer::inactivity) key().inactivity_moved_to.reset();
      cancel(timer);
    }
    if (!enabled()) key().inactivity_moved_to.reset();
  }

  static bool was_passed_at_begin(const Running& timer, Instant due) {
    // "3 days before if the deadline was further away than that"; a key that begins to live on the
    // very instant of its 7 days is announced.
    return timer.timer == Timer::exposure ? due <= timer.begin : due < timer.begin;
  }

  /// The earliest thing to come of all timers that are not waiting. At one instant the end of a key
  /// comes before warnings about it, and exposure before expiry before inactivity, as statuses do.
  std::optional<Event> next_event() {
    std::optional<Event> best;
    for (const Timer timer : all_timers) {
      if (waiting_[static_cast<std::size_t>(timer)]) continue;
      const auto now_running = running(timer);
      if (!now_running) continue;
      const auto event = event_of(*now_running);
      if (event &&
          (!best || std::tuple(event->at, !event->final) < std::tuple(best->at, !best->final))) {
        best = event;
      }
    }
    return best;
  }

  std::optional<Event> event_of(const Running& timer) {
    const std::size_t handled =
        timer.progress->cycle ? static_cast<std::size_t>(timer.progress->handled) : 0;
    for (std::size_t i = handled; i < timer.warnings->size(); ++i) {
      const Instant due = timer.deadline - (*timer.warnings)[i];
      if (!was_passed_at_begin(timer, due)) return Event{timer, due, false, i};
      // Recorded when the timer begins. That of inactivity begins anew with every use, so there it
      // is recorded together with the first warning that does apply.
      if (timer.timer != Timer::inactivity) return Event{timer, timer.begin, false, i};
    }
    // A deadline ends an enabled key; a disabled one only by expiry.
    if (timer.timer == Timer::exposure && !enabled()) return std::nullopt;
    return Event{timer, timer.deadline, true, timer.warnings->size()};
  }

  void plan(const Running& timer, notify::Kind kind, Seconds offset, Instant due,
            NoticeState state) {
    result_.notices.push_back(PlannedNotice{kind, timer.timer, timer.cycle, offset, due, state});
  }

  /// Records the offsets before `upto` that the timer found passed when it began.
  void plan_not_applicable(const Running& timer, std::size_t upto) {
    timer.progress->cycle = timer.cycle;
    for (auto i = static_cast<std::size_t>(timer.progress->handled); i < upto; ++i) {
      const Seconds offset = (*timer.warnings)[i];
      plan(timer, warning_kind(timer.timer), offset, timer.deadline - offset,
           NoticeState::not_applicable);
    }
    timer.progress->handled = static_cast<std::int32_t>(upto);
  }

  void pass_warning(const Event& event) {
    plan_not_applicable(event.timer, event.warning);
    const Seconds offset = (*event.timer.warnings)[event.warning];
    const Instant due = event.timer.deadline - offset;
    const bool applies = enabled() && !was_passed_at_begin(event.timer, due);
    plan(event.timer, warning_kind(event.timer.timer), offset, due,
         applies ? NoticeState::pending : NoticeState::not_applicable);
    event.timer.progress->handled = static_cast<std::int32_t>(event.warning + 1);
  }

  void wait(Timer timer, Instant until) {
    waiting_[static_cast<std::size_t>(timer)] = true;
    look_again(until);
  }

  void look_again(Instant at) {
    if (!next_due_ || at < *next_due_) next_due_ = at;
  }

  void cancel(Timer timer) {
    if (std::find(result_.cancelled.begin(), result_.cancelled.end(), timer) ==
        result_.cancelled.end()) {
      result_.cancelled.push_back(timer);
    }
  }

  void pass_deadline(const Event& event) {
    if (facts_.hold_final) {
      wait(event.timer.timer, now_ + clock_recheck);
      return;
    }
    switch (event.timer.timer) {
      case Timer::exposure:
        // Flagged and ended at once: one mail says both.
        finish(event, KeyState::disabled_exposed,
               event.timer.deadline <= event.timer.begin ? notify::Kind::exposure_critical
                                                         : notify::Kind::exposure_disabled,
               NoticeState::pending);
        key().disabled = event.at;
        return;
      case Timer::expiry:
        finish(event, KeyState::expired, notify::Kind::key_expired,
               enabled() ? NoticeState::pending : NoticeState::not_applicable);
        return;
      case Timer::inactivity:
        if (may_disable_for_inactivity(event)) {
          finish(event, KeyState::disabled_for_inactivity, notify::Kind::key_inactive_disabled,
                 NoticeState::pending);
          key().disabled = now_;  // it was usable until this very moment
        }
        return;
    }
  }

  /// False if it waits or the deadline has moved.
  bool may_disable_for_inactivity(const Event& event) {
    const bool moved = key().inactivity_moved_to.has_value();  // it moves once
    if (!moved && !facts_.warning_accepted) {
      result_.inactivity_pending = true;
      wait(Timer::inactivity, now_ + pending_recheck);
      return false;
    }
    if (!moved && *facts_.warning_accepted + warning_hold > event.at + sending_allowance) {
      event.timer.progress->cycle = event.timer.cycle;
      key().inactivity_moved_to = moved_inactivity_deadline(*facts_.warning_accepted);
      return false;
    }
    if (facts_.usage_known_until && *facts_.usage_known_until < event.at) {
      wait(Timer::inactivity, now_ + usage_recheck);
      return false;
    }
    return true;
  }

  void finish(const Event& event, KeyState to, notify::Kind kind, NoticeState state) {
    plan_not_applicable(event.timer, event.warning);
    const bool was_enabled = enabled();
    result_.transitions.push_back(Transition{key().state, to, event.timer.timer, event.at});
    if (was_enabled) {
      for (auto& notice : result_.notices) {
        if (notice.state == NoticeState::pending && notice.offset > Seconds{0}) {
          notice.state = NoticeState::superseded;
        }
      }
      for (const Timer timer : all_timers) cancel(timer);
    }
    plan(event.timer, kind, Seconds{0}, event.at, state);
    event.timer.progress->handled = static_cast<std::int32_t>(event.timer.warnings->size() + 1);
    key().state = to;
    if (to == KeyState::disabled_for_inactivity) {
      key().inactivity_progress = {};
      key().inactivity_moved_to.reset();
    }
  }

  void supersede_all_but_the_tightest() {
    auto& notices = result_.notices;
    for (std::size_t i = 0; i < notices.size(); ++i) {
      if (notices[i].state != NoticeState::pending) continue;
      for (std::size_t j = i + 1; j < notices.size(); ++j) {
        if (notices[j].timer == notices[i].timer && notices[j].cycle == notices[i].cycle &&
            notices[j].state == NoticeState::pending) {
          notices[i].state = NoticeState::superseded;
          break;
        }
      }
    }
  }

  const Facts& facts_;
  const Policy& policy_;
  const Instant now_;
  Evaluation result_;
  std::array<bool, 3> waiting_{};
  std::optional<Instant> next_due_;
};

}  // namespace

notify::Kind warning_kind(Timer timer) {
  switch (timer) {
    case Timer::expiry:
      return notify::Kind::key_expiring;
    case Timer::inactivity:
      return notify::Kind::key_inactive;
    case Timer::exposure:
      break;
  }
  return notify::Kind::exposure_deadline;
}

bool needs_acceptance(const store::ApiKey& key, const Policy& policy, Instant now) {
  return key.state == KeyState::enabled && key.inactivity_progress.cycle == inactivity_clock(key) &&
         !key.inactivity_moved_to && now >= inactivity_deadline(key, policy);
}

Evaluation evaluate(const store::ApiKey& key, const Facts& facts, const Policy& policy,
                    Instant now) {
  return Evaluator(key, facts, policy, now).run();
}

}  // namespace sallyport::daemon::lifecycle

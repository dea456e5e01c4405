#include "daemon/lifecycle/predict.h"

#include <algorithm>

#include "daemon/lifecycle/status.h"

namespace sallyport::daemon::lifecycle {

namespace {

constexpr Seconds mail_takes{1};

Instant awake(Instant at, const Horizon& horizon) {
  for (const auto& [from, until] : horizon.asleep) {
    if (at >= from && at < until) return until;
  }
  return at;
}

bool is_last_warning(const PlannedNotice& notice, const Policy& policy) {
  return notice.kind == notify::Kind::key_inactive && !policy.inactivity_warnings.empty() &&
         notice.offset == policy.inactivity_warnings.back();
}

}  // namespace

std::vector<Prediction> predict(const store::ApiKey& key, std::optional<Instant> accepted,
                                const Policy& policy, const Horizon& horizon) {
  std::vector<Prediction> out;
  store::ApiKey state = key;
  Instant now = awake(horizon.from, horizon);
  while (now <= horizon.until) {
    Facts facts;
    if (accepted && *accepted <= now) facts.warning_accepted = accepted;
    Evaluation evaluation = evaluate(state, facts, policy, now);
    state = std::move(evaluation.key);
    for (const auto& transition : evaluation.transitions) out.push_back({now, transition});
    for (const auto& notice : evaluation.notices) {
      if (notice.state != store::NoticeState::pending) continue;
      out.push_back({now, notice});
      if (is_last_warning(notice, policy)) accepted = now + mail_takes;
    }
    if (!state.next_due) break;
    Instant next = std::max(*state.next_due, now + Seconds{1});
    if (evaluation.inactivity_pending) {
      if (accepted && *accepted > now) {
        next = std::min(next, *accepted);  // the acceptance wakes it
      } else if (!accepted) {
        // A warning that was mailed before `from` and is not accepted yet: it will be soon.
        accepted = now + mail_takes;
        next = std::min(next, *accepted);
      }
    }
    now = awake(next, horizon);
  }
  return out;
}

}  // namespace sallyport::daemon::lifecycle

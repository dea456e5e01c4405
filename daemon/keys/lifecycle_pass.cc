#include "daemon/keys/lifecycle_pass.h"

#include <algorithm>

#include "base/log.h"
#include "daemon/keys/change.h"
#include "store/cluster.h"

namespace sallyport::daemon {

namespace {

/// Small enough that a batch holds the store's writer for tens of milliseconds only.
constexpr unsigned batch_keys = 500;
/// The clock by which keys were told to wait while it was not trusted: for the run after this one.
constexpr std::string_view distrusted_clock = "lifecycle.distrusted_clock";
/// Longer than any rule tells a key to wait (lifecycle/policy.h).
constexpr base::Seconds longest_recheck{2 * 3600};
static_assert(longest_recheck > lifecycle::pending_recheck &&
              longest_recheck > lifecycle::clock_recheck &&
              longest_recheck > lifecycle::usage_recheck);

}  // namespace

bool KeyService::run_lifecycle(base::Instant now, std::optional<base::Instant> usage_known_until) {
  const auto config = parts_.config.get();
  struct Batch {
    std::vector<Outcome> done;
    bool more = false;
  };
  const Batch batch = parts_.store.write([&](store::Unit& unit) {
    Batch out;
    auto due = store::due_keys(unit, now, batch_keys);
    out.more = due.size() == batch_keys;
    NoticeWriter writer(unit, *config, now);
    for (auto& key : due) {
      Change change(*this, unit, writer, nullptr, now);
      change.take(std::move(key));
      change.settle(usage_known_until);
      change.store_or_retry();
      out.done.push_back(change.outcome());
    }
    return out;
  });
  for (const auto& outcome : batch.done) {
    if (outcome.verification) {
      base::log_notice(
          "key.ended",
          {{"key", outcome.key.id},
           {"status",
            lifecycle::status_name(lifecycle::displayed_status(outcome.key, policy(), now))}},
          "key {} ({}) is now {}", outcome.key.id, outcome.key.display_name,
          lifecycle::status_name(lifecycle::displayed_status(outcome.key, policy(), now)));
    }
    finish_in_pass(outcome);
  }
  if (!batch.done.empty()) parts_.waker.wake("outbox");
  return batch.more;
}

void KeyService::warning_accepted(std::string_view key_id) noexcept {
  const base::Instant now = parts_.clock.now();
  try {
    const auto config = parts_.config.get();
    const auto outcome = parts_.store.write([&](store::Unit& unit) -> std::optional<Outcome> {
      auto key = store::find_key(unit, key_id);
      if (!key || !lifecycle::needs_acceptance(*key, policy(), now)) return std::nullopt;
      NoticeWriter writer(unit, *config, now);
      Change change(*this, unit, writer, nullptr, now);
      change.take(std::move(*key));
      change.settle();
      change.store_or_retry();
      return change.outcome();
    });
    if (outcome) finish(*outcome);
  } catch (const std::exception& error) {
    // The key looks for itself within the hour.
    base::log_warning("key.not_woken", {{"key", key_id}},
                      "key {} could not be told that its warning was accepted: {}", key_id,
                      error.what());
  }
}

std::optional<base::Instant> LifecyclePass::earliest() {
  if (const auto now = keys_.parts().clock.now(); went_back(now)) return now;
  return keys_.parts().store.read([](store::Unit& unit) { return store::earliest_due(unit); });
}

base::Instant LifecyclePass::latest() {
  if (!latest_) {
    const auto text = keys_.parts().store.read(
        [](store::Unit& unit) { return store::get_setting(unit, distrusted_clock); });
    latest_ = base::parse_instant(text.value_or("")).value_or(base::Instant{});
  }
  return *latest_;
}

void LifecyclePass::look_again(base::Instant now) {
  const base::Instant until = latest() + longest_recheck;
  const unsigned count = keys_.parts().store.write([&](store::Unit& unit) {
    store::put_setting(unit, distrusted_clock, "");
    return store::bring_forward_due_keys(unit, now, until);
  });
  base::log_notice("keys.clock_went_back", {{"keys", count}},
                   "The clock was at {} and is at {} now: {} keys are looked at again",
                   base::format_utc(*latest_), base::format_utc(now), count);
  latest_ = now;
}

bool LifecyclePass::run_pass(base::Instant now) {
  if (went_back(now)) look_again(now);
  latest_ = std::max(latest(), now);
  if (!keys_.parts().clock_guard.final_transitions_allowed()) {
    keys_.parts().store.write([&](store::Unit& unit) {
      store::put_setting(unit, distrusted_clock, base::format_iso(now));
    });
  }
  return keys_.run_lifecycle(now, usage_known_until(now));
}

std::optional<base::Instant> LifecyclePass::usage_known_until(base::Instant now) {
  if (!flush_) return std::nullopt;
  base::Instant known = flush_();
  const auto config = keys_.parts().config.get();
  if (!config->store.shared) return known;
  const auto& here = keys_.parts().activity.node();
  const auto nodes =
      keys_.parts().store.read([](store::Unit& unit) { return store::list_nodes(unit); });
  for (const auto& node : nodes) {
    // One that has not been heard of for so long denies everything: it has no uses to tell of.
    if (node.name == here || node.last_seen + config->verify.max_staleness < now) continue;
    known = std::min(known, node.usage_flushed);
  }
  return known;
}

}  // namespace sallyport::daemon

// The life of keys as due work: wakes at the earliest next_due, takes due keys in batches and
// commits what the rules say (spec/api-keys.md 12).
//
// What a key waits for counts from the clock of the pass. A clock that was set far ahead for a
// while would leave keys waiting in a future that is not to come soon: when time has gone back
// since the last pass, everything that is due up to there is looked at again.
//
// The scheduler's thread only. Failures are the store's; the batch is then run again.
#pragma once

#include <functional>
#include <optional>

#include "daemon/keys/key_service.h"
#include "daemon/scheduler/due_work.h"

namespace sallyport::daemon {

class LifecyclePass final : public DueWork {
 public:
  /// Writes this node's uses of keys to the store and says up to which instant they are there.
  using FlushUsage = std::function<base::Instant()>;

  /// Without `flush` every use is taken to be in the store (a tool, a test).
  LifecyclePass(KeyService& keys, FlushUsage flush) : keys_(keys), flush_(std::move(flush)) {}

  [[nodiscard]] std::string name() const override { return "lifecycle"; }
  [[nodiscard]] std::optional<base::Instant> earliest() override;
  bool run_pass(base::Instant now) override;
  [[nodiscard]] bool leader_only() const override { return true; }

 private:
  [[nodiscard]] std::optional<base::Instant> usage_known_until(base::Instant now);

  /// The latest clock that a pass has gone by, also of a run before this one if it was distrusted.
  [[nodiscard]] base::Instant latest();
  [[nodiscard]] bool went_back(base::Instant now) { return now + tolerated < latest(); }
  void look_again(base::Instant now);

  /// Clocks are slewed by less.
  static constexpr base::Seconds tolerated{120};

  KeyService& keys_;
  FlushUsage flush_;
  std::optional<base::Instant> latest_;
};

}  // namespace sallyport::daemon

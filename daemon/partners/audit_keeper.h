// Removes what the audit of sessions has kept for as long as gateway.audit_keep says. What is due
// is looked for once a day, by its time alone; no more than an hour of it goes in one commit, so
// that nobody else waits for the store while years are removed after a policy has become shorter.
//
// The scheduler's; on one node of those that share a store. Failures are the store's.
#pragma once

#include <optional>
#include <string>

#include "daemon/config/config.h"
#include "daemon/scheduler/due_work.h"
#include "store/store.h"

namespace sallyport::daemon {

class AuditKeeper final : public DueWork {
 public:
  AuditKeeper(store::Store& store, const LiveConfig& config) : store_(store), config_(config) {}

  [[nodiscard]] std::string name() const override { return "audit"; }
  [[nodiscard]] std::optional<base::Instant> earliest() override { return next_; }
  bool run_pass(base::Instant now) override;
  [[nodiscard]] bool leader_only() const override { return true; }

 private:
  store::Store& store_;
  const LiveConfig& config_;
  std::optional<base::Instant> next_ = base::Instant{};
  std::uint64_t removed_ = 0;  ///< in the passes of this day
};

}  // namespace sallyport::daemon

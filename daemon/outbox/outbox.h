// Sends the notices of the ledger: takes due rows by compare-and-swap, hands each to the mail
// server or its webhook, records the answer, retries with growing pauses (spec/api-keys.md 7).
//
// The row is the notice, and its record is the promise: exactly one record, at least one delivery
// or a visible failure, a repeat only after a crash between the server's answer and our commit. An
// answer that the store did not take is therefore kept in memory and recorded before anything else
// is sent. A claim ends by itself, so that another node goes on where this one died; this node
// takes its own claims back when it starts.
//
// Threads: the scheduler calls earliest() and run_pass(); stop() may come from any thread. Webhooks
// are called from threads of a pass that end with it, so that a slow one does not hold up mail.
// Failures: the store's are thrown (the scheduler retries); everything else is recorded in the
// ledger and raises health: "mail.unreachable", "webhook.<name>", "notices.failed".
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/locked.h"
#include "daemon/activity/activity_log.h"
#include "daemon/config/config.h"
#include "daemon/health.h"
#include "daemon/outbox/destination.h"
#include "daemon/outbox/retry.h"
#include "daemon/scheduler/due_work.h"
#include "store/notices.h"

namespace sallyport::daemon {

class Outbox final : public DueWork {
 public:
  /// `activity` names this node too: no two nodes that share a store may have the same name.
  Outbox(store::Store& store, const LiveConfig& config, const base::Clock& clock, Health& health,
         const ActivityLog& activity);
  ~Outbox() override;

  [[nodiscard]] std::string name() const override { return "outbox"; }
  [[nodiscard]] std::optional<base::Instant> earliest() override;
  bool run_pass(base::Instant now) override;

  /// Called after each notice that was accepted, once that is recorded; set before the first pass.
  /// Must not throw.
  void on_sent(std::function<void(const store::Notice&)> told) { sent_ = std::move(told); }

  /// Ends the pass under way within a moment; what is unsent goes back to the ledger.
  void stop() noexcept;

 private:
  struct Lane;

  void record_what_is_left();
  void take_back_own_claims(base::Instant now);
  [[nodiscard]] std::vector<Lane> sort_into_lanes(std::vector<Parcel> parcels);
  void work_off(Lane& lane) noexcept;
  [[nodiscard]] bool still_ours(Lane& lane, std::size_t at);
  void renew_claims(Lane& lane, std::size_t from);
  void give_back(Lane& lane, std::size_t from);
  void record(const Parcel& parcel, const notify::Delivery& delivery);
  void write_result(store::Unit& unit, store::Notice& notice);
  void report(const store::Notice& notice) const;
  void update_health(const std::vector<Lane>& lanes);

  store::Store& store_;
  const LiveConfig& config_;
  const base::Clock& clock_;
  Health& health_;
  const ActivityLog& activity_;

  /// The mail server under "", webhooks by name. Entries are made before a pass starts threads.
  base::Locked<std::map<std::string, std::unique_ptr<Destination>>> destinations_;
  /// Answers that the store has not taken yet.
  base::Locked<std::vector<store::Notice>> unrecorded_;
  /// Rows may be claimed by us that no pass holds: at the start, and after the store was away.
  bool take_back_ = true;
  std::atomic<bool> stopping_{false};
  std::function<void(const store::Notice&)> sent_;
};

}  // namespace sallyport::daemon

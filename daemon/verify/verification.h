// Everything behind /verify, put together and kept up to date: the table, gateway tokens, usage,
// and a thread that loads, reloads, and follows the changes of other nodes.
//
// Ownership: store, clock, waker and health outlive it. start() does not throw: while the store
// does not answer everything is denied, health says so, and loading is tried again. stop() writes
// the usage that is still in memory. Any thread after start().
#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "daemon/health.h"
#include "daemon/scheduler/due_work.h"
#include "daemon/verify/verifier.h"
#include "store/store.h"

namespace sallyport::daemon {

struct VerificationOptions {
  unsigned io_threads = 2;
  base::Seconds usage_flush{10};
  base::Seconds max_staleness{15 * 60};
  /// Not empty: other nodes share the store; this is ours.
  std::string node;
  std::vector<IpRange> trusted_proxies;
  ProfileRules rules;
};

class Verification final : public AccessObserver {
 public:
  Verification(VerificationOptions options, store::Store& store, const base::Clock& clock,
               Waker& waker, Health& health);
  ~Verification() override;
  Verification(const Verification&) = delete;
  Verification& operator=(const Verification&) = delete;

  void start();
  void stop();
  /// What may change while it runs: everything but threads and node. Any thread.
  void use(const VerificationOptions& options);

  /// For the server.
  [[nodiscard]] GatewayHandler& handler() { return verifier_; }
  /// For whoever changes keys.
  [[nodiscard]] KeyObserver& keys() { return table_; }
  /// For the scheduler; its flush() also for a pass that must know of every use up to now.
  [[nodiscard]] UsageBuffer& usage() { return usage_; }
  /// Gateway tokens changed on this node.
  void access_changed() override;

  [[nodiscard]] std::size_t values() const { return table_.size(); }

 private:
  void run();
  void load();
  void follow();
  void prune();

  VerificationOptions options_;
  store::Store& store_;
  const base::Clock& clock_;
  Health& health_;
  VerificationTable table_;
  GatewayTokens tokens_;
  UsageBuffer usage_;
  Freshness freshness_;
  Verifier verifier_;

  std::int64_t followed_ =
      0;  ///< the upkeep thread's: the last change of a key that is in the table
  std::chrono::nanoseconds pruned_{};
  bool loaded_ = false;
  bool tokens_unsure_ = false;  // guarded by mutex_

  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace sallyport::daemon

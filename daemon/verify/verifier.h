// /verify and /introspect (spec/api-keys.md 8): may this key do this, from there, now?
//
// Threads: answer() from every I/O thread at once, without a lock and without the store. Nothing
// fails: what cannot be told is denied.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/locked.h"
#include "daemon/http/gateway_handler.h"
#include "daemon/net/ip.h"
#include "daemon/verify/gateway_tokens.h"
#include "daemon/verify/table.h"
#include "daemon/verify/usage.h"

namespace sallyport::daemon {

/// Whether what this node knows can still be believed: not before the keys were loaded, and not
/// when it has not heard for too long from a store that others change too.
class Freshness {
 public:
  /// Without a limit (nobody else changes the store) nothing that was loaded is ever stale.
  void limit(base::Seconds max_staleness) {
    limit_ = std::chrono::nanoseconds(max_staleness).count();
  }
  void heard(std::chrono::nanoseconds monotonic) {
    heard_ = monotonic.count();
    loaded_ = true;
  }
  [[nodiscard]] std::chrono::nanoseconds last_heard() const {
    return std::chrono::nanoseconds(heard_);
  }
  [[nodiscard]] bool stale(const base::Clock& clock) const {
    if (!loaded_.load(std::memory_order_relaxed)) return true;
    const auto most = limit_.load(std::memory_order_relaxed);
    return most != 0 && clock.monotonic().count() - heard_.load() > most;
  }

 private:
  std::atomic<bool> loaded_{false};
  std::atomic<std::int64_t> limit_{0};
  std::atomic<std::int64_t> heard_{0};
};

/// What an operator may change while verifications go on.
struct VerifierPolicy {
  std::vector<IpRange> trusted_proxies;
  std::vector<std::string> restricted_domains;
};

class Verifier final : public GatewayHandler {
 public:
  Verifier(const VerificationTable& table, const GatewayTokens& tokens, UsageBuffer& usage,
           const Freshness& freshness, const base::Clock& clock, VerifierPolicy policy);

  /// From the next request on. Any thread.
  void use(VerifierPolicy policy);

  int answer(const GatewayRequest& request, std::string& headers,
             std::string& body) noexcept override;

 private:
  struct Presented;
  struct Judgement;

  [[nodiscard]] bool may_ask(const GatewayRequest& request, const Presented& presented) const;
  [[nodiscard]] bool speaks_for_clients(const GatewayRequest& request) const;
  [[nodiscard]] Judgement judge(std::string_view value, const std::optional<IpAddress>& client,
                                const std::optional<std::vector<Requirement>>& wanted) const;
  int verify(const GatewayRequest& request, const Presented& presented, std::string& headers);
  int introspect(const GatewayRequest& request, const Presented& presented, std::string& headers,
                 std::string& body) const;

  const VerificationTable& table_;
  const GatewayTokens& tokens_;
  UsageBuffer& usage_;
  const Freshness& freshness_;
  const base::Clock& clock_;
  std::atomic<const VerifierPolicy*> policy_{nullptr};
  /// Every policy there was: a request may still look at an old one, and they are few.
  base::Locked<std::vector<std::unique_ptr<const VerifierPolicy>>> policies_;
};

}  // namespace sallyport::daemon

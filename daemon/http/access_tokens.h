// Administrators' access tokens: who is it that presents this one?
//
// Answers are remembered for a short time, so that a busy client does not cost a look-up each;
// every change of administrators, groups or tokens on this node empties the memory before the
// change returns. Expiry is compared at each use.
//
// Thread-safe. Throws what the store throws.
#pragma once

#include <chrono>
#include <map>
#include <optional>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/locked.h"
#include "daemon/http/caller.h"
#include "daemon/http/router.h"
#include "store/store.h"

namespace sallyport::daemon {

class AccessTokens final : public AccessObserver {
 public:
  /// `remember` bounds how long a change that another node made can stay unseen.
  AccessTokens(store::Store& store, const base::Clock& clock, std::chrono::milliseconds remember);

  /// For Router::authenticate_with(): CallerKind::none without a valid token.
  [[nodiscard]] Caller authenticate(const Request& request);

  void access_changed() override;

 private:
  struct Known {
    Caller caller;
    std::optional<base::Instant> expires;
    std::chrono::nanoseconds asked{};
  };
  struct Memory {
    std::map<base::Sha256, Known> known;
    std::uint64_t generation = 0;
  };
  [[nodiscard]] std::optional<Known> look_up(const base::Sha256& token);

  store::Store& store_;
  const base::Clock& clock_;
  std::chrono::milliseconds remember_;
  base::Locked<Memory> memory_;
};

}  // namespace sallyport::daemon

// Failed logins by network (an IPv4 address or an IPv6 /64): slowed down, then banned for a while
// (spec/gateway.md 3). Counts are in memory; bans are persisted by whoever asks.
//
// Thread-safe. Nothing here fails. Bounded: strangers cannot make it grow without end.
#pragma once

#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/instant.h"

namespace sallyport::daemon {

struct FailurePolicy {
  std::uint32_t ban_failures = 10;
  base::Seconds window{600};
  base::Seconds ban_time{1800};
  std::vector<std::string> never_ban;
};

class FailureCounter {
 public:
  struct Verdict {
    std::uint32_t delay_ms = 0;                 ///< before the peer is told
    std::optional<base::Instant> banned_until;  ///< from now on refused until then
  };
  /// One more failure of `address`.
  Verdict failed(const std::string& address, const FailurePolicy& policy, base::Instant now);
  /// What was counted for the network is forgotten (a ban was lifted).
  void forget(const std::string& network);

 private:
  std::mutex mutex_;
  std::unordered_map<std::string, std::deque<base::Instant>> failures_;
};

/// Connections that ended without a login, by network and minute: each costs a key exchange.
class UnfinishedCounter {
 public:
  /// `more` of them have ended; how many those of this minute are.
  std::uint64_t ended(const std::string& network, std::uint32_t more, base::Instant now);
  void forget(const std::string& network);

 private:
  std::mutex mutex_;
  base::Instant minute_{};
  std::unordered_map<std::string, std::uint64_t> ended_;
};

/// What failures and bans of an address are counted for; the text itself if it is no address.
[[nodiscard]] std::string network_of(const std::string& address);

}  // namespace sallyport::daemon

// Addresses that are refused for a while: counted, kept in the store, and told to whoever watches
// (the SFTP front refuses them before a session starts).
//
// Thread-safe. add() and lift() throw the store's errors; failed() does not throw: a ban that
// cannot be written is in force all the same until the daemon ends.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "daemon/config/config.h"
#include "daemon/partners/failures.h"
#include "store/partners.h"
#include "store/store.h"

namespace sallyport::daemon {

class BanList {
 public:
  BanList(store::Store& store, const LiveConfig& config, const base::Clock& clock)
      : store_(store), config_(config), clock_(clock) {}

  /// What is banned now, from the store; at start.
  void load();
  /// Takes over what other nodes have banned and lifted since; throws the store's errors.
  void follow();
  /// Counts a failed login; returns how long its answer is to wait.
  [[nodiscard]] std::uint32_t failed(const std::string& address, const std::string& reason);
  /// Connections of `network` that ended without a login: too many within a minute ban it.
  void unfinished(const std::string& network, std::uint32_t count);
  [[nodiscard]] bool is_banned(const std::string& address);
  void add(const std::string& network, const std::string& reason, base::Instant until);
  /// False if it was not banned.
  bool lift(const std::string& network);
  [[nodiscard]] std::vector<store::Ban> list();

  /// Told of each new ban, and of a lifted one (until = now), without a lock held; set once.
  void on_change(std::function<void(const store::Ban&)> callback) {
    changed_ = std::move(callback);
  }

 private:
  /// add() of what was counted: a longer ban stays, and nothing is thrown.
  void ban_until(const std::string& network, const std::string& reason, base::Instant until);

  store::Store& store_;
  const LiveConfig& config_;
  const base::Clock& clock_;
  FailureCounter failures_;
  UnfinishedCounter unfinished_;
  std::function<void(const store::Ban&)> changed_;
  std::mutex mutex_;
  std::map<std::string, store::Ban> bans_;
  std::uint64_t own_changes_ = 0;  ///< add() and lift() of this node, begun and ended
  std::set<std::string> stored_;   ///< of these addresses: what was seen in the store, or put there
};

}  // namespace sallyport::daemon

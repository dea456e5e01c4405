// Who is still welcome: sessions end that would not be let in any more; and where several nodes
// share a store, what the others have decided holds here, too.
#include <algorithm>
#include <optional>

#include "base/log.h"
#include "daemon/partners/broker_impl.h"

namespace sallyport::daemon {
namespace {

// A suspension ends sessions within 5 s (spec/gateway.md 1), whichever node it was made on.
constexpr std::chrono::seconds look_at_others_every{2};
constexpr std::chrono::seconds leaves_within{3};  // then it is ended
constexpr std::chrono::seconds review_again{1};

struct Known {
  std::optional<store::Partner> partner;
  std::vector<store::SshKey> keys;
};

// Empty: it is welcome. The same decision as at the login; a key that has expired since then ends
// no session.
std::string why_unwelcome(const BrokerConnection& connection,
                          const std::optional<store::Partner>& partner,
                          const std::vector<store::SshKey>& keys) {
  if (!partner || !partner->active) return "This account has been suspended.";
  const std::string& fingerprint = connection.peer.fingerprint;
  const bool has_key = fingerprint.empty() || std::any_of(keys.begin(), keys.end(), [&](auto& key) {
                         return key.fingerprint == fingerprint;
                       });
  if (!has_key) return "The key of this session has been removed.";
  LoginAttempt attempt = connection.attempt;
  attempt.password_right =
      attempt.by_password && partner->password_hash == connection.password_hash;
  const auto decision = decide_login(partner, keys, attempt, connection.since);
  if (decision.outcome == LoginDecision::Outcome::allow) return {};
  return "What this account may log in with, or from where, has been changed.";
}

}  // namespace

void BrokerServer::Impl::end_unwelcome(const std::vector<ConnectionPtr>& connections) {
  std::map<std::string, Known> partners;
  // Who logs in from here on was let in by what is newer than what is read now.
  std::vector<ConnectionPtr> sessions;
  {
    const std::lock_guard lock(mutex_);
    for (const ConnectionPtr& connection : connections) {
      if (!connection->logged_in || connection->ending) continue;
      partners[connection->peer.partner];
      sessions.push_back(connection);
    }
  }
  if (partners.empty()) return;
  parts_.store.read([&](store::Unit& unit) {
    for (auto& [name, known] : partners) {
      known.partner = store::find_partner(unit, name);
      known.keys = store::partner_ssh_keys(unit, name);
    }
  });
  const std::lock_guard lock(mutex_);
  for (const ConnectionPtr& connection : sessions) {
    const Known& known = partners.at(connection->peer.partner);
    const std::string sentence = why_unwelcome(*connection, known.partner, known.keys);
    if (!sentence.empty()) end_connection(*connection, sentence);
  }
}

void BrokerServer::Impl::review_sessions(const std::string& partner) {
  std::vector<ConnectionPtr> connections;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& entry : connections_) {
      if (entry.second->peer.partner == partner) connections.push_back(entry.second);
    }
  }
  try {
    end_unwelcome(connections);
  } catch (const base::Error& error) {
    // What was decided is in force for whoever comes; those who are here are looked at again.
    base::log_warning("sftp.review", {{"partner", partner}},
                      "The sessions of {} are looked at again soon: {}", partner, error.what());
    workers_->submit([this, partner] {
      std::unique_lock lock(mutex_);
      const bool stops = changed_.wait_for(lock, review_again, [this] { return stopping_; });
      lock.unlock();
      if (!stops) review_sessions(partner);
    });
  }
}

void BrokerServer::Impl::see_out(const BrokerConnection& connection) {
  if (connection.control || stopping_) return;
  leaving_.push_back({std::chrono::steady_clock::now() + leaves_within, connection.process});
  changed_.notify_all();
}

// The parent knows which processes are its own, and which of them have left.
void BrokerServer::Impl::end_overdue() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (leaving_.empty()) {
      changed_.wait(lock, [this] { return stopping_ || !leaving_.empty(); });
      continue;
    }
    const Leaving next = leaving_.front();
    if (changed_.wait_until(lock, next.until, [this] { return stopping_; })) return;
    leaving_.pop_front();
    for (const auto& entry : connections_) {
      if (!entry.second->control) continue;
      static_cast<void>(
          sftp::send_message(entry.second->fd.get(), 0, sftp::EndProcess{next.process}));
    }
  }
}

// Costs what is connected here, and what is banned.
void BrokerServer::Impl::watch_other_nodes() {
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, look_at_others_every, [this] { return stopping_; })) {
    std::vector<ConnectionPtr> connections;
    connections.reserve(connections_.size());
    for (const auto& entry : connections_) connections.push_back(entry.second);
    lock.unlock();
    try {
      parts_.bans.follow();
      end_unwelcome(connections);
    } catch (const base::Error& error) {
      // Health says that the store is away. It is asked again.
      base::log_debug("broker.other_nodes", {}, "What other nodes decided cannot be read: {}",
                      error.what());
    }
    connections.clear();
    lock.lock();
  }
}

}  // namespace sallyport::daemon

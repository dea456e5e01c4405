// Logins: the same work and the same answer whatever the reason of a refusal.
#include <algorithm>
#include <utility>

#include "base/log.h"
#include "daemon/activity/activity_log.h"
#include "daemon/partners/broker_impl.h"
#include "daemon/partners/session_id.h"
#include "daemon/partners/ssh_key.h"

namespace sallyport::daemon {
namespace {

sftp::LoginAnswer refusal(std::string sentence) {
  sftp::LoginAnswer answer;
  answer.outcome = sftp::LoginOutcome::refuse;
  answer.sentence = std::move(sentence);
  return answer;
}

// Whom a login was for, so that the log and the audit of a partner have its refusals, too.
std::string claimed(const std::string& user) {
  return is_partner_name(user) ? user : for_log(user).substr(0, 32);
}

sftp::Trigger trigger_of(const std::string& name) {
  if (name == "rename") return sftp::Trigger::rename;
  if (name == "marker") return sftp::Trigger::marker;
  return sftp::Trigger::close;
}

}  // namespace

void BrokerServer::Impl::on_login(const ConnectionPtr& connection, std::uint32_t id,
                                  sftp::LoginQuery query) {
  auto shared = std::make_shared<sftp::LoginQuery>(std::move(query));
  in_background(connection, [this, connection, id, shared] {
    LoginAttempt attempt;
    {
      const std::lock_guard lock(mutex_);
      attempt.address = connection->hello.address;
    }
    attempt.by_password = shared->method == sftp::LoginMethod::password;
    attempt.key = shared->key;
    attempt.proven_key = shared->proven_key;
    auto password = std::make_shared<base::Secret>(std::move(shared->password));
    std::optional<store::Partner> partner;
    std::vector<store::SshKey> keys;
    try {
      // The same questions for names that do not exist.
      parts_.store.read([&](store::Unit& unit) {
        partner = store::find_partner(unit, shared->user);
        keys = store::partner_ssh_keys(unit, shared->user);
      });
    } catch (const base::Error& error) {
      base::log_error("sftp.login_unavailable", {}, "A login could not be checked: {}",
                      error.what());
      answer(connection, id,
             refusal("The service is temporarily unavailable, please try again later."));
      return;
    }
    if (!attempt.by_password) {
      decide(connection, id, partner, keys, attempt, shared->user, shared->signature_verified);
      return;
    }
    const std::string hash =
        partner && !partner->password_hash.empty() ? partner->password_hash : dummy_password_hash();
    const bool queued = passwords_->submit(
        network_of(attempt.address),
        [this, connection, id, shared, password, partner, keys, attempt, hash]() mutable {
          attempt.password_right = check_password(*password, hash);
          decide(connection, id, partner, keys, attempt, shared->user, true);
        });
    if (!queued) answer(connection, id, refusal("Too many logins are waiting, try again later."));
  });
}

void BrokerServer::Impl::decide(const ConnectionPtr& connection, std::uint32_t id,
                                const std::optional<store::Partner>& partner,
                                const std::vector<store::SshKey>& keys, const LoginAttempt& attempt,
                                const std::string& user, bool verified) {
  const LoginDecision decision = decide_login(partner, keys, attempt, parts_.clock.now());
  // Whether it is right or not: a ban must not tell.
  const bool banned = parts_.bans.is_banned(attempt.address);
  if (banned || decision.outcome == LoginDecision::Outcome::deny) {
    denied(connection, id, attempt, user, banned ? "banned" : decision.reason, verified);
    return;
  }
  sftp::LoginAnswer reply;
  if (decision.outcome == LoginDecision::Outcome::partial) {
    reply.outcome = sftp::LoginOutcome::partial;
    answer(connection, id, reply);
    return;
  }
  if (!verified) {
    {
      // A signature that is none, or a client that leaves now, is told of with this key.
      const std::lock_guard lock(mutex_);
      connection->offered_key = decision.fingerprint;
      connection->refused_reason.clear();
    }
    reply.outcome = sftp::LoginOutcome::allow;
    answer(connection, id, reply);
    return;
  }
  let_in(connection, id, *partner, decision, attempt);
}

void BrokerServer::Impl::denied(const ConnectionPtr& connection, std::uint32_t id,
                                const LoginAttempt& attempt, const std::string& user,
                                const std::string& reason, bool counts) {
  const std::string& blob = attempt.by_password ? attempt.proven_key : attempt.key;
  std::string fingerprint = blob.empty() ? std::string() : ssh_fingerprint(blob);
  sftp::LoginAnswer reply;
  reply.outcome = sftp::LoginOutcome::deny;
  sftp::SessionHello hello;
  {
    const std::lock_guard lock(mutex_);
    hello = connection->hello;
    // A client whose key is not known offers it, hears no, and leaves without a signature: only its
    // end tells that this was the whole login.
    if (counts) {
      connection->failure_told = true;
    } else {
      connection->offered_key = fingerprint;
      connection->refused_reason = reason;
    }
  }
  if (!counts) {
    answer(connection, id, reply);
    return;
  }
  reply.delay_ms = parts_.bans.failed(hello.address, reason);
  answer(connection, id, reply);
  // In the form that the fail2ban filter reads: nothing of the stranger's before the address.
  base::log_notice("sftp.login_failed",
                   {{"address", hello.address},
                    {"partner", claimed(user)},
                    {"reason", reason},
                    {"fingerprint", fingerprint},
                    {"banner", for_log(hello.client_banner)}},
                   "login failed from {} port {}: {} (user \"{}\", client \"{}\")", hello.address,
                   hello.port, reason, for_log(user), for_log(hello.client_banner));
  audit_refusal(hello, user, std::move(fingerprint), reason);
}

void BrokerServer::Impl::audit_refusal(const sftp::SessionHello& hello, const std::string& user,
                                       std::string fingerprint, const std::string& reason) {
  store::SessionEvent event;
  event.at = parts_.clock.now();
  event.partner = claimed(user);
  event.event = "login_failed";
  event.address = hello.address;
  event.banner = for_log(hello.client_banner);
  event.fingerprint = std::move(fingerprint);
  event.detail = reason;
  audit_->add(std::move(event));
}

void BrokerServer::Impl::let_in(const ConnectionPtr& connection, std::uint32_t id,
                                const store::Partner& partner, const LoginDecision& decision,
                                const LoginAttempt& attempt) {
  const auto config = parts_.config.get();
  const PartnerPolicy policy = policy_for(*config, partner);
  sftp::LoginAnswer reply;
  reply.outcome = sftp::LoginOutcome::allow;
  reply.session_id = make_session_id(node_name(*config));
  reply.partner = partner.name;
  reply.limits.handles = policy.handles;
  reply.limits.channels = policy.channels;
  reply.limits.idle_seconds = static_cast<std::uint32_t>(policy.idle.count());
  reply.limits.max_file_bytes = policy.max_file_bytes;
  reply.limits.bytes_per_second = policy.bytes_per_second;
  reply.policy.subfolders = policy.subfolders;
  reply.policy.shared = policy.shared;
  reply.policy.start_directory = policy.start_directory;
  reply.policy.trigger = trigger_of(policy.trigger);
  reply.policy.not_ready_patterns = policy.not_ready;
  reply.policy.taken_seconds = static_cast<std::uint32_t>(config->gateway.taken_memory.count());
  base::UniqueFd directory;
  try {
    const QuotaLeft left = usage_.left(partner.name, policy, {});
    reply.limits.quota_bytes_left = left.bytes;
    reply.limits.quota_files_left = left.files;
    directory = open_partner_directory(*config, partner.name);
  } catch (const base::Error& error) {
    base::log_error("sftp.directory", {{"partner", partner.name}},
                    "Partner {} cannot be let in: {}", partner.name, error.what());
    answer(connection, id,
           refusal("The service is temporarily unavailable, please try again later."));
    return;
  }
  SessionPeer peer;
  {
    const std::lock_guard lock(mutex_);
    std::uint32_t connected = 0;
    for (const auto& entry : connections_) {
      connected += entry.second->logged_in && entry.second->peer.partner == partner.name ? 1 : 0;
    }
    if (stopping_ || connection->gone || connection->logged_in) return;
    if (connected < policy.connections) {
      peer.partner = partner.name;
      peer.address = connection->hello.address;
      peer.banner = for_log(connection->hello.client_banner);
      peer.method = attempt.by_password
                        ? (attempt.proven_key.empty() ? "password" : "publickey+password")
                        : "publickey";
      peer.fingerprint = decision.fingerprint;
      connection->peer = peer;
      connection->session_id = reply.session_id;
      connection->policy = policy;
      connection->attempt = attempt;
      connection->password_hash = partner.password_hash;
      connection->since = parts_.clock.now();
      connection->logged_in = true;
      parts_.journal.session_began(peer, reply.session_id);
    }
  }
  if (peer.partner.empty()) {
    answer(connection, id,
           refusal(fmt::format("Too many connections: this account may have {} at once.",
                               policy.connections)));
    base::log_notice("sftp.login_refused", {{"partner", partner.name}},
                     "Partner {} has {} connections, which is its limit", partner.name,
                     policy.connections);
    sftp::SessionHello hello;
    {
      const std::lock_guard lock(mutex_);
      hello = connection->hello;
      connection->failure_told = true;
    }
    audit_refusal(hello, partner.name, decision.fingerprint, "too_many_connections");
    return;
  }
  reply.uploader = uploader_facts(peer);
  // Before the answer, and so before anything that the session does.
  base::log_info("sftp.login",
                 {{"partner", partner.name},
                  {"address", peer.address},
                  {"method", peer.method},
                  {"fingerprint", peer.fingerprint},
                  {"banner", peer.banner}},
                 "{} logged in from {} by {}", partner.name, peer.address, peer.method);
  if (!decision.key_id.empty()) audit_->touch_key(decision.key_id, parts_.clock.now());
  audit(*connection, "login", "", 0, 0, peer.method);
  offer_events(connection);
  answer(connection, id, reply, directory.get());
  // A suspension, another password or the removal of the key may have come between the look at the
  // partner and now: then nobody has ended this session yet.
  workers_->submit([this, connection] { end_unwelcome({connection}); });
}

void BrokerServer::Impl::on_failure(const ConnectionPtr& connection,
                                    const sftp::LoginFailure& failure) {
  sftp::SessionHello hello;
  std::string key;
  std::string reason;
  bool told = false;
  bool again = false;
  {
    const std::lock_guard lock(mutex_);
    again = std::exchange(connection->given_up, true);
    hello = connection->hello;
    key = connection->offered_key;
    reason = connection->refused_reason;
    told = connection->failure_told;
  }
  // Each counts as a failure of the address.
  if (again) return out_of_order(connection, "the end of its login twice");
  if (hello.address.empty()) return;
  if (failure.reason == "bad_signature") {
    workers_->submit([this, address = hello.address] {
      static_cast<void>(parts_.bans.failed(address, "bad_signature"));
    });
    base::log_notice("sftp.login_failed",
                     {{"address", hello.address},
                      {"partner", claimed(failure.user)},
                      {"reason", "bad_signature"}},
                     "login failed from {} port {}: bad_signature (user \"{}\", client \"{}\")",
                     hello.address, hello.port, for_log(failure.user),
                     for_log(hello.client_banner));
    audit_refusal(hello, failure.user, key, "bad_signature");
    return;
  }
  // What it was refused for says more than that it went away.
  if (reason.empty() || told) reason = for_log(failure.reason);
  base::log_info("sftp.login_given_up",
                 {{"address", hello.address},
                  {"partner", claimed(failure.user)},
                  {"reason", reason},
                  {"fingerprint", key},
                  {"banner", for_log(hello.client_banner)}},
                 "A login from {} was given up: {} (user \"{}\")", hello.address, reason,
                 for_log(failure.user));
  if (!told && !failure.user.empty()) audit_refusal(hello, failure.user, key, reason);
}

}  // namespace sallyport::daemon

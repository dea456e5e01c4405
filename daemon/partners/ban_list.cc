#include "daemon/partners/ban_list.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "daemon/net/ip.h"

namespace sallyport::daemon {

void BanList::load() {
  const base::Instant now = clock_.now();
  const auto stored = store_.read([&](store::Unit& unit) { return store::list_bans(unit, now); });
  const std::lock_guard lock(mutex_);
  bans_.clear();
  stored_.clear();
  for (const store::Ban& ban : stored) {
    bans_[ban.address] = ban;
    stored_.insert(ban.address);
  }
}

void BanList::follow() {
  const base::Instant now = clock_.now();
  std::set<std::string> before;
  std::uint64_t own_changes = 0;
  {
    const std::lock_guard lock(mutex_);
    before = stored_;
    own_changes = own_changes_;
  }
  const auto stored = store_.read([&](store::Unit& unit) { return store::list_bans(unit, now); });
  std::vector<store::Ban> changes;
  {
    const std::lock_guard lock(mutex_);
    // What was read may be older than what we have done meanwhile: the next look will tell.
    if (own_changes != own_changes_) return;
    // What is ours alone, since it could not be written, stays.
    for (const store::Ban& ban : stored) {
      before.erase(ban.address);
      stored_.insert(ban.address);
      store::Ban& known = bans_[ban.address];
      if (known.until == ban.until) continue;
      known = ban;
      changes.push_back(ban);
    }
    for (const std::string& address : before) {
      stored_.erase(address);
      const auto found = bans_.find(address);
      if (found == bans_.end()) continue;
      changes.push_back(found->second);
      changes.back().until = std::min(found->second.until, now);
      bans_.erase(found);
    }
  }
  if (!changed_) return;
  for (const store::Ban& ban : changes) changed_(ban);
}

std::uint32_t BanList::failed(const std::string& address, const std::string& reason) {
  const auto config = config_.get();
  const FailurePolicy policy{config->gateway.ban_failures, config->gateway.ban_window,
                             config->gateway.ban_time, config->gateway.never_ban};
  const auto verdict = failures_.failed(address, policy, clock_.now());
  if (verdict.banned_until) {
    ban_until(network_of(address),
              fmt::format("{} failed logins, the last: {}", policy.ban_failures, reason),
              *verdict.banned_until);
  }
  return verdict.delay_ms;
}

void BanList::unfinished(const std::string& network, std::uint32_t count) {
  const auto config = config_.get();
  const auto range = IpRange::from(network);
  if (!range) return;
  for (const std::string& never : config->gateway.never_ban) {
    const auto spared = IpRange::from(never);
    if (spared && spared->overlaps(*range)) return;
  }
  const base::Instant now = clock_.now();
  const std::uint64_t ended = unfinished_.ended(network, count, now);
  if (ended <= config->gateway.max_unfinished || is_banned(network)) return;
  ban_until(network, fmt::format("{} connections without a login within a minute", ended),
            now + config->gateway.ban_time);
}

void BanList::ban_until(const std::string& network, const std::string& reason,
                        base::Instant until) {
  {
    // One that somebody set by hand may be longer.
    const std::lock_guard lock(mutex_);
    const auto found = bans_.find(network);
    if (found != bans_.end() && found->second.until > until) return;
  }
  try {
    add(network, reason, until);
  } catch (const base::Error& error) {
    base::log_error("ban.not_kept", {{"address", network}},
                    "The ban of {} is in force but could not be stored: {}", network, error.what());
  }
}

bool BanList::is_banned(const std::string& address) {
  const std::string network = network_of(address);
  const std::lock_guard lock(mutex_);
  const auto found = bans_.find(network);
  return found != bans_.end() && found->second.until > clock_.now();
}

void BanList::add(const std::string& network, const std::string& reason, base::Instant until) {
  const store::Ban ban{network, reason, clock_.now(), until};
  {
    const std::lock_guard lock(mutex_);
    bans_[network] = ban;
    stored_.erase(network);
    ++own_changes_;
  }
  base::log_notice("ban.added", {{"address", network}, {"until", base::format_iso(until)}},
                   "{} is refused until {}: {}", network, base::format_utc(until), reason);
  if (changed_) changed_(ban);
  store_.write([&](store::Unit& unit) { store::put_ban(unit, ban); });
  const std::lock_guard lock(mutex_);
  stored_.insert(network);
  ++own_changes_;
}

bool BanList::lift(const std::string& network) {
  store::Ban ban;
  bool known = false;
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = bans_.find(network); found != bans_.end()) {
      ban = found->second;
      bans_.erase(found);
      known = true;
    }
    stored_.erase(network);
    ++own_changes_;
  }
  failures_.forget(network);
  unfinished_.forget(network);
  const bool stored =
      store_.write([&](store::Unit& unit) { return store::delete_ban(unit, network); });
  {
    const std::lock_guard lock(mutex_);
    ++own_changes_;
  }
  ban.address = network;
  ban.until = clock_.now();
  if (changed_) changed_(ban);
  if (known || stored)
    base::log_notice("ban.lifted", {{"address", network}}, "{} may try again", network);
  return known || stored;
}

std::vector<store::Ban> BanList::list() {
  const base::Instant now = clock_.now();
  std::vector<store::Ban> all;
  const std::lock_guard lock(mutex_);
  for (const auto& entry : bans_) {
    if (entry.second.until > now) all.push_back(entry.second);
  }
  return all;
}

}  // namespace sallyport::daemon

#include "daemon/partners/usage_table.h"

#include <algorithm>
#include <exception>
#include <limits>
#include <utility>

namespace sallyport::daemon {
namespace {

using SteadyClock = std::chrono::steady_clock;

// The pipeline and retention free space without telling: look again this often.
constexpr std::chrono::minutes measure_every{2};
// Sooner where much was freed, but a partner does not keep us walking through its folders.
constexpr std::chrono::seconds measure_no_sooner{1};
constexpr int walks_of_rest = 10;
// Where something was freed or granted while it was measured, which may be in it or not.
constexpr std::chrono::seconds measure_again{10};
constexpr int walks_until_again = 30;

std::uint64_t left_of(std::uint64_t quota, std::uint64_t used) {
  if (quota == no_limit) return no_limit;
  return quota > used ? quota - used : 0;
}

// Nothing more always has room, whatever was used before.
bool has_room(std::uint64_t quota, std::uint64_t used, std::uint64_t wanted) {
  return wanted == 0 || left_of(quota, used) >= wanted;
}

std::uint64_t positive(std::int64_t count) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(count, 0));
}

}  // namespace

// What was freed is what sessions say: a quota's worth of it, and the disk is asked.
bool UsageTable::stale(const Known& known, const PartnerPolicy& policy,
                       SteadyClock::time_point now) {
  if (!known.measured || now - *known.measured > measure_every) return true;
  const auto rested = [&known, now](std::chrono::seconds least, int walks) {
    return now - *known.measured > std::max<SteadyClock::duration>(least, walks * known.walk);
  };
  if ((known.changed || known.moved) && rested(measure_again, walks_until_again)) return true;
  if (known.bytes_freed <= policy.quota_bytes && known.files_freed <= policy.quota_files)
    return false;
  return rested(measure_no_sooner, walks_of_rest);
}

Usage UsageTable::used(const Known& known) {
  Usage all{positive(known.bytes), positive(known.files)};
  Held held;
  for (const auto& [session, files] : known.held) {
    for (const auto& [file, bytes] : files) held[file] = std::max(held[file], bytes);
  }
  for (const auto& [file, bytes] : held) all.bytes += bytes;
  all.files += held.size();
  for (const auto& freed : known.freed) {
    all.bytes += freed.usage.bytes;
    all.files += freed.usage.files;
  }
  return all;
}

QuotaLeft UsageTable::left(const std::string& partner, const PartnerPolicy& policy,
                           const UsageChange& change) {
  if (policy.quota_bytes == no_limit && policy.quota_files == no_limit) return {};
  bool measures = false;
  {
    const std::lock_guard lock(mutex_);
    Known& known = known_[partner];
    // More freed than used is a claim.
    known.bytes = std::max<std::int64_t>(known.bytes + change.bytes, 0);
    known.files = std::max<std::int64_t>(known.files + change.files, 0);
    known.bytes_freed += positive(-change.bytes);
    known.files_freed += positive(-change.files);
    // One at a time: a large folder takes long, and whoever asks holds up a thread of the daemon.
    // Who comes meanwhile goes by what is known, and hears with its next report.
    measures = !known.being_measured && stale(known, policy, SteadyClock::now());
    if (known.being_measured)
      known.changed = known.changed || change.bytes < 0 || change.files < 0 ||
                      change.wanted.bytes != 0 || change.wanted.files != 0;
    if (measures) {
      known.being_measured = true;
      known.changed = known.moved = false;
    }
  }
  if (measures) measure(partner);
  const std::lock_guard lock(mutex_);
  Known& known = known_[partner];
  Usage now = used(known);
  const Usage& wanted = change.wanted;
  QuotaLeft left;
  left.granted = has_room(policy.quota_bytes, now.bytes, wanted.bytes) &&
                 has_room(policy.quota_files, now.files, wanted.files);
  // Only now: what is granted is not on the disk yet, and measuring would forget it.
  if (left.granted) {
    known.bytes += static_cast<std::int64_t>(wanted.bytes);
    known.files += static_cast<std::int64_t>(wanted.files);
    now = used(known);
  }
  left.bytes = left_of(policy.quota_bytes, now.bytes);
  left.files = left_of(policy.quota_files, now.files);
  left.settles = !known.freed.empty();
  return left;
}

void UsageTable::moved(const std::string& partner) {
  const std::lock_guard lock(mutex_);
  const auto known = known_.find(partner);
  if (known != known_.end() && known->second.being_measured) known->second.moved = true;
}

void UsageTable::holds(const std::string& partner, const std::string& session, Held held) {
  const std::lock_guard lock(mutex_);
  if (!held.empty()) {
    known_[partner].held[session] = std::move(held);
  } else if (const auto known = known_.find(partner); known != known_.end()) {
    known->second.held.erase(session);
  }
}

void UsageTable::freed(const std::string& partner, const Usage& freed, Queries asked) {
  if (asked.empty() || (freed.bytes == 0 && freed.files == 0)) return;
  const std::lock_guard lock(mutex_);
  auto& all = known_[partner].freed;
  // A session that is at work for long must not make this a long list.
  if (all.empty() || all.back().waits_for != asked) all.push_back({{}, std::move(asked)});
  all.back().usage.bytes += freed.bytes;
  all.back().usage.files += freed.files;
}

void UsageTable::hear(Known& known, const std::string& session, std::uint32_t query, bool leaves) {
  std::vector<Known::Freed> waiting;
  for (Known::Freed& freed : known.freed) {
    const auto asked = freed.waits_for.find(session);
    if (asked != freed.waits_for.end() && (leaves || asked->second <= query))
      freed.waits_for.erase(asked);
    if (freed.waits_for.empty()) continue;
    if (waiting.empty() || waiting.back().waits_for != freed.waits_for) {
      waiting.push_back(std::move(freed));
    } else {
      waiting.back().usage.bytes += freed.usage.bytes;
      waiting.back().usage.files += freed.usage.files;
    }
  }
  known.freed = std::move(waiting);
}

void UsageTable::heard(const std::string& partner, const std::string& session,
                       std::uint32_t query) {
  const std::lock_guard lock(mutex_);
  if (const auto known = known_.find(partner); known != known_.end())
    hear(known->second, session, query, false);
}

void UsageTable::forget(const std::string& partner, const std::string& session) {
  const std::lock_guard lock(mutex_);
  const auto known = known_.find(partner);
  if (known == known_.end()) return;
  known->second.held.erase(session);
  hear(known->second, session, 0, true);
}

// What is on disk holds what was done before it was reported.
void UsageTable::measure(const std::string& partner) {
  const auto began = SteadyClock::now();
  std::optional<Usage> usage;
  std::exception_ptr failure;
  try {
    usage = measure_(partner);
  } catch (...) {
    failure = std::current_exception();
  }
  {
    const std::lock_guard lock(mutex_);
    Known& known = known_[partner];
    known.being_measured = false;
    if (usage) {
      const auto found = [&known](std::int64_t before, std::uint64_t now) {
        const auto count = static_cast<std::int64_t>(now);
        return known.moved ? std::max(before, count) : count;
      };
      known.bytes = found(known.bytes, usage->bytes);
      known.files = found(known.files, usage->files);
      known.bytes_freed = 0;
      known.files_freed = 0;
      known.measured = SteadyClock::now();
      known.walk = *known.measured - began;
    }
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace sallyport::daemon

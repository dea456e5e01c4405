#include "daemon/partners/usage_table.h"

#include <algorithm>
#include <exception>
#include <utility>

namespace sallyport::daemon {
namespace {

// The pipeline and retention free space without telling: look again this often.
constexpr std::chrono::minutes measure_every{2};

std::uint64_t left_of(std::uint64_t quota, std::int64_t used) {
  if (quota == no_limit) return no_limit;
  const auto positive = static_cast<std::uint64_t>(std::max<std::int64_t>(used, 0));
  return quota > positive ? quota - positive : 0;
}

bool exceeds(std::uint64_t quota, std::int64_t used) {
  return quota != no_limit && used > 0 && static_cast<std::uint64_t>(used) > quota;
}

}  // namespace

QuotaLeft UsageTable::left(const std::string& partner, const PartnerPolicy& policy,
                           std::int64_t more_bytes, std::int64_t more_files) {
  if (policy.quota_bytes == no_limit && policy.quota_files == no_limit) return {};
  const auto now = std::chrono::steady_clock::now();
  bool measures = false;
  {
    const std::lock_guard lock(mutex_);
    Known& known = known_[partner];
    // More freed than used is a claim.
    known.bytes = std::max<std::int64_t>(known.bytes + more_bytes, 0);
    known.files = std::max<std::int64_t>(known.files + more_files, 0);
    known.bytes_freed += static_cast<std::uint64_t>(std::max<std::int64_t>(-more_bytes, 0));
    known.files_freed += static_cast<std::uint64_t>(std::max<std::int64_t>(-more_files, 0));
    // One at a time: a large folder takes long, and whoever asks holds up a thread of the daemon.
    // Who comes meanwhile goes by what is known, and hears with its next report. What was freed is
    // what sessions say: a quota's worth of it, and the disk is asked.
    const bool stale = !known.measured || now - *known.measured > measure_every ||
                       known.bytes_freed > policy.quota_bytes ||
                       known.files_freed > policy.quota_files;
    measures = stale && !std::exchange(known.being_measured, stale || known.being_measured);
  }
  if (measures) measure(partner, now);
  const std::lock_guard lock(mutex_);
  const Known& known = known_[partner];
  std::int64_t bytes = known.bytes;
  std::int64_t files = known.files;
  const auto count = [&bytes, &files](const Usage& usage) {
    bytes += static_cast<std::int64_t>(usage.bytes);
    files += static_cast<std::int64_t>(usage.files);
  };
  for (const auto& [session, held] : known.held) count(held);
  for (const auto& freed : known.freed) count(freed.usage);
  return {left_of(policy.quota_bytes, bytes), left_of(policy.quota_files, files),
          exceeds(policy.quota_bytes, bytes) || exceeds(policy.quota_files, files), measures,
          !known.freed.empty()};
}

void UsageTable::holds(const std::string& partner, const std::string& session, const Usage& held) {
  const std::lock_guard lock(mutex_);
  if (held.bytes != 0 || held.files != 0) {
    known_[partner].held[session] = held;
  } else if (const auto known = known_.find(partner); known != known_.end()) {
    known->second.held.erase(session);
  }
}

void UsageTable::freed(const std::string& partner, const Usage& freed,
                       std::set<std::string> sessions) {
  if (sessions.empty() || (freed.bytes == 0 && freed.files == 0)) return;
  const std::lock_guard lock(mutex_);
  auto& all = known_[partner].freed;
  // A session that is at work for long must not make this a long list.
  if (all.empty() || all.back().waits_for != sessions) all.push_back({{}, std::move(sessions)});
  all.back().usage.bytes += freed.bytes;
  all.back().usage.files += freed.files;
}

void UsageTable::hear(Known& known, const std::string& session) {
  std::erase_if(known.freed, [&session](Known::Freed& freed) {
    freed.waits_for.erase(session);
    return freed.waits_for.empty();
  });
}

void UsageTable::heard(const std::string& partner, const std::string& session) {
  const std::lock_guard lock(mutex_);
  if (const auto known = known_.find(partner); known != known_.end()) hear(known->second, session);
}

void UsageTable::forget(const std::string& partner, const std::string& session) {
  const std::lock_guard lock(mutex_);
  const auto known = known_.find(partner);
  if (known == known_.end()) return;
  known->second.held.erase(session);
  hear(known->second, session);
}

// What is on disk holds what is being reported.
void UsageTable::measure(const std::string& partner, std::chrono::steady_clock::time_point now) {
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
      known.bytes = static_cast<std::int64_t>(usage->bytes);
      known.files = static_cast<std::int64_t>(usage->files);
      known.measured = now;
      known.bytes_freed = 0;
      known.files_freed = 0;
    }
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace sallyport::daemon

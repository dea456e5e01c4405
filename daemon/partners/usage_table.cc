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
    // One at a time: a large folder takes long, and whoever asks holds up a thread of the daemon.
    // Who comes meanwhile goes by what is known, and hears with its next report.
    const bool stale = !known.measured || now - *known.measured > measure_every;
    measures = stale && !std::exchange(known.being_measured, stale || known.being_measured);
  }
  if (measures) measure(partner, now);
  const std::lock_guard lock(mutex_);
  const Known& known = known_[partner];
  std::int64_t bytes = known.bytes;
  std::int64_t files = known.files;
  for (const auto& [session, held] : known.held) {
    bytes += static_cast<std::int64_t>(held.bytes);
    files += static_cast<std::int64_t>(held.files);
  }
  return {left_of(policy.quota_bytes, bytes), left_of(policy.quota_files, files)};
}

void UsageTable::holds(const std::string& partner, const std::string& session, const Usage& held) {
  const std::lock_guard lock(mutex_);
  if (held.bytes != 0 || held.files != 0) {
    known_[partner].held[session] = held;
  } else if (const auto known = known_.find(partner); known != known_.end()) {
    known->second.held.erase(session);
  }
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
    }
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace sallyport::daemon

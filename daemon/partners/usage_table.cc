#include "daemon/partners/usage_table.h"

#include <algorithm>

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
  bool stale = false;
  {
    const std::lock_guard lock(mutex_);
    const auto found = known_.find(partner);
    stale = found == known_.end() || now - found->second.measured > measure_every;
  }
  if (stale) {
    const Usage usage = measure_(partner);
    const std::lock_guard lock(mutex_);
    known_[partner] = {static_cast<std::int64_t>(usage.bytes),
                       static_cast<std::int64_t>(usage.files), now};
    // What is on disk holds what is being reported.
    more_bytes = 0;
    more_files = 0;
  }
  const std::lock_guard lock(mutex_);
  Known& known = known_[partner];
  known.bytes += more_bytes;
  known.files += more_files;
  return {left_of(policy.quota_bytes, known.bytes), left_of(policy.quota_files, known.files)};
}

}  // namespace sallyport::daemon

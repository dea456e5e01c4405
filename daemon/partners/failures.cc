#include "daemon/partners/failures.h"

#include <algorithm>

#include "daemon/net/ip.h"

namespace sallyport::daemon {
namespace {

constexpr std::size_t most_networks = 100'000;
// The third failure in the window waits 250 ms, each further one twice as long, at most 4 s.
constexpr std::size_t free_failures = 2;
constexpr std::uint32_t first_delay_ms = 250;
constexpr std::size_t most_doublings = 4;

}  // namespace

std::string network_of(const std::string& address) {
  const auto parsed = IpAddress::parse(address);
  return parsed ? IpRange::network_of(*parsed).to_string() : address;
}

FailureCounter::Verdict FailureCounter::failed(const std::string& address,
                                               const FailurePolicy& policy, base::Instant now) {
  if (any_contains(policy.never_ban, address)) return {};
  const std::string network = network_of(address);
  const base::Instant start = now - policy.window;
  const std::lock_guard lock(mutex_);
  if (failures_.size() >= most_networks && failures_.find(network) == failures_.end()) {
    for (auto it = failures_.begin(); it != failures_.end();) {
      it = it->second.empty() || it->second.back() < start ? failures_.erase(it) : std::next(it);
    }
    if (failures_.size() >= most_networks) failures_.erase(failures_.begin());
  }
  auto& times = failures_[network];
  // Times after now: the clock went back; they would never leave.
  while (!times.empty() && (times.front() < start || times.front() > now)) times.pop_front();
  times.push_back(now);
  Verdict verdict;
  if (times.size() >= policy.ban_failures) {
    failures_.erase(network);
    verdict.banned_until = now + policy.ban_time;
    return verdict;
  }
  if (times.size() > free_failures) {
    verdict.delay_ms = first_delay_ms << std::min(times.size() - free_failures - 1, most_doublings);
  }
  return verdict;
}

std::uint64_t UnfinishedCounter::ended(const std::string& network, std::uint32_t more,
                                       base::Instant now) {
  const std::lock_guard lock(mutex_);
  if (now < minute_ || now - minute_ >= std::chrono::minutes{1}) {
    minute_ = now;
    ended_.clear();
  }
  if (ended_.size() >= most_networks && !ended_.contains(network)) return more;
  return ended_[network] += more;
}

void UnfinishedCounter::forget(const std::string& network) {
  const std::lock_guard lock(mutex_);
  ended_.erase(network);
}

void FailureCounter::forget(const std::string& network) {
  const std::lock_guard lock(mutex_);
  failures_.erase(network);
}

}  // namespace sallyport::daemon

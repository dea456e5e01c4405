#include "daemon/partners/refusal_rows.h"

namespace sallyport::daemon {
namespace {

constexpr std::size_t most_remembered = 10'000;
constexpr base::Seconds a_row_every{3600};

}  // namespace

std::uint64_t RefusalRows::add(const std::string& network, const std::string& reason,
                               std::uint32_t count, base::Instant now) {
  const std::pair key{network, reason};
  // A clock that was put back starts anew.
  const auto is_due = [now](const Since& since) {
    return now < since.told || now - since.told >= a_row_every;
  };
  if (refusals_.size() >= most_remembered && !refusals_.contains(key)) {
    std::erase_if(refusals_, [&](const auto& entry) { return is_due(entry.second); });
    if (refusals_.size() >= most_remembered) return 0;
  }
  Since& since = refusals_[key];
  since.count += count;
  if (since.told != base::Instant{} && !is_due(since)) return 0;
  since.told = now;
  return std::exchange(since.count, 0);
}

}  // namespace sallyport::daemon

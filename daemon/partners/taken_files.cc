#include "daemon/partners/taken_files.h"

namespace sallyport::daemon {
namespace {

// 60 s at 2,000 uploads a second would be more; what is forgotten early only looks gone early.
constexpr std::size_t most_remembered = 50'000;

}  // namespace

void TakenFiles::remember(const std::string& partner, const std::string& path, Taken taken) {
  const auto now = Clock::now();
  const std::lock_guard lock(mutex_);
  // The oldest first, a few at a time: nobody waits for all of them to be looked at.
  while (!order_.empty() && (order_.front().until <= now || order_.size() >= most_remembered)) {
    const auto found = files_.find(order_.front().name);
    // One that was taken again meanwhile has its place further behind.
    if (found != files_.end() && found->second.until == order_.front().until) files_.erase(found);
    order_.pop_front();
  }
  order_.push_back({{partner, path}, taken.until});
  files_[order_.back().name] = taken;
}

std::optional<TakenFiles::Taken> TakenFiles::find(const std::string& partner,
                                                  const std::string& path,
                                                  std::int64_t set_modified,
                                                  Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  const auto found = files_.find({partner, path});
  if (found == files_.end() || found->second.until <= now) return std::nullopt;
  if (set_modified != 0) found->second.modified = set_modified;
  return found->second;
}

}  // namespace sallyport::daemon

#include "daemon/partners/taken_files.h"

namespace sallyport::daemon {
namespace {

// 60 s at 2,000 uploads a second would be more; what is forgotten early only looks gone early.
constexpr std::size_t most_remembered = 50'000;

}  // namespace

void TakenFiles::forget_old(Clock::time_point now) {
  for (auto it = files_.begin(); it != files_.end();) {
    it = it->second.until <= now ? files_.erase(it) : std::next(it);
  }
}

void TakenFiles::remember(const std::string& partner, const std::string& path, Taken taken) {
  const std::lock_guard lock(mutex_);
  if (files_.size() >= most_remembered) {
    forget_old(Clock::now());
    if (files_.size() >= most_remembered) files_.clear();
  }
  files_[{partner, path}] = taken;
}

std::optional<TakenFiles::Taken> TakenFiles::find(const std::string& partner,
                                                  const std::string& path,
                                                  std::int64_t set_modified,
                                                  Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  const auto found = files_.find({partner, path});
  if (found == files_.end()) return std::nullopt;
  if (found->second.until <= now) {
    files_.erase(found);
    return std::nullopt;
  }
  if (set_modified != 0) found->second.modified = set_modified;
  return found->second;
}

}  // namespace sallyport::daemon

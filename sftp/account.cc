#include "sftp/account.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <utility>

namespace sallyport::sftp {
namespace {

constexpr std::uint64_t report_every_bytes = 64 * 1024 * 1024;
// The partner's other sessions count on what we have not told of yet: what is left shrinks, and
// with it what each may keep to itself.
constexpr std::uint64_t part_of_what_is_left = 16;
constexpr std::uint64_t least_bytes_told = 64 * 1024;
// Counting a large folder takes the daemon a while, and so does a busy disk: no reason to lose an
// upload.
constexpr std::chrono::seconds answer_deadline{60};

// Sessions say within a millisecond what they hold, unless they are at work: half a second for
// that.
constexpr timespec between_waits{0, 20'000'000};
constexpr int most_waits = 25;
constexpr std::chrono::seconds patience{10};
// What was freed is told this often, however little it is: what is left may be nothing by now.
constexpr std::chrono::seconds often{1};

std::uint64_t added(std::int64_t count) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(count, 0));
}

// What is left of `left` when `since` more (or fewer) are used; unlimited stays unlimited.
std::uint64_t remaining(std::uint64_t left, std::int64_t since) {
  if (left == unlimited) return unlimited;
  if (since >= 0) return left - std::min(left, static_cast<std::uint64_t>(since));
  return left + static_cast<std::uint64_t>(-since);
}

}  // namespace

bool Quota::fits(std::uint64_t bytes, std::uint64_t files) const {
  return bytes <= bytes_left() && files <= files_left();
}

bool Quota::take(std::uint64_t bytes, std::uint64_t files) {
  for (int tries = 0;; ++tries) {
    if (!fits(bytes, files)) report();  // other sessions may have freed some
    if (fits(bytes, files)) {
      if (!worth_a_report(added(bytes_since_) + bytes, added(files_since_) + files)) {
        bytes_since_ += static_cast<std::int64_t>(bytes);
        files_since_ += static_cast<std::int64_t>(files);
        return true;
      }
      if (send_report(bytes, files)) return true;
      // Others have taken what was left a moment ago.
    }
    if (!settles_ || std::chrono::steady_clock::now() < no_wait_until_) return false;
    if (tries == most_waits) {
      // Dozens of writes may be on their way, and other channels wait.
      no_wait_until_ = std::chrono::steady_clock::now() + patience;
      return false;
    }
    (void)::clock_nanosleep(CLOCK_MONOTONIC, 0, &between_waits, nullptr);
  }
}

bool Quota::worth_a_report(std::uint64_t bytes, std::uint64_t files) const {
  return bytes >=
             std::clamp(bytes_left_ / part_of_what_is_left, least_bytes_told, report_every_bytes) ||
         files >= std::max<std::uint64_t>(files_left_ / part_of_what_is_left, 1);
}

void Quota::take_back(std::uint64_t bytes, std::uint64_t files) {
  bytes_since_ -= static_cast<std::int64_t>(bytes);
  files_since_ -= static_cast<std::int64_t>(files);
  // Others may wait for it.
  due_ = due_ || (limits() && worth_a_report(added(-bytes_since_), added(-files_since_)));
}

void Quota::give(std::uint64_t bytes, std::uint64_t files) {
  take_back(bytes, files);
  if (!limits()) return;
  bytes_freed_ += bytes;
  files_freed_ += files;
  due_ = due_ || worth_a_report(bytes_freed_, files_freed_);
}

std::optional<std::chrono::milliseconds> Quota::tells_in(
    std::chrono::steady_clock::time_point now) const {
  const bool frees = bytes_since_ < 0 || files_since_ < 0 || bytes_freed_ != 0 || files_freed_ != 0;
  if (!limits() || !frees) return std::nullopt;
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(told_ + often - now);
  return std::max(left, std::chrono::milliseconds{0});
}

void Quota::report_all() {
  tells_all_ = true;
  report();
  tells_all_ = false;
}

bool Quota::send_report(std::uint64_t wanted_bytes, std::uint64_t wanted_files) {
  due_ = false;
  UsageReport report;
  report.bytes = bytes_since_;
  report.files = files_since_;
  report.wanted_bytes = wanted_bytes;
  report.wanted_files = wanted_files;
  // Before what is held is looked for.
  report.answers = answered_ = broker_.usage_query();
  if (!limits() && bytes_since_ == 0 && files_since_ == 0 && wanted_bytes == 0 && wanted_files == 0)
    return true;
  if (limits() && held_) report.held = held_();
  // Others are not asked for each small file.
  if (tells_all_ || worth_a_report(bytes_freed_, files_freed_)) {
    report.freed_bytes = std::exchange(bytes_freed_, 0);
    report.freed_files = std::exchange(files_freed_, 0);
  }
  const auto answer = broker_.ask<UsageAnswer>(std::move(report), answer_deadline);
  bytes_since_ = 0;
  files_since_ = 0;
  bytes_left_ = answer.bytes_left;
  files_left_ = answer.files_left;
  settles_ = answer.settles;
  if (!settles_) no_wait_until_ = {};
  told_ = std::chrono::steady_clock::now();
  return answer.granted;
}

std::uint64_t Quota::bytes_left() const {
  return remaining(bytes_left_, bytes_since_);
}
std::uint64_t Quota::files_left() const {
  return remaining(files_left_, files_since_);
}

void Throttle::refill(std::chrono::steady_clock::time_point now) {
  const double rate = static_cast<double>(rate_);
  if (filled_ == std::chrono::steady_clock::time_point{}) {
    tokens_ = rate;
  } else {
    tokens_ = std::min(rate, tokens_ + rate * std::chrono::duration<double>(now - filled_).count());
  }
  filled_ = now;
}

void Throttle::spend(std::uint64_t bytes, std::chrono::steady_clock::time_point now) {
  if (rate_ == unlimited) return;
  refill(now);
  tokens_ -= static_cast<double>(bytes);
}

std::uint64_t Throttle::bytes_in(std::chrono::milliseconds time, std::uint64_t least) const {
  if (rate_ == unlimited) return unlimited;
  const double bytes = static_cast<double>(rate_) * static_cast<double>(time.count()) / 1000;
  return std::max(least, static_cast<std::uint64_t>(bytes));
}

std::chrono::milliseconds Throttle::wait(std::chrono::steady_clock::time_point now) {
  if (rate_ == unlimited) return std::chrono::milliseconds{0};
  refill(now);
  if (tokens_ >= 0) return std::chrono::milliseconds{0};
  return std::chrono::milliseconds{
      static_cast<std::int64_t>(std::ceil(-tokens_ * 1000 / static_cast<double>(rate_)))};
}

}  // namespace sallyport::sftp

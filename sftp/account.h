// What a session may still use: quota, shared with the partner's other sessions through the daemon,
// and bandwidth.
//
// One thread. Quota throws BrokerError when the daemon is gone; Throttle never fails.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "sftp/broker.h"

namespace sallyport::sftp {

/// Counts what this session adds and frees, reports it now and then, and knows what is left.
class Quota {
 public:
  // What the peer is told.
  static constexpr std::string_view no_more_bytes =
      "The quota of your folders is used up: it may hold no more bytes";
  static constexpr std::string_view no_more_files =
      "The quota of your folders is used up: it may hold no more files";

  Quota(BrokerClient& broker, const SessionLimits& limits)
      : broker_(broker),
        bytes_left_(limits.quota_bytes_left),
        files_left_(limits.quota_files_left) {}

  /// What files without a name this session has open, asked for each report. Empty: none.
  void count_held_by(std::function<std::vector<HeldFile>()> count) { held_ = std::move(count); }

  /// True if `bytes` and `files` more are allowed; they are counted then.
  [[nodiscard]] bool take(std::uint64_t bytes, std::uint64_t files);
  /// What was taken and is not needed after all.
  void take_back(std::uint64_t bytes, std::uint64_t files);
  /// What lost its name: others may have it open, and are asked when the daemon hears of it.
  void give(std::uint64_t bytes, std::uint64_t files);
  /// Something without a name was closed, or has another size.
  void held_changed() { due_ = true; }
  /// There is something to report that does not wait until more is taken.
  [[nodiscard]] bool owes_report() const { return due_ || answered_ != broker_.usage_query(); }
  /// Tells the daemon what has changed since the last report, and what is held.
  void report() { (void)send_report(0, 0); }
  /// When what was freed is to be told though it is little, if anything was.
  [[nodiscard]] std::optional<std::chrono::milliseconds> tells_in(
      std::chrono::steady_clock::time_point now) const;
  /// Whatever has not been told, however little it is.
  void report_all();
  [[nodiscard]] bool limits() const { return bytes_left_ != unlimited || files_left_ != unlimited; }
  [[nodiscard]] std::uint64_t bytes_left() const;
  [[nodiscard]] std::uint64_t files_left() const;
  [[nodiscard]] bool limits_bytes() const { return bytes_left_ != unlimited; }

 private:
  [[nodiscard]] bool fits(std::uint64_t bytes, std::uint64_t files) const;
  [[nodiscard]] bool worth_a_report(std::uint64_t bytes, std::uint64_t files) const;
  /// True if the daemon has room for what is wanted; it is counted then.
  bool send_report(std::uint64_t wanted_bytes, std::uint64_t wanted_files);

  BrokerClient& broker_;
  std::uint64_t bytes_left_;  ///< as the daemon said last
  std::uint64_t files_left_;
  std::int64_t bytes_since_ = 0;  ///< what happened since then
  std::int64_t files_since_ = 0;
  std::uint64_t bytes_freed_ = 0;  ///< of that, whatever was added meanwhile
  std::uint64_t files_freed_ = 0;
  std::uint32_t answered_ = 0;  ///< the last query
  bool due_ = false;
  bool tells_all_ = false;
  bool settles_ = false;  ///< as the daemon said last
  std::chrono::steady_clock::time_point no_wait_until_;
  std::chrono::steady_clock::time_point told_;
  std::function<std::vector<HeldFile>()> held_;
};

/// A token bucket of one second.
class Throttle {
 public:
  explicit Throttle(std::uint64_t bytes_per_second) : rate_(bytes_per_second) {}

  [[nodiscard]] bool limits() const { return rate_ != unlimited; }
  /// As the last spend() or wait() left it: whoever is told so is sure that the next wait() is,
  /// too.
  [[nodiscard]] bool exhausted() const { return tokens_ < 0; }
  /// At that rate and over that time; at least `least`.
  [[nodiscard]] std::uint64_t bytes_in(std::chrono::milliseconds time, std::uint64_t least) const;
  void spend(std::uint64_t bytes, std::chrono::steady_clock::time_point now);
  /// How long to wait before the next byte.
  [[nodiscard]] std::chrono::milliseconds wait(std::chrono::steady_clock::time_point now);

 private:
  void refill(std::chrono::steady_clock::time_point now);

  std::uint64_t rate_;
  double tokens_ = 0;
  std::chrono::steady_clock::time_point filled_{};
};

}  // namespace sallyport::sftp

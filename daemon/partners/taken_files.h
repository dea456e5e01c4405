// Files that were just taken into the pipeline, by partner and path: for a while clients that look
// after their upload are told that it is there (spec/gateway.md 4).
//
// Thread-safe, in memory only, bounded.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

namespace sallyport::daemon {

class TakenFiles {
 public:
  using Clock = std::chrono::steady_clock;
  struct Taken {
    std::uint64_t size = 0;
    std::int64_t modified = 0;
    Clock::time_point until{};
  };

  void remember(const std::string& partner, const std::string& path, Taken taken);
  /// `set_modified` other than 0 is remembered for the next question.
  [[nodiscard]] std::optional<Taken> find(const std::string& partner, const std::string& path,
                                          std::int64_t set_modified, Clock::time_point now);

 private:
  using Name = std::pair<std::string, std::string>;
  struct Place {
    Name name;
    Clock::time_point until;
  };

  std::mutex mutex_;
  std::map<Name, Taken> files_;
  std::deque<Place> order_;  ///< as they were taken
};

}  // namespace sallyport::daemon

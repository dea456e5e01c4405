// How much of its quota each partner uses: measured on disk now and then, kept up to date in
// between by what sessions report, and what sessions have open that has no name any more, which no
// measuring finds. Partners without a quota are never measured.
//
// Thread-safe; measuring walks the partner's folders and is left to the thread of one
// caller; others go on with what was known before (at first: that nothing is used).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "daemon/config/config.h"
#include "daemon/partners/directories.h"

namespace sallyport::daemon {

struct QuotaLeft {
  std::uint64_t bytes = no_limit;
  std::uint64_t files = no_limit;
  bool exceeded = false;  ///< more is used than the quota allows
  bool measured = false;  ///< just now
  bool settles = false;   ///< something that was freed is waited for
};

class UsageTable {
 public:
  /// `measure` may throw.
  explicit UsageTable(std::function<Usage(const std::string&)> measure)
      : measure_(std::move(measure)) {}

  /// Adds what a session reports (0 at login) and returns what is left of the policy's quota.
  [[nodiscard]] QuotaLeft left(const std::string& partner, const PartnerPolicy& policy,
                               std::int64_t more_bytes, std::int64_t more_files);
  /// What a session holds now, instead of what it said before.
  void holds(const std::string& partner, const std::string& session, const Usage& held);
  /// Something lost its name: it goes on counting until heard() of all `sessions`, which may have
  /// it open.
  void freed(const std::string& partner, const Usage& freed, std::set<std::string> sessions);
  /// What a session holds() is all that it held when it was asked last.
  void heard(const std::string& partner, const std::string& session);
  /// A session has ended.
  void forget(const std::string& partner, const std::string& session);

 private:
  struct Known {
    std::int64_t bytes = 0;
    std::int64_t files = 0;
    std::optional<std::chrono::steady_clock::time_point> measured;
    bool being_measured = false;
    std::map<std::string, Usage> held;  ///< by sessions that hold anything
    struct Freed {
      Usage usage;
      std::set<std::string> waits_for;
    };
    std::vector<Freed> freed;
    std::uint64_t bytes_freed = 0;  ///< since it was measured
    std::uint64_t files_freed = 0;
  };
  static void hear(Known& known, const std::string& session);
  void measure(const std::string& partner, std::chrono::steady_clock::time_point now);

  const std::function<Usage(const std::string&)> measure_;
  std::mutex mutex_;
  std::map<std::string, Known> known_;
};

}  // namespace sallyport::daemon

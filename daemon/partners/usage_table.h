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
#include <string>
#include <utility>
#include <vector>

#include "daemon/config/config.h"
#include "daemon/partners/directories.h"

namespace sallyport::daemon {

struct QuotaLeft {
  std::uint64_t bytes = no_limit;
  std::uint64_t files = no_limit;
  bool granted = true;   ///< there was room for what was wanted
  bool settles = false;  ///< something that was freed is waited for
};

/// What a session adds and frees (less than 0), and what it would add if there is room for it.
struct UsageChange {
  std::int64_t bytes = 0;
  std::int64_t files = 0;
  Usage wanted;
};

class UsageTable {
 public:
  /// `measure` may throw. Sessions are to have told what they have not told before it begins, and
  /// moved() is to have heard of what was moved before it ends.
  explicit UsageTable(std::function<Usage(const std::string&)> measure)
      : measure_(std::move(measure)) {}

  /// Adds what a session reports (nothing at login) and returns what is left of the policy's quota.
  [[nodiscard]] QuotaLeft left(const std::string& partner, const PartnerPolicy& policy,
                               const UsageChange& change);
  /// Bytes of files, by device and inode: several sessions may hold one.
  using Held = std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint64_t>;
  /// Something went from one folder to another: a walk through them may have met it nowhere.
  void moved(const std::string& partner);
  /// What a session holds now, instead of what it said before.
  void holds(const std::string& partner, const std::string& session, Held held);
  /// The number of the query that each session is to answer.
  using Queries = std::map<std::string, std::uint32_t>;
  /// Something lost its name: it goes on counting until heard() of all that are asked, who may have
  /// it open.
  void freed(const std::string& partner, const Usage& freed, Queries asked);
  /// What a session holds() is all that it held when it was asked that.
  void heard(const std::string& partner, const std::string& session, std::uint32_t query);
  /// A session has ended.
  void forget(const std::string& partner, const std::string& session);

 private:
  struct Known {
    std::int64_t bytes = 0;
    std::int64_t files = 0;
    std::optional<std::chrono::steady_clock::time_point> measured;
    bool being_measured = false;
    std::map<std::string, Held> held;  ///< by sessions that hold anything
    struct Freed {
      Usage usage;
      Queries waits_for;
    };
    std::vector<Freed> freed;
    std::uint64_t bytes_freed = 0;  ///< since it was measured
    std::uint64_t files_freed = 0;
    std::chrono::steady_clock::duration walk{0};  ///< what measuring took
    bool changed = false;  ///< while it was measured: what came out is not sure
    bool moved = false;    ///< likewise
  };
  [[nodiscard]] static bool stale(const Known& known, const PartnerPolicy& policy,
                                  std::chrono::steady_clock::time_point now);
  [[nodiscard]] static Usage used(const Known& known);
  /// Whoever `leaves` answers nothing any more.
  static void hear(Known& known, const std::string& session, std::uint32_t query, bool leaves);
  void measure(const std::string& partner);

  const std::function<Usage(const std::string&)> measure_;
  std::mutex mutex_;
  std::map<std::string, Known> known_;
};

}  // namespace sallyport::daemon

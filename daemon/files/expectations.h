// "On weekdays by 06:00 UTC, 1 to 3 files of at least 1 KiB": what is expected of a partner and
// object, and what was found instead. Each occurrence is looked at once, at its time, over what was
// received since the one before; what does not fit is announced in one notice. A file that comes
// late is that of the occurrence that missed it: else who is late every day would be announced
// once.
//
// The rules are pure. ExpectationWork keeps how far it has looked in the store, so that occurrences
// while the daemon was down are looked at after it; a new expectation begins with its next one.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "base/instant.h"
#include "daemon/files/context.h"
#include "daemon/scheduler/due_work.h"
#include "store/files.h"

namespace sallyport::daemon {

struct Expectation {
  std::string partner;
  std::string object;
  std::array<bool, 7> days{};  ///< Monday first
  base::Seconds by{0};         ///< after 00:00 UTC
  std::int64_t least_files = 1;
  std::optional<std::int64_t> most_files;
  std::uint64_t least_bytes = 0;
  std::string words;  ///< the rule for people

  /// Stays the same while partner, object, days and time do.
  [[nodiscard]] std::string id() const;
  /// The first occurrence after `after`.
  [[nodiscard]] base::Instant next(base::Instant after) const;
  /// The last occurrence before `before`.
  [[nodiscard]] base::Instant previous(base::Instant before) const;
};

/// nullopt and what is wrong in `problem` if the entry makes no sense.
[[nodiscard]] std::optional<Expectation> parse_expectation(const TableEntry& entry,
                                                           std::string& problem);

/// What does not fit, as words; empty if all does. `late`: how many of those found were missing at
/// the occurrence before and came nearer to that: they are its own.
[[nodiscard]] std::string judge(const Expectation& expectation, const store::ReceivedCount& found,
                                std::int64_t late);

class ExpectationWork final : public DueWork {
 public:
  explicit ExpectationWork(const FileContext& context) : context_(context) {}
  [[nodiscard]] std::string name() const override { return "expectations"; }
  [[nodiscard]] std::optional<base::Instant> earliest() override;
  bool run_pass(base::Instant now) override;
  [[nodiscard]] bool leader_only() const override { return true; }

 private:
  [[nodiscard]] std::vector<Expectation> configured();
  /// `missing`: how many were missing at the occurrence before; then, how many at this one.
  void look_at(const Expectation& expectation, base::Instant occurrence, std::int64_t& missing,
               base::Instant now);

  FileContext context_;
};

}  // namespace sallyport::daemon

// What happens to files that lie still (spec/gateway.md 6 and 7): after their time in the archive
// they move to the backup; outgoing ones that nobody collects are announced, and move too.
//
// A move is: copy, compare, record where the copy is, remove, record the state. A file whose copy
// is recorded and which is still in its place was interrupted in between; it is only removed.
//
// One pass at a time (the scheduler's). A file that cannot be backed up for a reason of its own
// (changed by hand) raises "files.changed", is looked at again a day later, and holds up no other.
// A target that cannot be reached delays all moves by a minute, raises "backup.unreachable" and
// loses nothing. A backup.encrypt_to that cannot be used raises "backup.key" at the start and at a
// reload, not two weeks later with the first move.
#pragma once

#include <atomic>
#include <string>

#include "base/locked.h"
#include "daemon/files/context.h"
#include "daemon/scheduler/due_work.h"
#include "store/files.h"

namespace sallyport::daemon {

class Retention final : public DueWork {
 public:
  explicit Retention(const FileContext& context) : context_(context) {}

  [[nodiscard]] std::string name() const override { return "retention"; }
  [[nodiscard]] std::optional<base::Instant> earliest() override;
  bool run_pass(base::Instant now) override;
  [[nodiscard]] bool leader_only() const override { return true; }

 private:
  void look_at(store::File& file, base::Instant now);
  void look_at_key(base::Instant now);
  [[nodiscard]] bool must_pause(base::Instant now) const;
  void postpone(store::File& file, base::Instant now, const std::string& sentence);
  void remind(store::File& file, base::Instant now);
  void move_to_backup(store::File& file, base::Instant now);

  FileContext context_;
  std::atomic<std::int64_t> not_before_{0};
  base::Locked<std::string> looked_at_key_;  ///< the backup.encrypt_to that was looked at
};

}  // namespace sallyport::daemon

// Partials and complete files that never got their ready name, in /Incoming: after their time
// (spec/gateway.md 4; 48 h) they move to /Archive/Failed with a reason, like any file that could
// not be processed.
//
// A move has two steps, as an upload has: a row that names the reason and the place in the spool,
// the rename into the spool, then the failure like any other (Inbound::give_up). What an
// interruption leaves is finished from the row.
//
// Interrupted uploads that the front keeps hidden in staging/, since a complete file has their name
// (sftp/recovery.h), age like the ones that are shown.
//
// Their age is counted from when the daemon first saw them as they are, by the journal's clock; for
// what is there at a start, from the file's last change, which partners cannot set.
//
// One pass at a time (the scheduler's); noticed() from any thread.
#pragma once

#include <atomic>
#include <map>
#include <string>

#include "daemon/files/context.h"
#include "daemon/files/inbound.h"
#include "daemon/scheduler/due_work.h"
#include "store/files.h"

namespace sallyport::daemon {

class WaitingFiles final : public DueWork {
 public:
  WaitingFiles(const FileContext& context, Inbound& inbound)
      : context_(context), inbound_(inbound) {}

  /// A session left something: look again.
  void noticed();

  [[nodiscard]] std::string name() const override { return "waiting-files"; }
  [[nodiscard]] std::optional<base::Instant> earliest() override;
  bool run_pass(base::Instant now) override;
  [[nodiscard]] bool leader_only() const override { return true; }

 private:
  struct Sight {
    std::int64_t changed = 0;  ///< of the file, ns
    base::Instant since{};
    bool still_there = false;
  };
  void remove_old_receipts(const store::Partner& partner, base::Instant now);
  void look_at_folder(const store::Partner& partner, const Directory& folder,
                      const std::string& object, const std::string& sub_folders, unsigned depth,
                      base::Instant now);
  void look_at_file(const store::Partner& partner, const Directory& folder,
                    const std::string& object, const std::string& name, base::Instant now);
  void look_at_staging(const store::Partner& partner, base::Instant now);
  /// Notes how long the file has been as it is; true if that is longer than it may be.
  bool is_over(const store::Partner& partner, const std::string& object, const std::string& path,
               const struct ::stat& status, base::Instant now);
  void expire(const store::Partner& partner, const Directory& folder, const std::string& source,
              const std::string& object, const std::string& name, bool is_partial,
              base::Instant now);

  FileContext context_;
  Inbound& inbound_;
  std::map<std::string, Sight> sights_;
  std::atomic<std::int64_t> next_{0};
};

}  // namespace sallyport::daemon

// Checkpoints of the activity chains and their verification.
//
// Every hour the head of this node's chain goes to the journal and into the checkpoint table,
// authenticated with a credential that is not in the store: who can write to the database can
// rebuild a chain of hashes, but not those checkpoints. The last one is kept in a file too
// (anchor.h), for they could take the newest ones away. What is older than the policy is pruned
// behind a checkpoint that says so, and only while the chain is what the anchor says.
//
// ActivityKeeper is the scheduler's; verify_activity() may be called from any thread and reads page
// by page. Failures are the store's; an unreadable credential raises health and leaves checkpoints
// unauthenticated, which verification reports.
#pragma once

#include <string>
#include <vector>

#include "base/secret.h"
#include "daemon/activity/activity_log.h"
#include "daemon/health.h"
#include "daemon/scheduler/due_work.h"

namespace sallyport::daemon {

/// Passed: the chain came to this row. Pruned: the rows up to this one were removed by the policy.
enum class CheckpointKind { passed, pruned };

/// Hex HMAC over kind, node, sequence, hash and time.
[[nodiscard]] std::string authenticate(const store::ActivityCheckpoint& checkpoint,
                                       const base::Secret& credential,
                                       CheckpointKind kind = CheckpointKind::passed);

struct ChainReport {
  std::string node;
  std::int64_t rows = 0;
  std::int64_t first = 0;
  std::int64_t last = 0;
  /// The last row that an authenticated checkpoint vouches for. Rows after it are linked to it, but
  /// who holds the store could have rewritten them.
  std::int64_t vouched = 0;
  std::int64_t checkpoints = 0;
  std::int64_t unauthenticated = 0;   ///< checkpoints without or with a wrong authenticator
  std::vector<std::string> findings;  ///< empty: nothing changed, missing or cut off

  [[nodiscard]] bool good() const { return findings.empty(); }
};

/// Of every node, at most a hundred findings each. An empty credential vouches for nothing.
/// `anchors`: the directory of anchors.
[[nodiscard]] std::vector<ChainReport> verify_activity(store::Store& store,
                                                       const base::Secret& credential,
                                                       const std::string& anchors);

class ActivityKeeper final : public DueWork {
 public:
  ActivityKeeper(store::Store& store, const LiveConfig& config, std::string node, Health& health);

  [[nodiscard]] std::string name() const override { return "activity"; }
  [[nodiscard]] std::optional<base::Instant> earliest() override { return next_; }
  bool run_pass(base::Instant now) override;

  /// A checkpoint of the head as it is now, if there are rows since the last one.
  void write_checkpoint(base::Instant now);
  /// Removes what is older than the policy, behind a checkpoint.
  void prune(base::Instant now);

 private:
  /// Whether the store still has the row that the anchor names. Raises health if not.
  [[nodiscard]] bool agrees_with_anchor();
  /// A problem in the rows up to `upto` that are to be pruned; empty if they fit together.
  [[nodiscard]] std::string problem_up_to(std::int64_t upto);
  void keep_anchor(const store::ActivityCheckpoint& checkpoint);
  [[nodiscard]] store::ActivityCheckpoint checkpoint_of(
      const store::Activity& row, base::Instant now, CheckpointKind kind = CheckpointKind::passed);
  [[nodiscard]] base::Secret credential();

  store::Store& store_;
  const LiveConfig& config_;
  std::string node_;
  Health& health_;
  std::optional<base::Instant> next_ = base::Instant{};
  std::optional<store::ActivityCheckpoint> anchor_;  ///< as it was last read or written
  bool agrees_ = true;
};

/// The configured credential; empty if none is configured. Throws base::Error if it cannot be read.
[[nodiscard]] base::Secret activity_credential(const Config& config);

}  // namespace sallyport::daemon

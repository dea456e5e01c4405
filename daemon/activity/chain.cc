#include "daemon/activity/chain.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/bytes.h"
#include "base/log.h"
#include "daemon/activity/anchor.h"

namespace sallyport::daemon {

namespace {

constexpr unsigned page_rows = 1000;
constexpr std::size_t most_findings = 100;

base::Sha256 hash_of(const store::Activity& row) {
  base::Sha256Stream stream;
  stream.update(std::span<const std::uint8_t>(row.previous_hash));
  stream.update(store::activity_content(row));
  return stream.finish();
}

class Verifier {
 public:
  Verifier(store::Store& store, std::string node, const base::Secret& credential,
           const std::string& anchors)
      : store_(store), credential_(credential), anchors_(anchors) {
    report_.node = std::move(node);
  }

  ChainReport run() {
    // First: what it names was in the store before it was written.
    std::optional<store::ActivityCheckpoint> anchor;
    try {
      anchor = read_anchor(anchors_, report_.node);
    } catch (const base::Error& error) {
      find(error.what());
    }
    read_checkpoints();
    if (anchor) take_anchor(*anchor);
    // Before the rows: what is appended meanwhile lies behind it.
    end_ = store_.read([&](store::Unit& unit) { return store::activity_end(unit, report_.node); });
    std::int64_t after = 0;
    while (true) {
      const auto page = store_.read([&](store::Unit& unit) {
        return store::activity_chain(unit, report_.node, after, page_rows);
      });
      for (const auto& row : page) take(row);
      if (page.size() < page_rows) break;
      after = page.back().sequence;
    }
    check_end();
    return std::move(report_);
  }

 private:
  void find(std::string finding) {
    if (report_.findings.size() < most_findings) report_.findings.push_back(std::move(finding));
  }

  void read_checkpoints() {
    const auto rows =
        store_.read([&](store::Unit& unit) { return store::checkpoints(unit, report_.node); });
    for (const auto& row : rows) {
      ++report_.checkpoints;
      const bool pruned = is_by_us(row, CheckpointKind::pruned);
      const bool vouches = pruned || is_by_us(row, CheckpointKind::passed);
      if (!vouches) {
        ++report_.unauthenticated;
        if (!credential_.empty() && !row.authenticator.empty()) {
          find("the checkpoint of row " + std::to_string(row.sequence) + " at " +
               base::format_utc(row.at) + " is forged or made with another credential");
        }
      }
      Checkpoint& known = checkpoints_[row.sequence];
      if (vouches || !known.vouches) known = {row.hash, vouches, known.pruned || pruned};
    }
  }

  [[nodiscard]] bool is_by_us(const store::ActivityCheckpoint& row, CheckpointKind kind) const {
    return !credential_.empty() &&
           base::equal_constant_time(row.authenticator, authenticate(row, credential_, kind));
  }

  void take_anchor(const store::ActivityCheckpoint& anchor) {
    const std::string path = anchor_path(anchors_, report_.node);
    if (!credential_.empty() && !is_by_us(anchor, CheckpointKind::passed)) {
      find(path + " is forged or made with another credential");
      return;
    }
    const auto known = checkpoints_.find(anchor.sequence);
    if (known == checkpoints_.end() || known->second.hash != anchor.hash) {
      find("the checkpoint of row " + std::to_string(anchor.sequence) + " at " +
           base::format_utc(anchor.at) + ", which " + path + " holds, is not in the store");
    }
    checkpoints_[anchor.sequence] = {anchor.hash, !credential_.empty(),
                                     known != checkpoints_.end() && known->second.pruned};
  }

  void take(const store::Activity& row) {
    if (report_.rows == 0) {
      check_begin(row);
    } else if (row.sequence != last_.sequence + 1) {
      find("rows " + std::to_string(last_.sequence + 1) + " to " +
           std::to_string(row.sequence - 1) + " are missing");
    } else if (row.previous_hash != last_.hash) {
      find("row " + std::to_string(row.sequence) + " is not linked to the row before it");
    }
    if (row.hash != hash_of(row)) {
      find("row " + std::to_string(row.sequence) + " (" + row.id + ", " + base::format_utc(row.at) +
           ") was changed");
    }
    if (const auto known = checkpoints_.find(row.sequence); known != checkpoints_.end()) {
      if (known->second.hash != row.hash) {
        find("row " + std::to_string(row.sequence) + " differs from its checkpoint");
      } else if (known->second.vouches) {
        report_.vouched = row.sequence;
      }
    }
    if (end_ && row.sequence == end_->sequence && row.hash != end_->hash) {
      find("row " + std::to_string(row.sequence) + " is not what the next row would follow");
    }
    ++report_.rows;
    last_ = row;
    report_.last = row.sequence;
  }

  void check_begin(const store::Activity& row) {
    report_.first = row.sequence;
    if (row.sequence == 1) {
      if (row.previous_hash != base::Sha256{}) find("row 1 claims to follow another row");
      return;
    }
    const auto known = checkpoints_.find(row.sequence - 1);
    if (known == checkpoints_.end() || known->second.hash != row.previous_hash ||
        (!credential_.empty() && !known->second.pruned)) {
      find("rows 1 to " + std::to_string(row.sequence - 1) +
           " are missing, and no authenticated checkpoint says that they were pruned");
    }
  }

  void check_end() {
    const std::int64_t newest = checkpoints_.empty() ? 0 : checkpoints_.rbegin()->first;
    if (newest > report_.last) {
      find("rows " + std::to_string(report_.last + 1) + " to " + std::to_string(newest) +
           " were cut off the end: there is a checkpoint of row " + std::to_string(newest));
    } else if (end_ && end_->sequence > report_.last) {
      find("rows " + std::to_string(report_.last + 1) + " to " + std::to_string(end_->sequence) +
           " were cut off the end: the next row would follow row " +
           std::to_string(end_->sequence));
    } else if (!end_ || end_->sequence < newest) {
      find("where the chain ends was changed: the next row would not follow the last one");
    }
  }

  struct Checkpoint {
    base::Sha256 hash{};
    bool vouches = false;
    bool pruned = false;  ///< vouches for the removal of the rows up to it
  };

  store::Store& store_;
  const base::Secret& credential_;
  const std::string& anchors_;
  ChainReport report_;
  std::map<std::int64_t, Checkpoint> checkpoints_;
  std::optional<store::ActivityEnd> end_;
  store::Activity last_;
};

}  // namespace

std::string authenticate(const store::ActivityCheckpoint& checkpoint,
                         const base::Secret& credential, CheckpointKind kind) {
  const std::string text =
      std::string(kind == CheckpointKind::passed ? "sallyport activity checkpoint 1\n"
                                                 : "sallyport activity pruned 1\n") +
      std::to_string(checkpoint.node.size()) + ":" + checkpoint.node + "\n" +
      std::to_string(checkpoint.sequence) + "\n" + base::to_hex(checkpoint.hash) + "\n" +
      std::to_string(base::to_unix(checkpoint.at)) + "\n";
  return base::to_hex(base::hmac_sha256(credential.reveal(), text));
}

std::vector<ChainReport> verify_activity(store::Store& store, const base::Secret& credential,
                                         const std::string& anchors) {
  const auto known = store.read([](store::Unit& unit) { return store::activity_nodes(unit); });
  // A chain that was taken away as a whole is known by its anchor.
  std::set<std::string> nodes(known.begin(), known.end());
  for (std::string& node : anchored_nodes(anchors)) nodes.insert(std::move(node));
  std::vector<ChainReport> reports;
  for (const auto& node : nodes) {
    reports.push_back(Verifier(store, node, credential, anchors).run());
  }
  return reports;
}

base::Secret activity_credential(const Config& config) {
  if (config.activity.credential_file.empty()) return {};
  return base::read_secret(config.activity.credential_file);
}

ActivityKeeper::ActivityKeeper(store::Store& store, const LiveConfig& config, std::string node,
                               Health& health)
    : store_(store), config_(config), node_(std::move(node)), health_(health) {}

bool ActivityKeeper::run_pass(base::Instant now) {
  // What vouches for the past must not be replaced, nor the past removed, while they differ.
  agrees_ = agrees_with_anchor();
  if (agrees_) prune(now);
  write_checkpoint(now);
  next_ = now + config_.get()->activity.checkpoint_every;
  return false;
}

bool ActivityKeeper::agrees_with_anchor() {
  constexpr std::string_view condition = "activity.changed";
  const std::string& directory = config_.get()->files.state;
  std::string problem;
  try {
    if (auto read = read_anchor(directory, node_)) anchor_ = std::move(read);
    if (!anchor_) return true;
    const auto rows = store_.read([&](store::Unit& unit) {
      return store::activity_chain(unit, node_, anchor_->sequence - 1, 1);
    });
    const bool there = !rows.empty() && rows.front().sequence == anchor_->sequence;
    if (!there || rows.front().hash != anchor_->hash || hash_of(rows.front()) != anchor_->hash) {
      problem = "row " + std::to_string(anchor_->sequence) +
                (there ? " is not what it was" : " is gone") + " at " +
                base::format_utc(anchor_->at);
    }
  } catch (const store::Error&) {
    throw;
  } catch (const base::Error& error) {
    problem = error.what();
  }
  health_.set(condition, !problem.empty(),
              "The activity log was changed behind the daemon's back: " + problem +
                  ". Nothing of it is pruned; `sallyportctl activity verify` says what differs. "
                  "After a database was restored on purpose, remove " +
                  anchor_path(directory, node_) + ".");
  return problem.empty();
}

void ActivityKeeper::keep_anchor(const store::ActivityCheckpoint& checkpoint) {
  constexpr std::string_view condition = "activity.anchor";
  if (!agrees_ || (anchor_ && anchor_->sequence == checkpoint.sequence)) return;
  anchor_ = checkpoint;
  try {
    write_anchor(config_.get()->files.state, checkpoint);
    health_.clear(condition);
  } catch (const base::Error& error) {
    health_.raise(condition,
                  std::string("Rows that are cut off the end of the activity log would not be "
                              "missed, since its last checkpoint cannot be kept in a file: ") +
                      error.what());
  }
}

base::Secret ActivityKeeper::credential() {
  constexpr std::string_view condition = "activity.credential";
  try {
    base::Secret secret = activity_credential(*config_.get());
    health_.clear(condition);
    return secret;
  } catch (const base::Error& error) {
    health_.raise(condition, std::string("The activity log's checkpoints are not authenticated: ") +
                                 error.what());
    return {};
  }
}

store::ActivityCheckpoint ActivityKeeper::checkpoint_of(const store::Activity& row,
                                                        base::Instant now, CheckpointKind kind) {
  store::ActivityCheckpoint checkpoint;
  checkpoint.node = node_;
  checkpoint.sequence = row.sequence;
  checkpoint.hash = row.hash;
  checkpoint.at = now;
  const base::Secret secret = credential();
  if (!secret.empty()) checkpoint.authenticator = authenticate(checkpoint, secret, kind);
  return checkpoint;
}

void ActivityKeeper::write_checkpoint(base::Instant now) {
  const auto head = store_.read([&](store::Unit& unit) {
    auto row = store::activity_head(unit, node_);
    if (!row) return row;
    const auto known = store::checkpoints(unit, node_);
    const bool done = std::any_of(known.begin(), known.end(), [&](const auto& checkpoint) {
      return checkpoint.sequence == row->sequence;
    });
    if (done) row.reset();
    return row;
  });
  if (!head) return;
  const auto checkpoint = checkpoint_of(*head, now);
  store_.write([&](store::Unit& unit) { store::insert_checkpoint(unit, checkpoint); });
  base::log_notice("activity.checkpoint",
                   {{"node", node_},
                    {"sequence", checkpoint.sequence},
                    {"hash", base::to_hex(checkpoint.hash)},
                    {"authenticator", checkpoint.authenticator}},
                   "the activity log stands at row {}, hash {}", checkpoint.sequence,
                   base::to_hex(checkpoint.hash));
  keep_anchor(checkpoint);
}

std::string ActivityKeeper::problem_up_to(std::int64_t upto) {
  std::optional<store::Activity> before;
  std::int64_t after = 0;
  while (true) {
    const auto page = store_.read(
        [&](store::Unit& unit) { return store::activity_chain(unit, node_, after, page_rows); });
    for (const auto& row : page) {
      const bool linked =
          !before || (row.sequence == before->sequence + 1 && row.previous_hash == before->hash);
      if (!linked || row.hash != hash_of(row)) return "row " + std::to_string(row.sequence);
      // The row behind the last has to follow it, too.
      if (row.sequence > upto) return {};
      before = row;
    }
    if (page.size() < page_rows) return {};
    after = page.back().sequence;
  }
}

void ActivityKeeper::prune(base::Instant now) {
  const base::Instant before = now - config_.get()->activity.keep;
  const auto last = store_.read([&](store::Unit& unit) -> std::optional<store::Activity> {
    const auto head = store::activity_head(unit, node_);
    if (!head) return std::nullopt;
    // The head stays: the next row has to be linked to something.
    std::int64_t upto =
        std::min(store::last_activity_before(unit, node_, before), head->sequence - 1);
    // What no checkpoint has seen yet could have any date written into it.
    if (anchor_) upto = std::min(upto, anchor_->sequence);
    if (upto < 1) return std::nullopt;
    const auto rows = store::activity_chain(unit, node_, upto - 1, 1);
    if (rows.empty() || rows.front().sequence != upto) return std::nullopt;
    return rows.front();
  });
  if (!last) return;
  if (const std::string problem = problem_up_to(last->sequence); !problem.empty()) {
    health_.raise("activity.changed",
                  "The activity log was changed behind the daemon's back: " + problem +
                      " does not fit. Nothing of it is pruned; `sallyportctl activity verify` says "
                      "what differs.");
    return;
  }
  const auto checkpoint = checkpoint_of(*last, now, CheckpointKind::pruned);
  const unsigned removed = store_.write([&](store::Unit& unit) {
    store::insert_checkpoint(unit, checkpoint);
    return store::prune_activity(unit, node_, checkpoint.sequence);
  });
  if (removed == 0) return;
  base::log_notice(
      "activity.pruned", {{"node", node_}, {"sequence", checkpoint.sequence}, {"rows", removed}},
      "removed {} rows of the activity log, up to row {}", removed, checkpoint.sequence);
}

}  // namespace sallyport::daemon

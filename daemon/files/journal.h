// The journal of files: what the broker server tells about uploads and downloads becomes rows and
// steps, and every later change of a row goes through here.
//
// A row's state says which steps are behind it; each change is one unit of work that moves the row
// by compare-and-swap and appends its step, so that the history never disagrees with the state.
//
// Threads: any. Failures: store::Error; Overtaken where somebody else moved the row meanwhile.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/locked.h"
#include "daemon/files/context.h"
#include "daemon/partners/file_journal.h"
#include "store/files.h"

namespace sallyport::daemon {

/// The row is no longer as it was read: read it again and go on from there.
class Overtaken : public base::Error {
 public:
  using base::Error::Error;
};

/// Stable names: "received", "backed_up".
[[nodiscard]] std::string_view to_string(store::FileState state);
[[nodiscard]] std::optional<store::FileState> parse_file_state(std::string_view text);

/// Commits `next` over the row it was read from, with a step of its state (unless `step` is empty
/// and the state is the same) and what else belongs into the unit. On return `next` is the row as
/// it is now. Throws Overtaken.
void commit_file(const FileContext& context, store::File& next, std::string_view step,
                 const std::function<void(store::Unit&)>& also = {});

/// Told of every file that the pipeline has something to do for.
using FileSink = std::function<void(const store::File&)>;

class Journal final : public FileJournal {
 public:
  /// `received` is called after the commit, in the order of the sequence numbers of a partner and
  /// object.
  /// `waiting` is told that a session left something that is no file yet.
  Journal(const FileContext& context, FileSink received, std::function<void()> waiting = {})
      : context_(context), received_(std::move(received)), waiting_(std::move(waiting)) {}

  UploadTicket begin_upload(const SessionPeer& peer, const UploadIntent& intent) override;
  void finish_upload(const std::string& id, std::uint64_t size,
                     const base::Sha256& sha256) override;
  void abort_upload(const std::string& id) override;
  void downloaded(const SessionPeer& peer, const std::string& virtual_path, std::uint64_t bytes,
                  bool complete) override;
  void left_waiting(const SessionPeer& peer, const std::string& virtual_path,
                    bool partial) override;
  void deleted(const SessionPeer& peer, const std::string& virtual_path) override;

  /// An upload that was begun and neither finished nor aborted, because a program or the machine
  /// went down: if the file is in the spool it is whole, and is received; else, once the intent is
  /// old enough that no session can still be at it, it is dropped. Nothing if there is none.
  void resolve_upload(const std::string& id);
  /// Whose intents are to be resolved: those that are old enough, or all (after a start).
  [[nodiscard]] std::vector<std::string> unresolved_uploads(bool all);
  /// Records what abort_upload() could not: the store was away then. Throws if it still is.
  void settle_aborts();
  [[nodiscard]] bool has_unrecorded_aborts() { return !unrecorded_aborts_.lock()->empty(); }

 private:
  void record_abort(const std::string& id);
  void remember(const store::UploadIntent& intent);
  /// An upload as it was begun, mostly without asking the store.
  [[nodiscard]] std::optional<store::UploadIntent> begun(const std::string& id);
  void record_received(const store::UploadIntent& intent, std::uint64_t size,
                       const std::string& sha256, std::string_view step);

  FileContext context_;
  FileSink received_;
  std::function<void()> waiting_;
  base::Locked<std::set<std::string>> unrecorded_aborts_;
  base::Locked<std::map<std::string, store::UploadIntent>> begun_;
  /// Numbers are given and handed on under the lock of their line, by a hash of partner and object.
  std::array<std::mutex, 64> lines_;
};

}  // namespace sallyport::daemon

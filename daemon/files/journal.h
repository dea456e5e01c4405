// The journal of files: what the broker server tells about uploads and downloads becomes rows and
// steps, and every later change of a row goes through here.
//
// A row's state says which steps are behind it; each change is one unit of work that moves the row
// by compare-and-swap and appends its step, so that the history never disagrees with the state.
//
// Threads: any. Failures: store::Error; Overtaken where somebody else moved the row meanwhile.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "daemon/files/context.h"
#include "daemon/files/intake.h"
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

class Journal final : public FileJournal {
 public:
  /// `received` as Intake has it. `waiting` is told that a session left something that is no file
  /// yet.
  Journal(const FileContext& context, FileSink received, std::function<void()> waiting = {})
      : context_(context), intake_(context_, std::move(received)), waiting_(std::move(waiting)) {}

  [[nodiscard]] Intake& intake() { return intake_; }

  void session_began(const SessionPeer& peer, const std::string& session_id) override {
    intake_.session_began(session_id, peer.partner, uploader_facts(peer));
  }
  void uploaded(const SessionPeer& peer, const std::string& session_id,
                const Uploaded& upload) override;
  void session_ended(const std::string& session_id, bool cut_off) override {
    intake_.session_ended(session_id, cut_off);
  }
  void downloaded(const SessionPeer& peer, const std::string& virtual_path, std::uint64_t bytes,
                  bool complete) override;
  void left_waiting(const SessionPeer& peer, const std::string& virtual_path,
                    bool partial) override;
  void deleted(const SessionPeer& peer, const std::string& virtual_path) override;

 private:
  FileContext context_;
  Intake intake_;
  std::function<void()> waiting_;
};

}  // namespace sallyport::daemon

// The steps of an inbound file (spec/gateway.md 5), each from one recorded state to the next:
//
//   received --prepare--> decrypted --publish--> delivered --archive--> archived
//        \-- a verdict against it --> failed (parked under /Archive/Failed with its reason)
//
// Where a file's bytes are tells how far an interrupted step came, because every move is one rename
// whose target is in the journal before it is made:
//   state decrypted, staged plaintext there   -> not published yet
//   state decrypted, it is gone, marker there -> published; only the record is missing
//   state decrypted, both gone                -> somebody emptied the staging: back to received
//   state delivered, original in the spool    -> not archived yet; gone -> archived
//   state failed, original in the spool       -> not parked yet
//   state receiving with a reason, in the spool -> gave up waiting for the rest (waiting_files.h)
// The marker is <id>.ready beside the plaintext, a second name of it (or an empty file), removed
// once delivery is recorded.
// So each step can be run again after an interruption anywhere, and does what is left of it.
//
// Threads: different files in parallel; one file belongs to one caller at a time, and publish() of
// one partner and object too. Failures: Overtaken, store::Error, base::SystemError and
// pgp::PgpError mean that the step did not happen; retry_later() records that.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "daemon/files/context.h"
#include "daemon/files/journal.h"
#include "daemon/files/steps.h"
#include "store/files.h"

namespace sallyport::daemon {

class Inbound {
 public:
  explicit Inbound(const FileContext& context) : context_(context) {}
  /// Told when a step of one file made another one's possible. Set once before threads start.
  void set_offer(FileSink offer) { offer_ = std::move(offer); }

  [[nodiscard]] StepResult prepare(store::File& file);
  [[nodiscard]] StepResult publish(store::File& file);
  [[nodiscard]] StepResult archive(store::File& file);
  /// What is left to do for a file in state failed or archived whose original is still in the
  /// spool. Nothing if it is in its place already.
  void settle_original(store::File& file);
  /// A partial or not-ready file that was brought into the spool since its time is over: fails with
  /// the reason that its row has. If it is not in the spool by its next_due, its row is given up.
  void give_up(store::File& file);

 private:
  struct Judgement;
  [[nodiscard]] base::UniqueFd open_original(const store::File& file) const;
  Judgement judge(const store::File& file, int original, const pgp::Acceptance& acceptance) const;
  /// `also` belongs into the unit that records it.
  StepResult accept(store::File& file, const Judgement& judgement,
                    const std::function<void(store::Unit&)>& also = {});
  StepResult refuse(store::File& file, const Judgement& judgement);
  /// A file that lacks a required signature, where one may come as NAME.sig.
  StepResult prepare_signed_apart(store::File& file, pgp::Acceptance acceptance,
                                  const PartnerPolicy& policy, const Judgement& without);
  /// NAME.sig itself.
  StepResult prepare_signature(store::File& file, const std::string& signed_name,
                               const PartnerPolicy& policy);
  StepResult wait_for_pair(store::File& file, std::string_view code, const std::string& sentence,
                           const PartnerPolicy& policy);
  StepResult reject(store::File& file, const std::string& code, const std::string& sentence);
  void park(store::File& file);
  /// Whether the plaintext that is no longer staged was published by an interrupted step.
  bool was_published(const store::File& file, const Directory& staging,
                     const Directory& target) const;
  void choose_archive_place(store::File& file, std::string_view area) const;
  /// The original is under its published_as afterwards; takes another name where that is taken.
  void move_original(store::File& file, std::string_view area);

  FileContext context_;
  FileSink offer_;
};

}  // namespace sallyport::daemon

// The journal of files (spec/gateway.md 4 to 8): a row a file, a row a step.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/instant.h"
#include "store/store.h"

namespace sallyport::store {

using base::Instant;

enum class Direction { inbound, outbound };

/// Inbound: receiving -> received -> decrypted -> delivered -> archived -> backed_up; failed from
/// any of the middle ones. Outbound: queued -> held | encrypted -> available -> downloaded ->
/// collected | backed_up. Each state is reached by one idempotent step of the pipeline.
enum class FileState {
  receiving,
  received,
  decrypted,
  delivered,
  archived,
  backed_up,
  failed,
  aborted,
  queued,
  held,
  encrypted,
  available,
  downloaded,
  collected
};

struct File {
  std::string id;
  std::string partner;
  Direction direction = Direction::inbound;
  std::string object;  ///< "" for files put directly into /Incoming
  std::string name;    ///< as the partner (or application) named it; may hold sub-folders with '/'
  std::string spool_name;  ///< file name in the partner's spool/ (inbound) or our work directory
  std::uint64_t size = 0;
  std::string sha256;  ///< hex, of the original as received
  FileState state = FileState::receiving;
  Instant created{};
  Instant received{};         ///< CLOSE, by the journal's clock; 0 until then
  std::int64_t sequence = 0;  ///< order of CLOSE within partner and object; set by mark_received
  std::string reason_code;
  std::string reason;        ///< the sentence for the partner
  std::string delivered_as;  ///< path below inbound/
  std::string
      published_as;       ///< virtual path of original now: "/Archive/Incoming/Invoices/x.csv.pgp"
  std::string backup_at;  ///< where the backup is: "dir:..." or "s3://bucket/key"
  std::string
      verdict;  ///< JSON: encrypted, signers, recipients, duplicate_of, bytes of plaintext, ...
  std::string plain_sha256;  ///< hex, of what was delivered
  std::string uploader;      ///< JSON: address, fingerprint, banner, method
  std::int32_t attempts = 0;
  std::optional<Instant> retry_since;  ///< first failure of the present step that is retried
  std::optional<Instant> next_due;  ///< retry, retention, reminder: when the pipeline looks again
  std::string claimed_by;
  std::optional<Instant> claimed_until;
  std::int64_t version = 0;

  friend bool operator==(const File&, const File&) = default;
};

/// An upload that a session has announced, with all that is to be known of it: durable before the
/// file is moved into the spool, where it has the name `id`. From that move on the file is ours.
/// Sessions keep them in lists of their own (sftp/intents.h). Programs before that kept them here:
/// what is left in the table is replaced by a File when it is known how it ended.
struct UploadIntent {
  std::string id;
  std::string partner;
  std::string object;
  std::string name;
  std::string uploader;  ///< as in File
  Instant created{};
  std::uint64_t size = 0;
  std::string sha256;        ///< hex; empty in intents of the first version, which did not say it
  std::int64_t ordinal = 0;  ///< grows with each announcement on this machine

  friend bool operator==(const UploadIntent&, const UploadIntent&) = default;
};
void insert_upload_intent(Unit& unit, const UploadIntent& intent);
/// False if there is none.
bool delete_upload_intent(Unit& unit, std::string_view id);
/// By id, after `after_id`.
[[nodiscard]] std::vector<UploadIntent> list_upload_intents(Unit& unit, std::string_view after_id,
                                                            unsigned limit);

struct FileStep {
  std::string file_id;
  FileState state = FileState::receiving;
  Instant at{};
  std::string detail;

  friend bool operator==(const FileStep&, const FileStep&) = default;
};

void insert_file(Unit& unit, const File& file);
[[nodiscard]] std::optional<File> find_file(Unit& unit, std::string_view id);
/// Compare-and-swap on version, then version + 1. Partner, direction, object, name, spool_name,
/// created and uploader stay as they were inserted.
[[nodiscard]] bool update_file(Unit& unit, const File& file);
void insert_file_step(Unit& unit, const FileStep& step);
[[nodiscard]] std::vector<FileStep> file_steps(Unit& unit, std::string_view file_id);
/// The next sequence number of this partner and object (in the same unit as the change to
/// received).
[[nodiscard]] std::int64_t next_file_sequence(Unit& unit, std::string_view partner,
                                              std::string_view object);
/// In one of these states with next_due <= now, oldest first.
[[nodiscard]] std::vector<File> due_files(Unit& unit, const std::vector<FileState>& states,
                                          Instant now, unsigned limit);
[[nodiscard]] std::optional<Instant> earliest_file_due(Unit& unit,
                                                       const std::vector<FileState>& states);
/// In these states, oldest first, after the last of the page before (null: from the beginning):
/// what recovery at start walks through.
[[nodiscard]] std::vector<File> files_in_states(Unit& unit, const std::vector<FileState>& states,
                                                const File* after, unsigned limit);
/// An earlier inbound file of the partner with the same content that was delivered.
[[nodiscard]] std::optional<File> find_delivered_content(Unit& unit, std::string_view partner,
                                                         std::string_view sha256,
                                                         std::string_view except_id);
/// The available outbound (or archived inbound) file published under that virtual path.
[[nodiscard]] std::optional<File> find_published(Unit& unit, std::string_view partner,
                                                 std::string_view path);
/// The inbound file in received or decrypted with the lowest sequence of this partner and object
/// whose retry_since is not before `released_before` (unset counts as not before): the one whose
/// turn it is to be published.
[[nodiscard]] std::optional<File> first_unpublished(Unit& unit, std::string_view partner,
                                                    std::string_view object,
                                                    Instant released_before);
/// How many inbound files of this partner and object were received in [from, to), whatever became
/// of them, and how many of those are smaller than `least_size`.
struct ReceivedCount {
  std::int64_t files = 0;
  std::int64_t too_small = 0;

  friend bool operator==(const ReceivedCount&, const ReceivedCount&) = default;
};
[[nodiscard]] ReceivedCount count_received(Unit& unit, std::string_view partner,
                                           std::string_view object, Instant from, Instant to,
                                           std::uint64_t least_size);

struct FileFilter {
  std::string partner;
  std::string object;
  std::optional<Direction> direction;
  std::optional<FileState> state;
  std::string name;              ///< exact
  std::optional<Instant> since;  ///< created at or after
  std::optional<Instant> until;  ///< created before
};
/// Newest first; page on with the last file of the page before.
[[nodiscard]] std::vector<File> list_files(Unit& unit, const FileFilter& filter, const File* after,
                                           unsigned limit);

/// What is to be done about a file beside its own steps, at least once and retried: its hook, its
/// webhook, its receipt. Removed when done or given up. The key is (file_id, kind).
struct FileTask {
  std::string file_id;
  std::string kind;  ///< "hook", "webhook", "receipt"
  Instant created{};
  Instant next_due{};
  std::int32_t attempts = 0;
  std::string last_error;

  friend bool operator==(const FileTask&, const FileTask&) = default;
};
/// Inserts or replaces.
void put_file_task(Unit& unit, const FileTask& task);
bool delete_file_task(Unit& unit, std::string_view file_id, std::string_view kind);
[[nodiscard]] std::vector<FileTask> file_tasks(Unit& unit, std::string_view file_id);
/// next_due <= now, oldest first.
[[nodiscard]] std::vector<FileTask> due_file_tasks(Unit& unit, Instant now, unsigned limit);
[[nodiscard]] std::optional<Instant> earliest_file_task(Unit& unit);

/// One that was given up, remembered until it is asked for again.
struct GivenUpTask {
  std::string file_id;
  std::string kind;
  Instant at{};

  friend bool operator==(const GivenUpTask&, const GivenUpTask&) = default;
};
/// Inserts or replaces.
void put_given_up_task(Unit& unit, const GivenUpTask& task);
bool delete_given_up_task(Unit& unit, std::string_view file_id, std::string_view kind);
/// Of one file, by their kinds.
[[nodiscard]] std::vector<GivenUpTask> given_up_tasks(Unit& unit, std::string_view file_id);
/// Any one of all.
[[nodiscard]] std::optional<GivenUpTask> find_given_up_task(Unit& unit);

/// Transfers and other doings of sessions, for the audit (gateway.md 3).
struct SessionEvent {
  Instant at{};
  std::string partner;
  std::string event;  ///< login, login_failed, upload, download, ..., refused (a request),
                      ///< logout; turned_away (a connection)
  std::string path;
  std::string address;
  std::string banner;
  std::string fingerprint;
  std::uint64_t bytes = 0;
  std::int64_t duration_ms = 0;
  std::string detail;  ///< reason of a refusal, for us only

  friend bool operator==(const SessionEvent&, const SessionEvent&) = default;
};
void insert_session_event(Unit& unit, const SessionEvent& event);
struct SessionEventFilter {
  std::string partner;           ///< empty: all, and those of nobody
  Instant since{};               ///< happened at or after
  std::optional<Instant> until;  ///< happened before
};
/// Newest first.
[[nodiscard]] std::vector<SessionEvent> list_session_events(Unit& unit,
                                                            const SessionEventFilter& filter,
                                                            unsigned limit);
[[nodiscard]] std::optional<Instant> oldest_session_event(Unit& unit);
/// Those that happened before; how many there were.
unsigned prune_session_events(Unit& unit, Instant before);

}  // namespace sallyport::store

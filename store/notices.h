// The ledger of notices, which is the outbox too: the row *is* the notice (spec/api-keys.md 7).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/instant.h"
#include "store/store.h"

namespace sallyport::store {

using base::Instant;

enum class NoticeState { pending, claimed, sent, failed, not_applicable, superseded, cancelled };
enum class Channel { mail, webhook };

struct Notice {
  std::string id;  ///< SHA-256 hex over the identity: exists at most once
  // Identity: (subject, kind, cycle, offset, recipient, channel).
  std::string subject_type;  ///< "api_key", "file", "partner", "ssh_key", "pgp_key", "token", ...
  std::string subject_id;
  std::string kind;  ///< "expiry", "inactivity", "exposure", "exposure_report", "file_failed", ...
  std::int64_t cycle = 0;   ///< Unix seconds: the deadline, or the clock's start for inactivity
  std::int64_t offset = 0;  ///< seconds before the deadline; 0 = after it happened
  std::string recipient;    ///< mail address, or webhook name
  Channel channel = Channel::mail;

  std::string
      role;  ///< why this recipient: administrator, contact, security_contact, fallback, ...
  std::string facts;  ///< JSON snapshot from which the text is made
  NoticeState state = NoticeState::pending;
  Instant created{};
  Instant due{};  ///< when it was to be sent
  Instant next_attempt{};
  std::int32_t attempts = 0;
  std::string answer;               ///< the server's last answer or our last error
  std::optional<Instant> finished;  ///< sent, failed, superseded, ...
  std::string claimed_by;           ///< node, while claimed
  std::optional<Instant> claimed_until;
  /// When sending it was first begun: the days of retrying are counted from here.
  std::optional<Instant> first_attempt;
  std::string digest_id;  ///< the digest in which it goes out; empty: a mail of its own
  std::int64_t version = 0;

  friend bool operator==(const Notice&, const Notice&) = default;
};

[[nodiscard]] std::string notice_id(const Notice& notice);

/// false, and nothing changed, if a notice of the same identity exists. Sets nothing: fill id by
/// notice_id() first.
[[nodiscard]] bool insert_notice(Unit& unit, const Notice& notice);
[[nodiscard]] std::optional<Notice> find_notice(Unit& unit, std::string_view id);
/// Compare-and-swap on version, then version + 1; false if somebody else was faster.
[[nodiscard]] bool update_notice(Unit& unit, const Notice& notice);
/// pending with next_attempt <= now, or claimed with claimed_until < now; oldest first.
[[nodiscard]] std::vector<Notice> due_notices(Unit& unit, Instant now, unsigned limit);
/// When due_notices will next have something.
[[nodiscard]] std::optional<Instant> earliest_notice(Unit& unit);
/// The notices of a subject, kind and cycle; all kinds if `kind` is empty, all cycles if none is
/// given.
[[nodiscard]] std::vector<Notice> subject_notices(Unit& unit, std::string_view subject_type,
                                                  std::string_view subject_id,
                                                  std::string_view kind,
                                                  std::optional<std::int64_t> cycle);
/// Unsent ones of this subject, kind and cycle with an offset larger than `tighter_than` (seconds):
/// superseded. Returns how many. One whose attempt is under way counts as unsent, here and below:
/// if a server accepts it after all, that is recorded over it.
unsigned supersede_notices(Unit& unit, std::string_view subject_type, std::string_view subject_id,
                           std::string_view kind, std::int64_t cycle, std::int64_t tighter_than,
                           Instant now);
/// All unsent ones of this subject and kind: cancelled.
unsigned cancel_notices(Unit& unit, std::string_view subject_type, std::string_view subject_id,
                        std::string_view kind, Instant now);
struct NoticeFilter {
  std::optional<NoticeState> state = {};
  std::string subject_id = {};
  std::string recipient = {};
  std::string kind = {};
};
/// Newest first, before (created, id) of the last row of the page before, or from the start.
[[nodiscard]] std::vector<Notice> list_notices(Unit& unit, const NoticeFilter& filter,
                                               const Notice* after, unsigned limit);
[[nodiscard]] std::int64_t count_notices(Unit& unit, NoticeState state);

/// One mail that stands for several notices. Nothing of it ever changes, so that a repeat is
/// recognised by its Message-ID and says the same.
struct Digest {
  std::string id;
  std::string recipient;
  Instant created{};
  std::vector<std::string> members;  ///< ids of notices, in the order in which they are told

  friend bool operator==(const Digest&, const Digest&) = default;
};

/// The members' rows name it by digest_id, in the same unit.
void insert_digest(Unit& unit, const Digest& digest);
[[nodiscard]] std::optional<Digest> find_digest(Unit& unit, std::string_view id);

}  // namespace sallyport::store

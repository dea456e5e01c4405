// API keys as they are kept (spec/api-keys.md 1 to 6), and what a unit of work can do with them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/instant.h"
#include "store/store.h"

namespace sallyport::store {

using base::Instant;

struct Privilege {
  std::string owner;
  std::string target_domain;
  std::string type;       ///< "VIEW", "EDIT" or empty
  std::string target_id;  ///< empty = untargeted

  friend bool operator==(const Privilege&, const Privilege&) = default;
};

struct Permission {
  std::string object;
  std::string action;

  friend bool operator==(const Permission&, const Permission&) = default;
};

struct Contact {
  std::string first_name;
  std::string last_name;
  std::string login;  ///< write-only outside
  std::string email;

  friend bool operator==(const Contact&, const Contact&) = default;
};

/// The stored fact; what is displayed (SOON_TO_BE_..., EXPIRED before the pass) is worked out by
/// daemon/lifecycle.
enum class KeyState {
  enabled,
  disabled,
  disabled_for_inactivity,
  disabled_exposed,
  expired,
  revoked
};

enum class Severity { critical, high, medium, low, warn };
enum class ExposureSource { manual, github, gitlab, api };

struct ExposureReason {
  std::string id;
  Severity severity = Severity::high;
  ExposureSource source = ExposureSource::manual;
  std::string reason;
  std::string url;
  bool suspicious_activity = false;
  bool applied = true;  ///< false: the same report came again after a withdrawal; recorded only
  Instant created{};

  friend bool operator==(const ExposureReason&, const ExposureReason&) = default;
};

struct Exposure {
  Severity severity = Severity::high;
  std::vector<ExposureReason> reasons;
  std::optional<Instant> deadline;  ///< none: recorded only (PUBLIC key, no suspicious activity)
  bool automated = false;           ///< creationType AUTOMATED, else MANUAL
  std::string created_by;
  Instant created{};
  bool withdrawn = false;
  std::string withdrawn_reason;

  friend bool operator==(const Exposure&, const Exposure&) = default;
};

/// How far a timer's notices have come within its cycle: `handled` of its offsets, from the widest
/// to the tightest, have a row in the ledger (mailed, superseded or not applicable).
struct TimerProgress {
  std::optional<Instant> cycle;
  std::int32_t handled = 0;

  friend bool operator==(const TimerProgress&, const TimerProgress&) = default;
};

struct ApiKey {
  std::string id;
  std::string display_name;
  std::string description;
  std::string template_id;
  bool is_public = false;
  std::vector<Privilege> privileges;
  bool permissions_enabled = false;
  std::vector<Permission> permissions;
  std::vector<std::string> allowed_ips;  ///< canonical CIDR text
  std::vector<std::string> denied_ips;
  std::string search_hub;
  std::string catalog_id;
  std::string additional_configuration;  ///< the rest of it, a JSON object, or empty
  std::optional<Contact> contact;
  std::vector<std::string> groups_can_edit;
  std::vector<std::string> groups_can_view;
  std::string duplicated_from;  ///< key id, or empty
  std::string value_last4;

  KeyState state = KeyState::enabled;
  std::string created_by;
  Instant created{};
  Instant activated{};
  std::optional<Instant> extended;
  std::optional<Instant> disabled;
  std::optional<Instant> expires_at;  ///< the first instant at which it is expired
  std::optional<Exposure> exposure;

  TimerProgress expiry_progress;
  TimerProgress inactivity_progress;
  TimerProgress exposure_progress;
  std::optional<Instant> inactivity_moved_to;  ///< the deadline after its one move (section 5)

  std::optional<Instant> next_due;  ///< kept right by every change (section 12)
  std::int64_t version = 0;         ///< compare-and-swap

  // From the narrow key_usage table; never written by update_key.
  std::optional<Instant> last_used;
  std::optional<Instant> last_allowed;

  friend bool operator==(const ApiKey&, const ApiKey&) = default;
};

struct KeyValue {
  base::Sha256 sha256{};
  std::string key_id;
  std::optional<Instant>
      valid_until;  ///< none = as long as the key; past = retired, kept for reports

  friend bool operator==(const KeyValue&, const KeyValue&) = default;
};

struct KeyUsage {
  std::string key_id;
  std::optional<Instant> last_used;
  std::optional<Instant> last_allowed;

  friend bool operator==(const KeyUsage&, const KeyUsage&) = default;
};

/// Throws Error{duplicate} if the id or the value exists, or a contact's login or e-mail belongs to
/// another INTEGRATION key that has not ended.
void insert_key(Unit& unit, const ApiKey& key, const base::Sha256& value);
[[nodiscard]] std::optional<ApiKey> find_key(Unit& unit, std::string_view id);
/// Replaces every field but id and usage if the stored version is key.version; then version + 1.
/// false: somebody else changed it; read again and redo.
[[nodiscard]] bool update_key(Unit& unit, const ApiKey& key);
/// The key, its values and usage; its activity stays. false if there is none.
[[nodiscard]] bool delete_key(Unit& unit, std::string_view id);
/// In order of id, after `after_id`, at most `limit`.
[[nodiscard]] std::vector<ApiKey> list_keys(Unit& unit, std::string_view after_id, unsigned limit);
/// Through the index: next_due <= now, oldest first.
[[nodiscard]] std::vector<ApiKey> due_keys(Unit& unit, Instant now, unsigned limit);
[[nodiscard]] std::optional<Instant> earliest_due(Unit& unit);
/// A live key (not ended) of the template, other than `except_id`, with that contact login or
/// e-mail.
[[nodiscard]] std::optional<std::string> find_contact_clash(Unit& unit,
                                                            std::string_view template_id,
                                                            const Contact& contact,
                                                            std::string_view except_id);

void insert_key_value(Unit& unit, const KeyValue& value);
void set_value_end(Unit& unit, const base::Sha256& value, Instant valid_until);
[[nodiscard]] std::optional<KeyValue> find_key_value(Unit& unit, const base::Sha256& value);
[[nodiscard]] std::vector<KeyValue> key_values(Unit& unit, std::string_view key_id);
/// All values in order of hash, for loading the verification table page by page.
[[nodiscard]] std::vector<KeyValue> list_key_values(Unit& unit, const base::Sha256* after,
                                                    unsigned limit);

/// What verification needs of one value of one key. The lists are the stored JSON, "" when empty,
/// so that loading a million keys parses only what is there; parse_privileges() and its sisters
/// read them.
struct VerifyRow {
  std::string key_id;
  base::Sha256 sha256{};
  std::optional<Instant> valid_until;  ///< of the value
  std::string display_name;
  std::string template_id;
  KeyState state = KeyState::enabled;
  bool is_public = false;
  std::optional<Instant> expires_at;
  std::optional<Instant> exposure_deadline;  ///< none while withdrawn or recorded only
  std::string privileges;
  bool permissions_enabled = false;
  std::string permissions;
  std::string allowed_ips;
  std::string denied_ips;
  std::string contact_first_name;
  std::string contact_last_name;
  std::string value_last4;
  std::optional<Instant> last_used;
  std::optional<Instant> last_allowed;

  friend bool operator==(const VerifyRow&, const VerifyRow&) = default;
};
/// Every value of every key in the order of the store (by key, then value), after `after`'s value
/// of `after`'s key, or from the start.
[[nodiscard]] std::vector<VerifyRow> list_verify_rows(Unit& unit, const VerifyRow* after,
                                                      unsigned limit);
/// The same of one key: what to look at again after it changed.
[[nodiscard]] std::vector<VerifyRow> key_verify_rows(Unit& unit, std::string_view key_id);
[[nodiscard]] std::vector<Privilege> parse_privileges(std::string_view json);
[[nodiscard]] std::vector<Permission> parse_permissions(std::string_view json);
[[nodiscard]] std::vector<std::string> parse_strings(std::string_view json);

/// Forward-only: an older time never replaces a newer one. One multi-row statement a hundred rows.
void record_usage(Unit& unit, const std::vector<KeyUsage>& usage);
/// For the unit that records usage, right after it: those of the keys that are enabled and whose
/// inactivity warnings have begun (inactivity_progress.cycle is set) get next_due = now and
/// version + 1, so that the next pass sees the use, cancels what is still unsent and starts a new
/// cycle. Returns how many. By primary key, one statement a hundred ids.
unsigned wake_warned_keys(Unit& unit, const std::vector<std::string>& ids, Instant now);
/// Keys that would be due after `now` but not after `until` are due now: what the rules said while
/// the clock was wrong is said again by the right one. Returns how many.
unsigned bring_forward_due_keys(Unit& unit, Instant now, Instant until);

/// Every change of a key writes one row here in the same unit; other nodes read them every second.
/// Sequences are given at commit, so that a reader never sees a later one before an earlier one; a
/// unit does not see its own.
struct KeyChange {
  std::int64_t sequence = 0;
  std::string key_id;

  friend bool operator==(const KeyChange&, const KeyChange&) = default;
};
void insert_key_change(Unit& unit, std::string_view key_id, Instant now);
[[nodiscard]] std::vector<KeyChange> key_changes_since(Unit& unit, std::int64_t sequence,
                                                       unsigned limit);
[[nodiscard]] std::int64_t last_key_change(Unit& unit);
/// Removes the changes made before `before`; returns how many.
unsigned prune_key_changes(Unit& unit, Instant before);

}  // namespace sallyport::store

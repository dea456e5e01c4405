// What a notice is about: the snapshot that is taken when the notice is written and from which its
// text is made when it is sent. Plain values; names and reasons in here are as people typed them
// and are made harmless by the texts, not by whoever fills this in.
//
// to_json/parse_facts are the form in which the store keeps the snapshot beside the notice.
// Thread-safe. parse_facts returns nullopt for what is not such a snapshot; unknown members are
// ignored, so that an older program can read what a newer one wrote.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/instant.h"

namespace sallyport::notify {

enum class Kind {
  // API keys: expiry (offsets 7 d, 2 d, then after)
  key_expiring,
  key_expired,
  // API keys: inactivity (offsets 30 d, 15 d, 1 d, then after)
  key_inactive,
  key_inactive_disabled,
  // API keys: exposure (on flagging, each further report, offsets 3 d and 24 h, after)
  exposure_flagged,
  exposure_reported,
  exposure_deadline,
  exposure_disabled,
  exposure_critical,  ///< flagged and deactivated at once: the only mail about it
  exposure_withdrawn,
  // Credentials of partners, of the gateway and of administrators
  credential_expiring,
  credential_expired,
  // Files
  file_failed,
  file_duplicate,
  outbound_not_collected,
  outbound_returned,  ///< not collected in time: moved to the backup
  outbound_held,      ///< no usable key of the partner: waits for one
  expectation_missed,
  // The gateway itself
  health_raised,
  health_cleared,
  test_message,
};

/// Stable names: "key_expiring". parse_kind gives nullopt for anything else.
[[nodiscard]] std::string_view to_string(Kind kind);
[[nodiscard]] std::optional<Kind> parse_kind(std::string_view name);
[[nodiscard]] const std::vector<Kind>& all_kinds();

/// Why this recipient gets it.
enum class Role {
  administrator,
  key_contact,
  security_contact,
  partner_contact,
  fallback,
  webhook
};

[[nodiscard]] std::string_view to_string(Role role);
[[nodiscard]] std::optional<Role> parse_role(std::string_view name);

struct KeyFacts {
  std::string id;
  std::string name;
  std::string masked_value;  ///< "xx*****1f3a"; the value itself never gets here
  std::string template_id;   ///< "CUSTOM"
  std::string privacy;       ///< "PUBLIC" or "PRIVATE"
  std::string contact;       ///< first and last name, may be empty
  std::string created_by;
  std::optional<base::Instant> created_at;
  std::optional<base::Instant> activated_at;
  std::optional<base::Instant> last_used_at;
};

struct ReportReason {
  std::string reason;
  std::string source;  ///< "GITHUB"
  std::string url;     ///< may be empty
  std::optional<base::Instant> reported_at;
};

struct ExposureFacts {
  std::string severity;  ///< "CRITICAL", "HIGH", "MEDIUM", "LOW", "WARN"
  bool suspicious_activity = false;
  bool automated = false;
  std::string reported_by;
  std::vector<ReportReason> reasons;  ///< oldest first; the last is the one just added
  std::string withdrawn_by;
  std::string withdrawn_reason;
};

struct CredentialFacts {
  /// "ssh_key", "pgp_key", "password" of a partner; "own_pgp_key", "tls_certificate",
  /// "access_token", "gateway_token", "host_key" of ours.
  std::string type;
  std::string label;
  std::string fingerprint;  ///< or the id of a token; never a secret
  std::string owner;        ///< who an access token belongs to; may be empty
};

struct FileFacts {
  std::string id;
  std::string object;  ///< "Invoices"; may be empty
  std::string name;
  std::uint64_t size = 0;
  std::string sha256;
  std::string reason_code;                   ///< "not_for_our_key"
  std::string reason;                        ///< the sentence for the partner
  std::string duplicate_of;                  ///< id of the file with the same content
  std::optional<base::Instant> received_at;  ///< or made available, for outgoing ones
  std::optional<base::Instant> duplicate_received_at;
  std::optional<base::Instant> downloaded_at;  ///< first, in full; for outgoing ones
};

struct ExpectationFacts {
  std::string object;
  std::string rule;     ///< "on weekdays by 06:00 UTC, 1 to 3 files of at least 1 KiB"
  std::string finding;  ///< "no file had arrived"
};

struct HealthFacts {
  std::string condition;  ///< "mail.unreachable"
  std::string sentence;
};

struct Facts {
  Kind kind = Kind::test_message;
  Role role = Role::administrator;
  /// How long before the deadline this notice is due; zero for "when it happens".
  base::Seconds offset{0};
  base::Instant happened_at{};            ///< when the notice was written
  std::optional<base::Instant> deadline;  ///< the instant of the change that is announced
  std::string organization;
  std::string instance;  ///< host name of the gateway, to tell several apart
  std::string partner;
  std::string link;  ///< web address where the work is done; may be empty
  std::optional<KeyFacts> key;
  std::optional<ExposureFacts> exposure;
  std::optional<CredentialFacts> credential;
  std::optional<FileFacts> file;
  std::optional<ExpectationFacts> expectation;
  std::optional<HealthFacts> health;
};

[[nodiscard]] std::string to_json(const Facts& facts);
[[nodiscard]] std::optional<Facts> parse_facts(std::string_view json);

}  // namespace sallyport::notify

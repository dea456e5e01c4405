// Partners and their keys (spec/gateway.md 1).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/instant.h"
#include "store/store.h"

namespace sallyport::store {

using base::Instant;

struct Partner {
  std::string name;    ///< [a-z0-9][a-z0-9-]{0,31}, also the SFTP login
  bool active = true;  ///< false: suspended
  std::vector<std::string> emails;
  std::vector<std::string> allowed_ips;  ///< canonical CIDR text; empty = anywhere
  std::string password_hash;             ///< crypt(3) yescrypt, or empty
  std::string auth = "any";              ///< any | key | password | key+password
  std::string policies;                  ///< JSON object of overridden policy options, or empty
  Instant created{};
  std::int64_t version = 0;

  friend bool operator==(const Partner&, const Partner&) = default;
};

struct SshKey {
  std::string id;
  std::string partner;
  std::string label;
  std::string type;         ///< "ssh-rsa", "ssh-ed25519", "ecdsa-sha2-nistp256", ...
  std::string blob;         ///< base64 of the key's wire form
  std::string fingerprint;  ///< "SHA256:..."
  Instant added{};
  std::optional<Instant> last_used;
  std::optional<Instant> expires;
  std::optional<Instant> next_due;  ///< next notice or expiry

  friend bool operator==(const SshKey&, const SshKey&) = default;
};

struct PgpKey {
  std::string id;
  std::string partner;  ///< "" = our own
  std::string label;
  std::string fingerprint;  ///< 40 upper-case hex digits of the primary key
  std::string public_key;   ///< armoured
  bool can_sign = false;
  bool can_encrypt = false;
  bool revoked = false;
  Instant added{};
  std::optional<Instant> last_used;
  std::optional<Instant> expires;  ///< the earliest end of what it is used for, and ends_here
  std::optional<Instant> next_due;
  std::optional<Instant> ends_here;  ///< as an administrator has set it, whatever it says itself

  friend bool operator==(const PgpKey&, const PgpKey&) = default;
};

/// Throws Error{duplicate} if the name exists.
void insert_partner(Unit& unit, const Partner& partner);
[[nodiscard]] std::optional<Partner> find_partner(Unit& unit, std::string_view name);
[[nodiscard]] bool update_partner(Unit& unit, const Partner& partner);
[[nodiscard]] std::vector<Partner> list_partners(Unit& unit);

void insert_ssh_key(Unit& unit, const SshKey& key);
[[nodiscard]] std::vector<SshKey> partner_ssh_keys(Unit& unit, std::string_view partner);
[[nodiscard]] bool update_ssh_key(Unit& unit, const SshKey& key);
[[nodiscard]] bool delete_ssh_key(Unit& unit, std::string_view id);
void touch_ssh_key(Unit& unit, std::string_view id, Instant now);
[[nodiscard]] std::vector<SshKey> due_ssh_keys(Unit& unit, Instant now, unsigned limit);
[[nodiscard]] std::optional<Instant> earliest_ssh_key_due(Unit& unit);

void insert_pgp_key(Unit& unit, const PgpKey& key);
/// That the partner's ("": our own) key with this fingerprint was used; nothing if there is none.
void touch_pgp_key(Unit& unit, std::string_view partner, std::string_view fingerprint, Instant now);
/// `partner` "" = our own.
[[nodiscard]] std::vector<PgpKey> partner_pgp_keys(Unit& unit, std::string_view partner);
[[nodiscard]] bool update_pgp_key(Unit& unit, const PgpKey& key);
[[nodiscard]] bool delete_pgp_key(Unit& unit, std::string_view id);
[[nodiscard]] std::vector<PgpKey> due_pgp_keys(Unit& unit, Instant now, unsigned limit);
[[nodiscard]] std::optional<Instant> earliest_pgp_key_due(Unit& unit);

/// Refused addresses (gateway.md 3). `address` is an IPv4 address or an IPv6 /64.
struct Ban {
  std::string address;
  std::string reason;
  Instant since{};
  Instant until{};

  friend bool operator==(const Ban&, const Ban&) = default;
};
void put_ban(Unit& unit, const Ban& ban);
[[nodiscard]] bool delete_ban(Unit& unit, std::string_view address);
[[nodiscard]] std::vector<Ban> list_bans(Unit& unit, Instant now);

}  // namespace sallyport::store

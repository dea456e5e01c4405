// OpenPGP keys as values. pgp::Engine (pgp/pgp.h) lists, imports, makes and deletes them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/instant.h"

namespace sallyport::pgp {

struct Subkey {
  std::string fingerprint;
  std::string algorithm;  ///< "RSA 3072", "Ed25519", "Cv25519"
  base::Instant created{};
  std::optional<base::Instant> expires;
  bool revoked = false;
  bool can_sign = false;
  bool can_encrypt = false;
};

/// One OpenPGP certificate, the primary key with its subkeys. Always named by its fingerprint.
struct Key {
  std::string fingerprint;  ///< of the primary key, 40 upper-case hex digits
  std::string algorithm;
  std::vector<std::string> user_ids;  ///< as the key's maker wrote them: untrusted UTF-8
  base::Instant created{};
  std::optional<base::Instant> expires;
  bool revoked = false;
  bool has_secret = false;
  std::vector<Subkey> subkeys;  ///< the primary key first

  /// Why the key is too weak to be accepted (RSA or DSA below 2048 bits, unknown algorithm), empty
  /// if it is not.
  std::string weakness;

  [[nodiscard]] bool is_expired(base::Instant now) const { return expires && *expires <= now; }
  /// Not expired or revoked at `now`, and has a subkey for it that is not either.
  [[nodiscard]] bool can_sign(base::Instant now) const;
  [[nodiscard]] bool can_encrypt(base::Instant now) const;
  /// The instant from which the key can do neither for age alone: the earlier of its own expiry and
  /// the end of its last signing or last encrypting subkey, whichever it has and comes first.
  [[nodiscard]] std::optional<base::Instant> usable_until() const;
};

enum class OwnKeyType { rsa3072, curve25519 };

struct OwnKeyRequest {
  OwnKeyType type = OwnKeyType::curve25519;
  std::string name;  ///< 5 to 100 characters, none of ()<>
  std::string email;
  std::optional<base::Instant> expires;  ///< none: does not expire
};

/// What import did or why not. Exactly one certificate is taken at a time.
struct ImportResult {
  std::optional<Key> key;  ///< as it is in the keyring now
  bool is_new = false;     ///< false: it was there and may have got new parts (expiry, revocation)
  std::string refusal;     ///< one sentence if nothing was imported: not a key, several, weak, ...
};

}  // namespace sallyport::pgp

// May this user log in? The decision alone, over what the store knows, without any I/O, so that the
// answer cannot depend on anything else. Every refusal looks the same outside; the reason is for
// us.
//
// Pure and thread-safe. The password itself is checked by the caller, always, against
// hash_to_check(): unknown users cost as much as known ones.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/instant.h"
#include "store/partners.h"

namespace sallyport::daemon {

struct LoginAttempt {
  std::string address;
  bool by_password = false;
  std::string key;         ///< by key: the wire blob that is offered
  std::string proven_key;  ///< by password: the key that this connection has proven, or empty
  bool password_right = false;
};

struct LoginDecision {
  enum class Outcome { deny, partial, allow } outcome = Outcome::deny;
  std::string reason;  ///< of a denial, for us only: "unknown_user", "suspended", ...
  std::string key_id;  ///< the key that counts
  std::string fingerprint;
};

/// `partner` nullopt: no such user.
[[nodiscard]] LoginDecision decide_login(const std::optional<store::Partner>& partner,
                                         const std::vector<store::SshKey>& keys,
                                         const LoginAttempt& attempt, base::Instant now);

/// Names as partners and logins have them.
[[nodiscard]] bool is_partner_name(std::string_view name);

}  // namespace sallyport::daemon

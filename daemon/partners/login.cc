#include "daemon/partners/login.h"

#include <algorithm>

#include "base/bytes.h"
#include "daemon/net/ip.h"
#include "daemon/partners/ssh_key.h"

namespace sallyport::daemon {
namespace {

LoginDecision deny(std::string reason) {
  LoginDecision decision;
  decision.reason = std::move(reason);
  return decision;
}

}  // namespace

bool is_partner_name(std::string_view name) {
  const auto letter_or_digit = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
  };
  return !name.empty() && name.size() <= 32 && letter_or_digit(name.front()) &&
         std::all_of(name.begin(), name.end(),
                     [&](char c) { return letter_or_digit(c) || c == '-'; });
}

LoginDecision decide_login(const std::optional<store::Partner>& partner,
                           const std::vector<store::SshKey>& keys, const LoginAttempt& attempt,
                           base::Instant now) {
  if (!partner) return deny("unknown_user");
  if (!partner->active) return deny("suspended");
  if (!partner->allowed_ips.empty() && !any_contains(partner->allowed_ips, attempt.address)) {
    return deny("address_not_allowed");
  }
  const bool needs_both = partner->auth == "key+password";
  const std::string& blob = attempt.by_password ? attempt.proven_key : attempt.key;
  const store::SshKey* matching = nullptr;
  if (!blob.empty()) {
    const std::string encoded = base::to_base64(blob);
    for (const store::SshKey& key : keys) {
      if (base::equal_constant_time(key.blob, encoded)) matching = &key;
    }
  }
  if (!attempt.by_password || needs_both) {
    if (blob.empty()) return deny("key_needed_first");
    if (matching == nullptr) return deny("unknown_key");
    if (matching->expires && *matching->expires <= now) return deny("expired_key");
    // It was judged when it was added; what is weak is refused when offered, too.
    if (auto judged = judge_ssh_blob(blob); !judged.key) return deny("weak_key");
  }
  LoginDecision decision;
  if (matching != nullptr) {
    decision.key_id = matching->id;
    decision.fingerprint = matching->fingerprint;
  }
  if (!attempt.by_password) {
    if (partner->auth == "password") return deny("key_not_allowed");
    decision.outcome = needs_both ? LoginDecision::Outcome::partial : LoginDecision::Outcome::allow;
    return decision;
  }
  if (partner->auth == "key") return deny("password_not_allowed");
  if (partner->password_hash.empty()) return deny("no_password_set");
  if (!attempt.password_right) return deny("wrong_password");
  decision.outcome = LoginDecision::Outcome::allow;
  return decision;
}

}  // namespace sallyport::daemon

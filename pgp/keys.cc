#include "pgp/keys.h"

#include <algorithm>

namespace sallyport::pgp {
namespace {

bool is_usable(const Subkey& subkey, base::Instant now) {
  return !subkey.revoked && !(subkey.expires && *subkey.expires <= now);
}

/// The latest end among the subkeys that can do it; nullopt if one has no end or none can.
std::optional<base::Instant> last_end(const Key& key, bool Subkey::*ability) {
  std::optional<base::Instant> last;
  for (const Subkey& subkey : key.subkeys) {
    if (!(subkey.*ability) || subkey.revoked) continue;
    if (!subkey.expires) return std::nullopt;
    last = std::max(last.value_or(*subkey.expires), *subkey.expires);
  }
  return last;
}

}  // namespace

bool Key::can_sign(base::Instant now) const {
  return !revoked && !is_expired(now) &&
         std::any_of(subkeys.begin(), subkeys.end(), [now](const Subkey& subkey) {
           return subkey.can_sign && is_usable(subkey, now);
         });
}

bool Key::can_encrypt(base::Instant now) const {
  return !revoked && !is_expired(now) &&
         std::any_of(subkeys.begin(), subkeys.end(), [now](const Subkey& subkey) {
           return subkey.can_encrypt && is_usable(subkey, now);
         });
}

std::optional<base::Instant> Key::usable_until() const {
  std::optional<base::Instant> until = expires;
  for (const auto& end :
       {last_end(*this, &Subkey::can_sign), last_end(*this, &Subkey::can_encrypt)}) {
    if (end) until = std::min(until.value_or(*end), *end);
  }
  return until;
}

}  // namespace sallyport::pgp

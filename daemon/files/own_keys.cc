#include "daemon/files/own_keys.h"

namespace sallyport::daemon {

std::string choose_signer(pgp::Engine& engine, base::Instant now) {
  std::string chosen;
  base::Instant newest{};
  for (const auto& key : engine.list_own_keys()) {
    if (!key.has_secret || !key.can_sign(now)) continue;
    if (chosen.empty() || key.created >= newest) {
      chosen = key.fingerprint;
      newest = key.created;
    }
  }
  return chosen;
}

}  // namespace sallyport::daemon

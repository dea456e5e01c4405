// Which of our PGP keys signs: the newest one that can, so that a new one takes over at once while
// an old one still decrypts. Thread-safe as the engine is.
#pragma once

#include <string>

#include "base/instant.h"
#include "pgp/pgp.h"

namespace sallyport::daemon {

/// Its fingerprint; empty if there is none.
[[nodiscard]] std::string choose_signer(pgp::Engine& engine, base::Instant now);

}  // namespace sallyport::daemon

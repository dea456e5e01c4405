// What an Engine is made of. Included by this folder only; the interface is pgp/pgp.h.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/locked.h"
#include "pgp/home.h"
#include "pgp/keyring.h"
#include "pgp/pgp.h"

namespace sallyport::pgp {

class Engine::Implementation {
 public:
  explicit Implementation(const EngineOptions& options)
      : home(options), keyring(home.directory(), home.limiter()) {}

  /// Our keys, as they were when one was last made, imported or deleted here: asked for with every
  /// message, so they are kept.
  [[nodiscard]] std::shared_ptr<const std::vector<Key>> own_keys();
  void forget_own_keys() { own_keys_.lock()->reset(); }

  /// Takes the descriptors of `job` as they are; fills in the outcome, without naming a key.
  [[nodiscard]] Outcome make(const GpgJob& job, const Sealing& sealing, std::string* text);

  Home home;
  Keyring keyring;

 private:
  [[nodiscard]] Outcome explain_failure(const Home::Result& result, const Sealing& sealing);

  base::Locked<std::shared_ptr<const std::vector<Key>>> own_keys_;
};

[[nodiscard]] base::Instant now_or(const std::optional<base::Instant>& now);
[[nodiscard]] bool is_fingerprint(std::string_view text) noexcept;

}  // namespace sallyport::pgp

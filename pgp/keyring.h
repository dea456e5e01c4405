// The keys in a home, through GPGME: list, import, make, export, delete. No message goes this way.
//
// GPGME forks and executes by itself; between the two it only moves descriptors. Thread-safe: each
// call has a context of its own, and calls that write wait for each other. Failures are PgpError.
#pragma once

#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pgp/pgp.h"

namespace sallyport::pgp {

class Keyring {
 public:
  /// `limiter` is what GPGME takes for gpg.
  Keyring(std::filesystem::path home, std::filesystem::path limiter);

  [[nodiscard]] std::vector<Key> list(const std::string& fingerprint, bool secret_only);
  [[nodiscard]] std::vector<Key> inspect(std::string_view key_data);
  /// Fingerprints of what is in the keyring now of `key_data`; true for those that are new.
  struct Imported {
    std::string fingerprint;
    bool is_new = false;
    bool is_secret = false;
  };
  [[nodiscard]] std::vector<Imported> import(std::string_view key_data);
  /// What the agent knows the secret parts of a key by.
  [[nodiscard]] std::vector<std::string> keygrips(const std::string& fingerprint);
  [[nodiscard]] std::string generate(const OwnKeyRequest& request);
  [[nodiscard]] std::string export_armoured(const std::string& fingerprint);
  bool remove(const std::string& fingerprint, bool with_secret);

 private:
  std::filesystem::path home_;
  std::filesystem::path limiter_;
  std::mutex writing_;
};

}  // namespace sallyport::pgp

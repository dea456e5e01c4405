// What the tests of this folder share: throw-away homes, made once, with real gpg.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/process.h"
#include "pgp/pgp.h"

namespace sallyport::pgp::test {

namespace fs = std::filesystem;

/// A directory with a path short enough for agents, removed at the end.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  [[nodiscard]] const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

/// Runs a program to its end and fails the test if that is not 0.
base::ProcessResult run(const std::vector<std::string>& argv, std::string_view input = {});

/// Somebody else's gpg, with a home of its own.
class Party {
 public:
  explicit Party(fs::path home);
  ~Party();
  Party(const Party&) = delete;
  Party& operator=(const Party&) = delete;

  /// gpg of this party; its standard output.
  std::string gpg(std::vector<std::string> arguments, std::string_view input = {}) const;
  /// The fingerprint of the new key.
  std::string make_key(const std::string& user_id, const std::string& primary,
                       const std::string& subkey, const std::string& expires = "never") const;
  [[nodiscard]] std::string public_key(const std::string& fingerprint) const;
  [[nodiscard]] std::string secret_key(const std::string& fingerprint) const;

 private:
  fs::path home_;
};

/// The gateway and those who write to it. One for the whole program: keys take their time.
struct World {
  World();
  ~World();

  TemporaryDirectory directory;
  Engine gateway;
  Party partner;   ///< known to the gateway
  Party stranger;  ///< not known to it

  std::string our_key;       ///< Curve25519, the gateway's
  std::string our_rsa_key;   ///< RSA-3072, the gateway's too
  std::string rsa_key;       ///< RSA-2048, the partner's
  std::string curve_key;     ///< Ed25519 and Cv25519, the partner's too, pinned as well
  std::string other_key;     ///< known to the gateway, but another partner's
  std::string expiring_key;  ///< signs and encrypts until some day in 30 days
  std::string revoked_key;   ///< signed before it was revoked
  std::string stranger_key;
  std::string text;  ///< a typical content

  [[nodiscard]] Acceptance strict() const;  ///< encrypted and signed by the partner
  [[nodiscard]] Acceptance lax() const;     ///< anything goes

  /// The content of `message`, judged; `content` is what was published, if anything was.
  struct Opened {
    Verdict verdict;
    std::string content;
    bool is_published = false;
  };
  [[nodiscard]] Opened open(std::string_view message, const Acceptance& acceptance);
  /// A path that does not exist yet.
  [[nodiscard]] fs::path new_path();
};

World& world();

}  // namespace sallyport::pgp::test

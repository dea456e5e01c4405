// OpenPGP for the gateway: decrypt and verify what partners send, encrypt and sign what they get,
// and keep the keys of both sides. All of it by GnuPG.
//
// Ownership: an Engine owns one GNUPGHOME with our secret keys and the partners' public keys, and
// as many agents over it as asked for, so that more than one core works. No other program should
// write to it while the engine is started.
//
// Threads: everything but start() and stop() may be called from any number of threads at once; each
// data operation runs a gpg process of its own and blocks until that has ended. Nothing forks: gpg
// is spawned through `sallyport-gpg`, which takes on hard limits of CPU, memory and output, loses
// access to all files but the home, and dies with the thread that called.
//
// Failures: what a message is, and what it lacks, is a Verdict or an Outcome, never an exception.
// Work that cannot be done at all (home not usable, program missing) throws PgpError with a
// sentence that tells an operator what to do.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/instant.h"
#include "pgp/inspect.h"
#include "pgp/keys.h"
#include "pgp/reason.h"

namespace sallyport::pgp {

class PgpError : public base::Error {
 public:
  using base::Error::Error;
};

struct EngineOptions {
  /// GNUPGHOME; made with mode 0700 if it is not there. Short: sockets of agents live below it.
  std::filesystem::path home;
  /// The program that takes on the limits and becomes gpg. Empty: beside this program, else the
  /// installed one in libexec.
  std::filesystem::path limiter;
  /// Agents that share the secret keys; the private-key work of one agent is done on one core.
  unsigned agents = 2;
  std::chrono::seconds cpu_limit{600};            ///< per gpg process
  std::uint64_t memory_limit_bytes = 1ULL << 30;  ///< address space per gpg process
};

enum class Encryption { required, optional, forbidden };

struct Acceptance {
  Encryption encryption = Encryption::optional;
  bool signature_required = false;
  /// Primary fingerprints of this partner's keys. Where a signature is required, one must be by one
  /// of them; a signature by any other key is never a reason to accept.
  std::vector<std::string> pinned;
  /// Of keys of this partner that are not good any more, though their certificates may say so: a
  /// signature by one of them is by a key that has expired.
  std::vector<std::string> ended;
  std::uint64_t output_limit_bytes = 64ULL << 20;
  /// What gpg takes for the current time; unset: the machine's clock.
  std::optional<base::Instant> now;
  /// Wall time after which gpg is killed: Reason::resource_limit.
  std::chrono::seconds deadline{3600};
};

enum class SignatureState { good, bad, expired, key_expired, key_revoked, key_missing, other };

struct Signature {
  SignatureState state = SignatureState::other;
  std::string key_id;       ///< as the signature claims, 16 hex digits
  std::string fingerprint;  ///< primary key; empty unless the signature could be checked
  bool is_pinned = false;
  std::optional<base::Instant> made;
};

struct Verdict {
  Reason reason = Reason::none;
  std::string detail;  ///< for the operator's log: what gpg said, printable, at most 500 bytes
  Inspection inspection;
  std::vector<Signature> signatures;
  std::vector<std::string> recipients;  ///< key ids the message is encrypted to
  std::string decrypted_by;             ///< primary fingerprint of our key
  std::uint64_t input_bytes = 0;
  std::uint64_t output_bytes = 0;

  [[nodiscard]] bool accepted() const { return reason == Reason::none; }
  [[nodiscard]] bool retryable() const { return is_retryable(reason); }
  /// Primary fingerprint of the first good, pinned signature; empty if there is none.
  [[nodiscard]] std::string signer() const;
};

/// The sentence for the partner, with the key ids that matter.
[[nodiscard]] std::string sentence(const Verdict& verdict);

/// What making a message came to.
struct Outcome {
  Reason reason = Reason::none;
  std::string detail;
  std::string fingerprint;  ///< the key that `reason` is about
  std::uint64_t output_bytes = 0;

  [[nodiscard]] bool ok() const { return reason == Reason::none; }
};

struct Sealing {
  std::vector<std::string> recipients;  ///< primary fingerprints; empty: sign only
  std::string signer;                   ///< primary fingerprint of ours; empty: no signature
  bool armour = false;
  std::optional<base::Instant> now;
  std::chrono::seconds deadline{3600};
};

class Engine {
 public:
  explicit Engine(EngineOptions options);
  ~Engine();  ///< stop()
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// Makes the home if it is missing, starts the agents and asks each one for an answer. Throws
  /// PgpError that says what is wrong with the home.
  void start();
  /// Ends the agents. Operations that are under way end with Reason::agent_away.
  void stop() noexcept;
  /// Asks every agent; starts again those that are away. Throws like start().
  void probe();

  // --- messages ---------------------------------------------------------------------------------
  /// Decrypts, verifies and judges `input` of any kind that is an OpenPGP message. The content is
  /// in `output` only if the verdict is accepted: the file is made here (mode 0600, must not exist,
  /// on the disk that it stays on) and is removed in every other case. Not fsynced. The name inside
  /// the message is ignored. Kind::plain gets Reason::not_pgp: plain files are judged by policy,
  /// not here.
  [[nodiscard]] Verdict decrypt_and_verify(const std::filesystem::path& input,
                                           const std::filesystem::path& output,
                                           const Acceptance& acceptance);
  /// The same over descriptors of regular files: input is read from its start (its offset moves),
  /// output is written at its start, and is cut to zero bytes unless accepted.
  [[nodiscard]] Verdict decrypt_and_verify(int input, int output, const Acceptance& acceptance);

  /// Checks a detached signature over `data`. `acceptance.encryption` has no meaning here.
  [[nodiscard]] Verdict verify_detached(const std::filesystem::path& data,
                                        const std::filesystem::path& signature,
                                        const Acceptance& acceptance);

  /// Signs, then encrypts. `output` is made as above, and is only there if the outcome is ok.
  [[nodiscard]] Outcome encrypt_and_sign(const std::filesystem::path& input,
                                         const std::filesystem::path& output,
                                         const Sealing& sealing);
  /// Text with a signature around it; `text` must be UTF-8 and gets a final newline. Trailing
  /// spaces of its lines are not part of what is signed.
  [[nodiscard]] Outcome clear_sign(std::string_view text, const std::string& signer,
                                   std::string& signed_text,
                                   std::optional<base::Instant> now = std::nullopt);
  /// A signature apart from its data; `sealing.recipients` has no meaning here.
  [[nodiscard]] Outcome sign_detached(const std::filesystem::path& data,
                                      const std::filesystem::path& output, const Sealing& sealing);

  // --- keys -------------------------------------------------------------------------------------
  /// Makes a key of ours: it certifies, signs and encrypts, without passphrase. Takes seconds for
  /// RSA.
  [[nodiscard]] Key generate_own_key(const OwnKeyRequest& request);
  /// Takes a secret key of ours, made elsewhere and without passphrase.
  [[nodiscard]] ImportResult import_own_key(std::string_view key_data);
  /// Takes a partner's public key: one certificate, no secret parts, strong enough, and with
  /// something in it that can sign or encrypt.
  [[nodiscard]] ImportResult import_public_key(std::string_view key_data,
                                               std::optional<base::Instant> now = std::nullopt);
  /// What import_public_key would see, without importing. Several certificates: all of them.
  [[nodiscard]] std::vector<Key> inspect_keys(std::string_view key_data);

  [[nodiscard]] std::vector<Key> list_keys();
  [[nodiscard]] std::vector<Key> list_own_keys();
  [[nodiscard]] std::optional<Key> find_key(const std::string& fingerprint);
  /// ASCII-armoured public part; nullopt if there is no such key.
  [[nodiscard]] std::optional<std::string> export_public_key(const std::string& fingerprint);
  /// Removes the key, the secret part too if `with_secret`; false if there is none of it.
  bool delete_key(const std::string& fingerprint, bool with_secret = false);

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace sallyport::pgp

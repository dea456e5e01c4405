// Why a message was not accepted or not made: one code and one sentence for the partner each.
//
// Pure. The codes are stored and shown; they never change their meaning.
#pragma once

#include <optional>
#include <string_view>

namespace sallyport::pgp {

enum class Reason {
  none,  ///< accepted

  // What the partner's file is, against what it must be.
  not_encrypted,         ///< policy: must be encrypted
  encryption_forbidden,  ///< policy: must not be encrypted
  not_pgp,               ///< no OpenPGP message although named or required so

  // Decryption.
  not_for_us,          ///< for other keys than ours; Verdict::recipients names them
  recipient_hidden,    ///< names no key of ours, but somebody without a name
  password_encrypted,  ///< encrypted with a passphrase, not to a key
  own_key_expired,
  own_key_revoked,
  own_key_locked,  ///< our key wants a passphrase that nobody can enter; an operator has to act
  no_integrity,    ///< no modification detection: could have been changed unnoticed
  damaged,         ///< complete in form, but its contents or its checksum are not what was sent
  truncated,
  extra_data,  ///< more than one message, or data after it
  malformed,   ///< begins as an OpenPGP message, but is none
  unsupported,
  weak_algorithm,
  output_over_limit,
  resource_limit,  ///< took more time or memory than any honest message

  // Signatures.
  signature_missing,
  signature_bad,
  signature_expired,
  signature_unknown_key,  ///< by a key that we do not have
  signature_not_pinned,   ///< good, but by no key of this partner
  signature_key_expired,
  signature_key_revoked,

  // Making messages.
  recipient_missing,
  recipient_expired,
  recipient_revoked,
  recipient_cannot_encrypt,
  signer_missing,
  signer_expired,
  signer_revoked,
  signer_cannot_sign,

  // Ours, not the partner's: try again later.
  agent_away,
  disk_full,
  clock_conflict,  ///< a signature or a key is from the future: a clock is wrong
  interrupted,     ///< gpg was killed from outside or could not be started
};

/// "signature-missing": stable, for the store, receipts and programs.
[[nodiscard]] std::string_view code(Reason reason) noexcept;
[[nodiscard]] std::optional<Reason> reason_from_code(std::string_view text) noexcept;

/// True if the same file may be accepted later without anybody changing it.
[[nodiscard]] bool is_retryable(Reason reason) noexcept;

/// What the partner is told: one sentence that says what to do. sentence(Verdict) adds key ids.
[[nodiscard]] std::string_view sentence(Reason reason) noexcept;

}  // namespace sallyport::pgp

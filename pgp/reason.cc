#include "pgp/reason.h"

#include <array>

namespace sallyport::pgp {
namespace {

struct Entry {
  Reason reason;
  bool retryable;
  std::string_view code;
  std::string_view sentence;
};

constexpr std::array entries{
    Entry{Reason::none, false, "accepted", "The file was accepted."},
    Entry{Reason::not_encrypted, false, "not-encrypted",
          "The file is not encrypted; please encrypt it with our PGP key and send it again."},
    Entry{Reason::encryption_forbidden, false, "encryption-forbidden",
          "The file is encrypted, but encrypted files are not accepted here; please send it "
          "without encryption."},
    Entry{Reason::not_pgp, false, "not-pgp",
          "The file is named like a PGP message but does not contain one; please check how it was "
          "made and send it again."},
    Entry{Reason::not_for_us, false, "not-for-us",
          "The file is encrypted for another key than ours; please encrypt it with our current "
          "PGP key and send it again."},
    Entry{Reason::recipient_hidden, false, "recipient-hidden",
          "The file does not name our key among those it is encrypted for; please encrypt it with "
          "our current PGP key without hiding the recipient (no --hidden-recipient or "
          "--throw-keyids) and send it again."},
    Entry{Reason::password_encrypted, false, "password-encrypted",
          "The file is encrypted with a password; please encrypt it with our PGP key instead."},
    Entry{Reason::own_key_expired, false, "own-key-expired",
          "The file is encrypted for a key of ours that has expired; please fetch our current PGP "
          "key, encrypt the file with it and send it again."},
    Entry{Reason::own_key_revoked, false, "own-key-revoked",
          "The file is encrypted for a key of ours that has been withdrawn; please fetch our "
          "current PGP key, encrypt the file with it and send it again."},
    Entry{Reason::own_key_locked, true, "own-key-locked",
          "The file cannot be decrypted at the moment because our key is locked; nothing needs to "
          "be done on your side."},
    Entry{Reason::no_integrity, false, "no-integrity",
          "The file is encrypted without integrity protection and could have been changed on its "
          "way; please switch it on (MDC) in your software and send the file again."},
    Entry{Reason::damaged, false, "damaged",
          "The file was changed after it was encrypted or signed; please send it again, in binary "
          "mode."},
    Entry{Reason::truncated, false, "truncated",
          "The file is incomplete: its end is missing; please send it again."},
    Entry{Reason::extra_data, false, "extra-data",
          "The file holds more than one PGP message or something after it; please send one message "
          "a file."},
    Entry{Reason::malformed, false, "malformed",
          "The file begins like a PGP message but is not a valid one; please check how it was made "
          "and send it again."},
    Entry{Reason::unsupported, false, "unsupported",
          "The file uses a form of PGP that is newer than what we can read; please choose RFC 4880 "
          "compatibility in your software and send it again."},
    Entry{Reason::weak_algorithm, false, "weak-algorithm",
          "The file uses an algorithm that is no longer safe; please use AES and SHA-256 or better "
          "and send it again."},
    Entry{Reason::output_over_limit, false, "output-over-limit",
          "The content of the file is larger than what is allowed once it is unpacked; please "
          "split it, or ask us to raise the limit."},
    Entry{
        Reason::resource_limit, false, "resource-limit",
        "The file takes more time or memory to unpack than any ordinary file; please check how it "
        "was made."},
    Entry{Reason::signature_missing, false, "signature-missing",
          "The file is not signed; please sign it with the PGP key that you gave us and send it "
          "again."},
    Entry{Reason::signature_bad, false, "signature-bad",
          "The signature does not fit the content of the file; please sign it and send it again."},
    Entry{Reason::signature_expired, false, "signature-expired",
          "The signature of the file has expired; please sign it and send it again."},
    Entry{Reason::signature_unknown_key, false, "signature-unknown-key",
          "The file is signed with a key that we do not know; please sign it with the key that you "
          "gave us, or give us this one."},
    Entry{Reason::signature_not_pinned, false, "signature-not-yours",
          "The file is signed with a key that is not registered for you; please sign it with the "
          "key that you gave us, or give us this one."},
    Entry{
        Reason::signature_key_expired, false, "signature-key-expired",
        "The file is signed with a key that has expired; please give us your renewed key and send "
        "the file again."},
    Entry{
        Reason::signature_key_revoked, false, "signature-key-revoked",
        "The file is signed with a key that has been revoked; please give us your current key and "
        "send the file again, signed with it."},
    Entry{Reason::recipient_missing, false, "recipient-missing",
          "There is no PGP key to encrypt for; please give us your current public key."},
    Entry{Reason::recipient_expired, false, "recipient-expired",
          "Your PGP key has expired; please give us your renewed public key."},
    Entry{Reason::recipient_revoked, false, "recipient-revoked",
          "Your PGP key has been revoked; please give us your current public key."},
    Entry{Reason::recipient_cannot_encrypt, false, "recipient-cannot-encrypt",
          "Your PGP key is for signing only; please give us one that can be encrypted for."},
    Entry{Reason::signer_missing, false, "signer-missing", "Our signing key is missing."},
    Entry{Reason::signer_expired, false, "signer-expired", "Our signing key has expired."},
    Entry{Reason::signer_revoked, false, "signer-revoked", "Our signing key has been revoked."},
    Entry{Reason::signer_cannot_sign, false, "signer-cannot-sign",
          "Our PGP key cannot be used for signing."},
    Entry{Reason::agent_away, true, "agent-away",
          "The file cannot be decrypted at the moment; nothing needs to be done on your side."},
    Entry{Reason::disk_full, true, "disk-full",
          "The file cannot be stored at the moment; nothing needs to be done on your side."},
    Entry{Reason::clock_conflict, true, "clock-conflict",
          "The file or its key was made in the future by our clock; we will look at it again."},
    Entry{Reason::interrupted, true, "interrupted",
          "The work on the file was interrupted; nothing needs to be done on your side."},
};

const Entry& entry_of(Reason reason) noexcept {
  for (const Entry& entry : entries) {
    if (entry.reason == reason) return entry;
  }
  return entries.back();
}

}  // namespace

std::string_view code(Reason reason) noexcept {
  return entry_of(reason).code;
}
bool is_retryable(Reason reason) noexcept {
  return entry_of(reason).retryable;
}
std::string_view sentence(Reason reason) noexcept {
  return entry_of(reason).sentence;
}

std::optional<Reason> reason_from_code(std::string_view text) noexcept {
  for (const Entry& entry : entries) {
    if (entry.code == text) return entry.reason;
  }
  return std::nullopt;
}

}  // namespace sallyport::pgp

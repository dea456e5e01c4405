#include "pgp/judge.h"

#include <signal.h>

#include <algorithm>
#include <array>

#include "base/bytes.h"

namespace sallyport::pgp {
namespace {

constexpr std::string_view hidden_recipient = "0000000000000000";

// libgpg-error's codes in ERRSIG.
constexpr int error_unsupported_algorithm = 4;
constexpr int error_digest_algorithm = 5;
constexpr int error_bad_public_key = 6;
constexpr int error_no_public_key = 9;

bool contains(const std::vector<std::string>& all, std::string_view one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

/// 64-bit blocks, or none: IDEA, 3DES, CAST5, Blowfish.
bool is_weak_cipher(int cipher) {
  return cipher >= 0 && cipher <= 4;
}
/// MD5, SHA-1, RIPEMD-160.
bool is_weak_hash(int hash) {
  return hash >= 1 && hash <= 3;
}

/// gpg has a status line for everything but its own failures to write, and a clock that is behind:
/// for these two, which only decide between "again later" and "never", its log is read. Lines that
/// quote a user id, which comes from outside, do not count.
bool log_has_line_with(std::string_view log, std::string_view words) {
  std::size_t at = 0;
  while (at < log.size()) {
    const std::size_t end = std::min(log.find('\n', at), log.size());
    const std::string_view line = log.substr(at, end - at);
    if (line.starts_with("gpg: ") && line.find('"') == std::string_view::npos &&
        line.ends_with(words))
      return true;
    at = end + 1;
  }
  return false;
}

bool is_disk_full(std::string_view log) {
  return log_has_line_with(log, ": No space left on device") ||
         log_has_line_with(log, ": Disk quota exceeded");
}

bool is_disk_error(std::string_view log) {
  return log_has_line_with(log, ": Input/output error");
}

bool is_time_warp(std::string_view log) {
  return log_has_line_with(log, " in the future (time warp or clock problem)");
}

Signature read_signature(const GpgSignature& from, const Acceptance& acceptance) {
  using Word = GpgSignature::Word;
  Signature signature;
  signature.key_id = from.key_id;
  signature.fingerprint = from.fingerprint;
  signature.made = from.made;
  switch (from.word) {
    case Word::good:
      // GOODSIG without the VALIDSIG that follows it proves nothing.
      signature.state = from.fingerprint.empty() ? SignatureState::other : SignatureState::good;
      break;
    case Word::expired:
      signature.state = SignatureState::expired;
      break;
    case Word::key_expired:
      signature.state = SignatureState::key_expired;
      break;
    case Word::key_revoked:
      signature.state = SignatureState::key_revoked;
      break;
    case Word::bad:
      signature.state = SignatureState::bad;
      break;
    case Word::error:
      if (from.error == error_no_public_key) signature.state = SignatureState::key_missing;
      break;
    case Word::none:
      break;
  }
  if (signature.state == SignatureState::good && contains(acceptance.ended, signature.fingerprint))
    signature.state = SignatureState::key_expired;
  signature.is_pinned =
      signature.state == SignatureState::good && contains(acceptance.pinned, signature.fingerprint);
  return signature;
}

/// Every signature has to be good, whoever made it and whether or not one is required.
Reason judge_one_signature(const GpgSignature& from, const Signature& signature,
                           const GpgRun& run) {
  if (is_weak_hash(from.hash_algorithm)) return Reason::weak_algorithm;
  switch (signature.state) {
    case SignatureState::good:
      return Reason::none;
    case SignatureState::bad:
      return Reason::signature_bad;
    case SignatureState::expired:
      return Reason::signature_expired;
    case SignatureState::key_expired:
      return Reason::signature_key_expired;
    case SignatureState::key_revoked:
      return Reason::signature_key_revoked;
    case SignatureState::key_missing:
      return Reason::signature_unknown_key;
    case SignatureState::other:
      break;
  }
  if (from.error == error_digest_algorithm) return Reason::weak_algorithm;
  if (from.error == error_unsupported_algorithm) return Reason::unsupported;
  if (from.error == error_bad_public_key && is_time_warp(run.log)) return Reason::clock_conflict;
  return Reason::signature_bad;
}

Reason judge_signatures(const Verdict& verdict, const GpgRun& run, const Acceptance& acceptance) {
  for (std::size_t i = 0; i < verdict.signatures.size(); ++i) {
    const Reason reason = judge_one_signature(run.status.signatures[i], verdict.signatures[i], run);
    if (reason != Reason::none) return reason;
  }
  if (!acceptance.signature_required) return Reason::none;
  if (verdict.signatures.empty()) return Reason::signature_missing;
  return verdict.signer().empty() ? Reason::signature_not_pinned : Reason::none;
}

Reason judge_decryption(const Verdict& verdict, const GpgRun& run, const Acceptance& acceptance) {
  const GpgStatus& status = run.status;
  if (status.begin_decryption > 1) return Reason::extra_data;
  // Told only once the session key was found and fitted.
  const bool had_key = !status.decrypted_by.empty();
  if (!had_key) {
    if (status.passphrase_missing) return Reason::own_key_locked;
    if (verdict.recipients.empty()) return Reason::password_encrypted;
    return Reason::not_for_us;
  }
  if (status.cipher != 0 && is_weak_cipher(status.cipher)) return Reason::weak_algorithm;
  if (status.cipher != 0 && !status.has_integrity) return Reason::no_integrity;
  if (status.bad_mdc || status.decryption_failed) return Reason::damaged;
  // At a bad or expired signature gpg gives up before it has checked the rest.
  if (status.decryption_okay && status.good_mdc) return Reason::none;
  const Reason signatures = judge_signatures(verdict, run, acceptance);
  const bool is_by_signature = !verdict.signatures.empty() && signatures != Reason::none &&
                               signatures != Reason::signature_not_pinned;
  return is_by_signature ? signatures : Reason::damaged;
}

Reason judge_own_key(const Verdict& verdict, const std::vector<Key>& own_keys, base::Instant now) {
  for (const Key& key : own_keys) {
    if (key.fingerprint != verdict.decrypted_by) continue;
    if (key.revoked) return Reason::own_key_revoked;
    if (key.is_expired(now)) return Reason::own_key_expired;
  }
  return Reason::none;
}

}  // namespace

Reason judge_form(const Inspection& inspection, const Acceptance& acceptance,
                  const std::vector<std::string>& own_key_ids) {
  const bool is_encrypted = inspection.kind == Kind::encrypted;
  switch (inspection.kind) {
    case Kind::encrypted:
      if (acceptance.encryption == Encryption::forbidden) return Reason::encryption_forbidden;
      break;
    case Kind::signed_message:
    case Kind::clearsigned:
      break;
    case Kind::plain:
    case Kind::detached_signature:
    case Kind::public_key:
    case Kind::secret_key:
      return Reason::not_pgp;
  }
  if (inspection.is_malformed) return Reason::malformed;
  if (inspection.has_extra_data) return Reason::extra_data;
  if (!inspection.is_complete) return Reason::truncated;
  if (!is_encrypted) {
    return acceptance.encryption == Encryption::required ? Reason::not_encrypted : Reason::none;
  }
  if (inspection.recipients.empty() && inspection.has_password) return Reason::password_encrypted;
  const auto& recipients = inspection.recipients;
  const auto is_ours = [&own_key_ids](const std::string& id) { return contains(own_key_ids, id); };
  if (!recipients.empty() && std::none_of(recipients.begin(), recipients.end(), is_ours)) {
    // A message has to name its recipients (gateway.md 5). Others beside ours may hide.
    return contains(recipients, hidden_recipient) ? Reason::recipient_hidden : Reason::not_for_us;
  }
  if (!inspection.has_integrity) return Reason::no_integrity;
  if (!inspection.is_supported) return Reason::unsupported;
  return Reason::none;
}

Reason judge_run(const GpgRun& run, std::uint64_t output_limit_bytes) {
  const base::ProcessResult& process = run.process;
  if (process.timed_out) return Reason::resource_limit;
  if (process.signal == SIGXFSZ || run.output_bytes > output_limit_bytes)
    return Reason::output_over_limit;
  if (process.signal == SIGXCPU || run.status_overflow) return Reason::resource_limit;
  // gpg died on the content: the same again would not help.
  constexpr std::array crashes{SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE, SIGSYS};
  if (std::find(crashes.begin(), crashes.end(), process.signal) != crashes.end())
    return Reason::malformed;
  if (process.signal != 0) return Reason::interrupted;
  if (process.exit_code != 0 && is_disk_full(run.log)) return Reason::disk_full;
  if (process.exit_code != 0 && is_disk_error(run.log)) return Reason::interrupted;
  return Reason::none;
}

void judge_message(Verdict& verdict, const GpgRun& run, const Acceptance& acceptance,
                   const std::vector<Key>& own_keys, base::Instant now) {
  const GpgStatus& status = run.status;
  for (const GpgSignature& signature : status.signatures)
    verdict.signatures.push_back(read_signature(signature, acceptance));
  verdict.decrypted_by = status.decrypted_by;

  const bool is_detached = verdict.inspection.kind == Kind::detached_signature;
  const auto judge = [&]() -> Reason {
    if (verdict.inspection.kind == Kind::encrypted) {
      if (const Reason reason = judge_decryption(verdict, run, acceptance); reason != Reason::none)
        return reason;
    } else if (status.begin_decryption > 0) {
      return Reason::malformed;  // an encrypted message inside of one that is not
    }
    if (!is_detached && status.plaintexts > 1) return Reason::extra_data;
    if (!is_detached && status.plaintexts == 0) return Reason::malformed;
    if (const Reason reason = judge_signatures(verdict, run, acceptance); reason != Reason::none)
      return reason;
    if (const Reason reason = judge_own_key(verdict, own_keys, now); reason != Reason::none)
      return reason;
    // Whatever gpg was not content with, and all the rest did not name.
    if (run.process.exit_code != 0 || status.no_data || status.unexpected)
      return status.no_data || status.unexpected ? Reason::extra_data : Reason::malformed;
    return Reason::none;
  };
  verdict.reason = judge();
}

std::string printable_log(std::string_view log) {
  constexpr std::size_t longest = 500;
  std::string text;
  for (const char c : log) {
    if (text.size() == longest) break;
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n') {
      text += " | ";
    } else {
      text += byte >= 0x20 && byte < 0x7f ? c : '?';
    }
  }
  while (text.ends_with(" | ")) text.resize(text.size() - 3);
  return text.substr(0, longest);
}

std::string Verdict::signer() const {
  for (const Signature& signature : signatures) {
    if (signature.is_pinned && signature.state == SignatureState::good)
      return signature.fingerprint;
  }
  return {};
}

std::string sentence(const Verdict& verdict) {
  std::string text(sentence(verdict.reason));
  std::string ids;
  const auto add = [&ids](const std::string& id) {
    if (id.empty() || id == hidden_recipient) return;
    ids += (ids.empty() ? "" : ", ") + id;
  };
  switch (verdict.reason) {
    case Reason::not_for_us:
    case Reason::recipient_hidden:
      for (std::size_t i = 0; i < verdict.recipients.size() && i < 5; ++i)
        add(verdict.recipients[i]);
      if (!ids.empty()) text += " It is for " + ids + ".";
      break;
    case Reason::signature_bad:
    case Reason::signature_expired:
    case Reason::signature_unknown_key:
    case Reason::signature_not_pinned:
    case Reason::signature_key_expired:
    case Reason::signature_key_revoked:
      for (std::size_t i = 0; i < verdict.signatures.size() && i < 5; ++i)
        add(verdict.signatures[i].key_id);
      if (!ids.empty()) text += " It is signed by " + ids + ".";
      break;
    default:
      break;
  }
  return text;
}

}  // namespace sallyport::pgp

#include "pgp/keyring.h"

#include <fmt/format.h>
#include <gpgme.h>

#include <algorithm>

#include "base/c_handle.h"

namespace sallyport::pgp {
namespace {

using Context = base::CHandle<gpgme_context, gpgme_release>;
using Data = base::CHandle<gpgme_data, gpgme_data_release>;
using KeyHandle = base::CHandle<_gpgme_key, gpgme_key_unref>;

[[noreturn]] void fail(const std::string& doing, gpgme_error_t error) {
  throw PgpError(fmt::format("cannot {}: {} ({}); look at the PGP home and its agent", doing,
                             gpgme_strerror(error), gpgme_err_code(error)));
}

void check(gpgme_error_t error, const std::string& doing) {
  if (gpgme_err_code(error) != GPG_ERR_NO_ERROR) fail(doing, error);
}

Context make_context(const std::filesystem::path& home, const std::filesystem::path& limiter) {
  // Has to come before any other call, and is done once for all threads.
  static const char* const version = gpgme_check_version("1.18.0");
  if (version == nullptr) throw PgpError("GPGME is older than 1.18.0; install Debian 12's");
  gpgme_ctx_t raw = nullptr;
  check(gpgme_new(&raw), "set up GPGME");
  Context context(raw);
  check(gpgme_ctx_set_engine_info(raw, GPGME_PROTOCOL_OpenPGP, limiter.c_str(), home.c_str()),
        "set up GPGME for " + home.string());
  gpgme_set_armor(raw, 1);
  // Without it a locked key would ask for a passphrase on a terminal.
  check(gpgme_set_pinentry_mode(raw, GPGME_PINENTRY_MODE_ERROR), "set up GPGME");
  return context;
}

Data make_data(std::string_view text) {
  gpgme_data_t raw = nullptr;
  check(gpgme_data_new_from_mem(&raw, text.data(), text.size(), 0), "pass data to GPGME");
  return Data(raw);
}

std::string text_of(const char* text) {
  return text == nullptr ? std::string() : text;
}

std::string algorithm_name(const _gpgme_subkey& subkey) {
  const std::string curve = text_of(subkey.curve);
  if (curve == "ed25519") return "Ed25519";
  if (curve == "cv25519") return "Cv25519";
  if (!curve.empty()) return curve;
  const std::string name = text_of(gpgme_pubkey_algo_name(subkey.pubkey_algo));
  return fmt::format("{} {}", name.empty() ? "unknown" : name, subkey.length);
}

/// Empty for keys that are accepted.
std::string weakness_of(const _gpgme_subkey& subkey) {
  switch (subkey.pubkey_algo) {
    case GPGME_PK_RSA:
    case GPGME_PK_RSA_E:
    case GPGME_PK_RSA_S:
    case GPGME_PK_ELG:
    case GPGME_PK_ELG_E:
    case GPGME_PK_DSA: {
      constexpr unsigned least_bits = 2048;
      if (subkey.length >= least_bits) return {};
      return fmt::format("{} is shorter than {} bits", algorithm_name(subkey), least_bits);
    }
    case GPGME_PK_ECDSA:
    case GPGME_PK_ECDH:
    case GPGME_PK_ECC:
    case GPGME_PK_EDDSA:
      return {};
    default:
      return "its algorithm is not known here";
  }
}

Subkey to_subkey(const _gpgme_subkey& from) {
  Subkey to;
  to.fingerprint = text_of(from.fpr);
  to.algorithm = algorithm_name(from);
  to.created = base::from_unix(from.timestamp);
  if (from.expires != 0) to.expires = base::from_unix(from.expires);
  to.revoked = from.revoked != 0;
  to.can_sign = from.can_sign != 0 && from.invalid == 0;
  to.can_encrypt = from.can_encrypt != 0 && from.invalid == 0;
  return to;
}

Key to_key(const _gpgme_key& from) {
  Key to;
  to.revoked = from.revoked != 0;
  to.has_secret = from.secret != 0;
  for (const _gpgme_subkey* subkey = from.subkeys; subkey != nullptr; subkey = subkey->next) {
    to.subkeys.push_back(to_subkey(*subkey));
    const bool is_used = subkey->can_sign != 0 || subkey->can_encrypt != 0;
    const bool counts = subkey == from.subkeys || (is_used && subkey->revoked == 0);
    if (counts && to.weakness.empty()) to.weakness = weakness_of(*subkey);
  }
  for (const _gpgme_user_id* uid = from.uids; uid != nullptr; uid = uid->next)
    to.user_ids.push_back(text_of(uid->uid));
  if (!to.subkeys.empty()) {
    const Subkey& primary = to.subkeys.front();
    to.fingerprint = primary.fingerprint;
    to.algorithm = primary.algorithm;
    to.created = primary.created;
    to.expires = primary.expires;
  }
  if (from.invalid != 0 && to.weakness.empty())
    to.weakness = "it has no valid self-signature (SHA-1 and MD5 ones do not count)";
  return to;
}

/// All keys of a listing that has been started.
std::vector<Key> read_listing(gpgme_ctx_t context, const std::string& doing) {
  std::vector<Key> keys;
  while (true) {
    gpgme_key_t raw = nullptr;
    const gpgme_error_t error = gpgme_op_keylist_next(context, &raw);
    if (gpgme_err_code(error) == GPG_ERR_EOF) return keys;
    check(error, doing);
    const KeyHandle key(raw);
    keys.push_back(to_key(*key));
  }
}

void refuse_bad_name(const OwnKeyRequest& request) {
  const auto is_bad = [](std::string_view text) {
    return text.find_first_of("()<>\"") != std::string_view::npos ||
           std::any_of(text.begin(), text.end(),
                       [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
  };
  if (request.name.size() < 5 || request.name.size() > 100 || is_bad(request.name))
    throw PgpError("the name of a PGP key has 5 to 100 characters and none of ()<>\"");
  if (request.email.find('@') == std::string::npos ||
      request.email.find(' ') != std::string::npos || request.email.size() > 200 ||
      is_bad(request.email))
    throw PgpError("the e-mail address of a PGP key is not one: " + request.email);
}

}  // namespace

Keyring::Keyring(std::filesystem::path home, std::filesystem::path limiter)
    : home_(std::move(home)), limiter_(std::move(limiter)) {}

std::vector<Key> Keyring::list(const std::string& fingerprint, bool secret_only) {
  const Context context = make_context(home_, limiter_);
  const std::string doing = "list PGP keys";
  check(gpgme_set_keylist_mode(context.get(),
                               GPGME_KEYLIST_MODE_LOCAL | GPGME_KEYLIST_MODE_WITH_SECRET),
        doing);
  check(gpgme_op_keylist_start(context.get(), fingerprint.empty() ? nullptr : fingerprint.c_str(),
                               secret_only ? 1 : 0),
        doing);
  return read_listing(context.get(), doing);
}

std::vector<Key> Keyring::inspect(std::string_view key_data) {
  const Context context = make_context(home_, limiter_);
  const Data data = make_data(key_data);
  const std::string doing = "read a PGP key";
  const gpgme_error_t error = gpgme_op_keylist_from_data_start(context.get(), data.get(), 0);
  if (gpgme_err_code(error) == GPG_ERR_NO_DATA) return {};
  check(error, doing);
  return read_listing(context.get(), doing);
}

std::vector<Keyring::Imported> Keyring::import(std::string_view key_data) {
  const std::lock_guard one_writer(writing_);
  const Context context = make_context(home_, limiter_);
  const Data data = make_data(key_data);
  check(gpgme_op_import(context.get(), data.get()), "import a PGP key");
  const gpgme_import_result_t result = gpgme_op_import_result(context.get());
  std::vector<Imported> imported;
  for (const _gpgme_import_status* one = result->imports; one != nullptr; one = one->next) {
    if (gpgme_err_code(one->result) != GPG_ERR_NO_ERROR || one->fpr == nullptr) continue;
    const bool is_new = (one->status & GPGME_IMPORT_NEW) != 0;
    const bool is_secret = (one->status & GPGME_IMPORT_SECRET) != 0;
    const auto same = std::find_if(imported.begin(), imported.end(), [one](const Imported& other) {
      return other.fingerprint == one->fpr;
    });
    if (same == imported.end()) {
      imported.push_back({one->fpr, is_new, is_secret});
    } else {
      same->is_new = same->is_new || is_new;
      same->is_secret = same->is_secret || is_secret;
    }
  }
  return imported;
}

std::vector<std::string> Keyring::keygrips(const std::string& fingerprint) {
  const Context context = make_context(home_, limiter_);
  check(gpgme_set_keylist_mode(context.get(),
                               GPGME_KEYLIST_MODE_LOCAL | GPGME_KEYLIST_MODE_WITH_KEYGRIP),
        "list PGP keys");
  gpgme_key_t raw = nullptr;
  check(gpgme_get_key(context.get(), fingerprint.c_str(), &raw, 1), "find the PGP key");
  const KeyHandle key(raw);
  std::vector<std::string> grips;
  for (const _gpgme_subkey* subkey = key->subkeys; subkey != nullptr; subkey = subkey->next)
    grips.push_back(text_of(subkey->keygrip));
  return grips;
}

std::string Keyring::generate(const OwnKeyRequest& request) {
  refuse_bad_name(request);
  const std::lock_guard one_writer(writing_);
  const Context context = make_context(home_, limiter_);
  const bool is_rsa = request.type == OwnKeyType::rsa3072;
  std::string expiry = "0";
  if (request.expires) {
    expiry = base::format_iso(*request.expires);  // gpg's own form has no dashes and colons
    expiry.erase(std::remove_if(expiry.begin(), expiry.end(),
                                [](char c) { return c == '-' || c == ':' || c == 'Z'; }),
                 expiry.end());
  }
  const std::string parameters = fmt::format(
      "<GnupgKeyParms format=\"internal\">\n"
      "{}"
      "Name-Real: {}\n"
      "Name-Email: {}\n"
      "Expire-Date: {}\n"
      "%no-protection\n"
      "</GnupgKeyParms>\n",
      is_rsa ? "Key-Type: RSA\nKey-Length: 3072\nKey-Usage: sign,cert\n"
               "Subkey-Type: RSA\nSubkey-Length: 3072\nSubkey-Usage: encrypt\n"
             : "Key-Type: EdDSA\nKey-Curve: ed25519\nKey-Usage: sign,cert\n"
               "Subkey-Type: ECDH\nSubkey-Curve: cv25519\nSubkey-Usage: encrypt\n",
      request.name, request.email, expiry);
  check(gpgme_op_genkey(context.get(), parameters.c_str(), nullptr, nullptr), "make a PGP key");
  const gpgme_genkey_result_t result = gpgme_op_genkey_result(context.get());
  if (result == nullptr || result->fpr == nullptr)
    throw PgpError("gpg made no key and said nothing");
  return result->fpr;
}

std::string Keyring::export_armoured(const std::string& fingerprint) {
  const Context context = make_context(home_, limiter_);
  gpgme_data_t raw = nullptr;
  check(gpgme_data_new(&raw), "export a PGP key");
  Data data(raw);
  check(gpgme_op_export(context.get(), fingerprint.c_str(), GPGME_EXPORT_MODE_MINIMAL, data.get()),
        "export a PGP key");
  std::size_t size = 0;
  char* memory = gpgme_data_release_and_get_mem(data.release(), &size);
  std::string text(memory == nullptr ? "" : memory, memory == nullptr ? 0 : size);
  gpgme_free(memory);
  return text;
}

bool Keyring::remove(const std::string& fingerprint, bool with_secret) {
  const std::lock_guard one_writer(writing_);
  const Context context = make_context(home_, limiter_);
  gpgme_key_t raw = nullptr;
  const gpgme_error_t error = gpgme_get_key(context.get(), fingerprint.c_str(), &raw, 0);
  if (gpgme_err_code(error) == GPG_ERR_EOF) return false;
  check(error, "find the PGP key to delete");
  const KeyHandle key(raw);
  const unsigned flags =
      GPGME_DELETE_FORCE | (with_secret ? static_cast<unsigned>(GPGME_DELETE_ALLOW_SECRET) : 0U);
  check(gpgme_op_delete_ext(context.get(), key.get(), flags), "delete a PGP key");
  return true;
}

}  // namespace sallyport::pgp

#include "pgp/engine.h"

#include <algorithm>
#include <chrono>

#include "base/log.h"
#include "pgp/content_scanner.h"

namespace sallyport::pgp {

base::Instant now_or(const std::optional<base::Instant>& now) {
  return now ? *now : std::chrono::floor<base::Seconds>(std::chrono::system_clock::now());
}

bool is_fingerprint(std::string_view text) noexcept {
  return text.size() == 40 && text.find_first_not_of("0123456789ABCDEF") == std::string_view::npos;
}

std::shared_ptr<const std::vector<Key>> Engine::Implementation::own_keys() {
  auto kept = own_keys_.lock();
  if (!*kept) *kept = std::make_shared<const std::vector<Key>>(keyring.list("", true));
  return *kept;
}

Engine::Engine(EngineOptions options)
    : implementation_(std::make_unique<Implementation>(options)) {}
Engine::~Engine() = default;

void Engine::start() {
  implementation_->home.start();
  implementation_->forget_own_keys();
}

void Engine::stop() noexcept {
  implementation_->home.stop();
}

void Engine::probe() {
  implementation_->home.probe();
}

Key Engine::generate_own_key(const OwnKeyRequest& request) {
  implementation_->home.probe();
  const std::string fingerprint = implementation_->keyring.generate(request);
  implementation_->forget_own_keys();
  auto keys = implementation_->keyring.list(fingerprint, true);
  if (keys.size() != 1) throw PgpError("gpg made the key " + fingerprint + " but does not list it");
  base::log_notice("pgp.key_made", {{"fingerprint", fingerprint}}, "made the PGP key {}",
                   fingerprint);
  return std::move(keys.front());
}

namespace {

/// A certificate with pictures and a thousand signatures stays under it.
constexpr std::size_t largest_key = 1 << 20;

ImportResult refuse(std::string sentence) {
  ImportResult result;
  result.refusal = std::move(sentence);
  return result;
}

/// What is wrong with the form of the data, before gpg sees it.
std::string refuse_form(std::string_view key_data, Kind wanted) {
  if (key_data.size() > largest_key) return "The key is larger than 1 MiB.";
  ContentScanner scanner;
  scanner.feed({reinterpret_cast<const std::uint8_t*>(key_data.data()), key_data.size()});
  const Inspection inspection = scanner.finish();
  if (inspection.kind == Kind::secret_key && wanted == Kind::public_key)
    return "This is a secret key: keep it to yourself, and give the public key only.";
  if (inspection.kind != wanted) {
    return wanted == Kind::public_key ? "This is not an OpenPGP public key."
                                      : "This is not an OpenPGP secret key.";
  }
  if (!inspection.is_complete) return "The key is incomplete: its end is missing.";
  if (inspection.is_malformed) return "The key is damaged.";
  if (inspection.has_extra_data) return "There is something after the key; give one key only.";
  return {};
}

}  // namespace

std::vector<Key> Engine::inspect_keys(std::string_view key_data) {
  ContentScanner scanner;
  scanner.feed({reinterpret_cast<const std::uint8_t*>(key_data.data()), key_data.size()});
  const Kind kind = scanner.finish().kind;
  if (key_data.size() > largest_key || (kind != Kind::public_key && kind != Kind::secret_key))
    return {};
  return implementation_->keyring.inspect(key_data);
}

ImportResult Engine::import_public_key(std::string_view key_data,
                                       std::optional<base::Instant> now) {
  if (std::string why = refuse_form(key_data, Kind::public_key); !why.empty())
    return refuse(std::move(why));
  const std::vector<Key> keys = implementation_->keyring.inspect(key_data);
  if (keys.empty()) return refuse("gpg finds no key in this.");
  if (keys.size() > 1) return refuse("There are several keys in this; give one at a time.");
  const Key& key = keys.front();
  const bool is_known = find_key(key.fingerprint).has_value();
  const base::Instant at = now_or(now);
  if (!key.weakness.empty()) return refuse("The key is too weak: " + key.weakness + ".");
  // A revocation or a new end of a key that is here is always taken in.
  if (!is_known && key.revoked) return refuse("The key has been revoked.");
  if (!is_known && key.is_expired(at)) return refuse("The key has expired.");
  if (!is_known && !key.can_sign(at) && !key.can_encrypt(at))
    return refuse("Nothing in the key can sign or encrypt.");

  implementation_->home.probe();
  const auto imported = implementation_->keyring.import(key_data);
  const auto ours = std::find_if(imported.begin(), imported.end(), [&key](const auto& one) {
    return one.fingerprint == key.fingerprint;
  });
  implementation_->forget_own_keys();
  ImportResult result;
  result.key = find_key(key.fingerprint);
  if (ours == imported.end() || !result.key) {
    return refuse(
        "gpg does not accept the key: it has no valid self-signature (SHA-1 ones do not count).");
  }
  result.is_new = ours->is_new;
  return result;
}

ImportResult Engine::import_own_key(std::string_view key_data) {
  if (std::string why = refuse_form(key_data, Kind::secret_key); !why.empty())
    return refuse(std::move(why));
  implementation_->home.probe();
  const auto imported = implementation_->keyring.import(key_data);
  implementation_->forget_own_keys();
  if (imported.empty()) {
    return refuse(
        "gpg does not accept the key; it must be a secret key that was exported without a "
        "passphrase.");
  }
  if (imported.size() > 1) return refuse("There are several keys in this; give one at a time.");
  const auto keys = implementation_->keyring.list(imported.front().fingerprint, true);
  if (keys.empty()) return refuse("The secret part of the key is missing.");
  for (const std::string& keygrip : implementation_->keyring.keygrips(keys.front().fingerprint)) {
    if (!implementation_->home.is_protected(keygrip)) continue;
    if (imported.front().is_new) delete_key(keys.front().fingerprint, true);
    return refuse(
        "The key is protected by a passphrase that nobody could enter here; export it without "
        "one.");
  }
  ImportResult result;
  result.key = keys.front();
  result.is_new = imported.front().is_new;
  return result;
}

std::vector<Key> Engine::list_keys() {
  return implementation_->keyring.list("", false);
}

std::vector<Key> Engine::list_own_keys() {
  return *implementation_->own_keys();
}

std::optional<Key> Engine::find_key(const std::string& fingerprint) {
  if (!is_fingerprint(fingerprint)) return std::nullopt;
  auto keys = implementation_->keyring.list(fingerprint, false);
  for (Key& key : keys) {
    if (key.fingerprint == fingerprint) return std::move(key);
  }
  return std::nullopt;
}

std::optional<std::string> Engine::export_public_key(const std::string& fingerprint) {
  if (!is_fingerprint(fingerprint)) return std::nullopt;
  std::string text = implementation_->keyring.export_armoured(fingerprint);
  if (text.empty()) return std::nullopt;
  return text;
}

bool Engine::delete_key(const std::string& fingerprint, bool with_secret) {
  if (!is_fingerprint(fingerprint)) return false;
  implementation_->home.probe();
  const bool removed = implementation_->keyring.remove(fingerprint, with_secret);
  implementation_->forget_own_keys();
  return removed;
}

}  // namespace sallyport::pgp

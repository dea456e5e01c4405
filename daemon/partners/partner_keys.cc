// The keys of partners, and our own PGP keys.
#include <fmt/format.h>

#include <algorithm>

#include "base/bytes.h"
#include "daemon/partners/credential_expiry.h"
#include "daemon/partners/partner_refusals.h"
#include "daemon/partners/partner_service.h"
#include "daemon/partners/ssh_key.h"

namespace sallyport::daemon {
namespace {

constexpr std::size_t most_keys = 50;  // of a kind and partner
constexpr std::size_t longest_label = 125;

void check_label(const std::string& label) {
  if (!base::is_utf8(label) || base::has_control(label) ||
      base::utf8_length(label) > longest_label) {
    refuse(
        "INVALID_LABEL",
        fmt::format("A label has at most {} characters and no control characters.", longest_label));
  }
}

}  // namespace

store::SshKey PartnerService::add_ssh_key(const Caller& caller, const std::string& name,
                                          std::string_view text, const std::string& label,
                                          std::optional<base::Instant> expires) {
  check_label(label);
  const SshKeyResult parsed = parse_ssh_key(text);
  if (!parsed.key) refuse("INVALID_SSH_KEY", parsed.refusal);
  const base::Instant now = parts_.clock.now();
  if (expires && *expires <= now) refuse("INVALID_EXPIRY", "The expiry lies in the past.");
  store::SshKey key;
  key.id = base::random_id();
  key.partner = name;
  key.label = label.empty() ? parsed.key->comment.substr(0, longest_label) : label;
  key.type = parsed.key->type;
  key.blob = base::to_base64(parsed.key->blob);
  key.fingerprint = parsed.key->fingerprint;
  key.added = now;
  key.expires = expires;
  key.next_due = first_due(expires, parts_.config.get()->keys.expiry_warnings, now);
  parts_.store.write([&](store::Unit& unit) {
    static_cast<void>(need(unit, name));
    const auto keys = store::partner_ssh_keys(unit, name);
    if (keys.size() >= most_keys) {
      throw ProblemError(409, "TOO_MANY_KEYS",
                         fmt::format("A partner has at most {} SSH keys.", most_keys));
    }
    for (const store::SshKey& known : keys) {
      if (known.fingerprint == key.fingerprint) {
        throw ProblemError(409, "KEY_EXISTS",
                           fmt::format("The partner has this key already ({}).", known.id));
      }
    }
    store::insert_ssh_key(unit, key);
    log(unit, caller, "ADD_SSH_KEY", name,
        Json::object({{"id", key.id},
                      {"fingerprint", key.fingerprint},
                      {"type", key.type},
                      {"label", key.label}}));
  });
  parts_.waker.wake("credentials");
  return key;
}

void PartnerService::remove_ssh_key(const Caller& caller, const std::string& name,
                                    const std::string& id) {
  const std::string fingerprint = parts_.store.write([&](store::Unit& unit) {
    static_cast<void>(need(unit, name));
    for (const store::SshKey& key : store::partner_ssh_keys(unit, name)) {
      if (key.id != id && key.fingerprint != id) continue;
      static_cast<void>(store::delete_ssh_key(unit, key.id));
      log(unit, caller, "REMOVE_SSH_KEY", name,
          Json::object({{"id", key.id}, {"fingerprint", key.fingerprint}}));
      return key.fingerprint;
    }
    throw ProblemError(404, "KEY_NOT_FOUND", "The partner has no such SSH key.");
  });
  if (sessions_ != nullptr) {
    sessions_->end_sessions(name, fingerprint, "The key of this session has been removed.");
  }
}

store::PgpKey PartnerService::keep_pgp_key(store::Unit& unit, const std::string& partner,
                                           const pgp::Key& key, const std::string& label,
                                           const std::string& armoured,
                                           std::optional<base::Instant> expires) {
  const base::Instant now = parts_.clock.now();
  store::PgpKey row;
  const auto known = store::partner_pgp_keys(unit, partner);
  const auto same = std::find_if(known.begin(), known.end(), [&](const store::PgpKey& one) {
    return one.fingerprint == key.fingerprint;
  });
  if (same == known.end() && known.size() >= most_keys) {
    throw ProblemError(409, "TOO_MANY_KEYS", fmt::format("At most {} PGP keys.", most_keys));
  }
  if (same != known.end()) row = *same;
  row.partner = partner;
  if (!label.empty()) row.label = label;
  if (row.label.empty() && !key.user_ids.empty()) {
    const std::string& user = key.user_ids.front();
    if (base::is_utf8(user) && !base::has_control(user) && user.size() <= longest_label) {
      row.label = user;
    }
  }
  row.fingerprint = key.fingerprint;
  row.public_key = armoured;
  row.can_sign = key.can_sign(now);
  row.can_encrypt = key.can_encrypt(now);
  row.revoked = key.revoked;
  // The same key given again, with new parts, does not take a day away that was set here.
  if (expires) row.ends_here = expires;
  row.expires = key.usable_until();
  if (row.ends_here) row.expires = std::min(row.expires.value_or(*row.ends_here), *row.ends_here);
  row.next_due = first_due(row.expires, parts_.config.get()->keys.expiry_warnings, now);
  if (same != known.end()) {
    // The same certificate with new parts: a later expiry, a revocation.
    static_cast<void>(store::update_pgp_key(unit, row));
  } else {
    row.id = base::random_id();
    row.added = now;
    store::insert_pgp_key(unit, row);
  }
  return row;
}

store::PgpKey PartnerService::add_pgp_key(const Caller& caller, const std::string& name,
                                          std::string_view text, const std::string& label,
                                          std::optional<base::Instant> expires) {
  check_label(label);
  if (expires && *expires <= parts_.clock.now())
    refuse("INVALID_EXPIRY", "The expiry lies in the past.");
  static_cast<void>(get(name));
  const pgp::ImportResult imported = pgp().import_public_key(text);
  if (!imported.key) refuse("INVALID_PGP_KEY", imported.refusal);
  if (imported.key->has_secret) {
    refuse("INVALID_PGP_KEY", "This is a key of ours, not one of the partner's.");
  }
  const std::string armoured = pgp().export_public_key(imported.key->fingerprint).value_or("");
  const store::PgpKey key = parts_.store.write([&](store::Unit& unit) {
    static_cast<void>(need(unit, name));
    store::PgpKey row = keep_pgp_key(unit, name, *imported.key, label, armoured, expires);
    log(unit, caller, "ADD_PGP_KEY", name,
        Json::object(
            {{"id", row.id},
             {"fingerprint", row.fingerprint},
             {"label", row.label},
             {"endsHere", row.ends_here ? Json(base::format_iso(*row.ends_here)) : Json()}}));
    return row;
  });
  parts_.waker.wake("credentials");
  tell_of_change();
  return key;
}

void PartnerService::remove_pgp_key(const Caller& caller, const std::string& name,
                                    const std::string& id) {
  const auto [fingerprint, last] = parts_.store.write([&](store::Unit& unit) {
    static_cast<void>(need(unit, name));
    for (const store::PgpKey& key : store::partner_pgp_keys(unit, name)) {
      if (key.id != id && key.fingerprint != id) continue;
      static_cast<void>(store::delete_pgp_key(unit, key.id));
      log(unit, caller, "REMOVE_PGP_KEY", name,
          Json::object({{"id", key.id}, {"fingerprint", key.fingerprint}}));
      // Another partner may have the same key: then the keyring needs it.
      bool used = false;
      for (const store::Partner& other : store::list_partners(unit)) {
        for (const store::PgpKey& its : store::partner_pgp_keys(unit, other.name)) {
          used = used || its.fingerprint == key.fingerprint;
        }
      }
      return std::pair{key.fingerprint, !used};
    }
    throw ProblemError(404, "KEY_NOT_FOUND", "The partner has no such PGP key.");
  });
  if (last && parts_.pgp != nullptr) static_cast<void>(parts_.pgp->delete_key(fingerprint));
}

store::PgpKey PartnerService::make_own_key(const Caller& caller,
                                           const pgp::OwnKeyRequest& request) {
  const pgp::Key key = pgp().generate_own_key(request);
  const std::string armoured = pgp().export_public_key(key.fingerprint).value_or("");
  store::PgpKey row = parts_.store.write([&](store::Unit& unit) {
    store::PgpKey kept = keep_pgp_key(unit, "", key, "", armoured);
    log(unit, caller, "MAKE_PGP_KEY", "", Json::object({{"fingerprint", kept.fingerprint}}));
    return kept;
  });
  parts_.waker.wake("credentials");
  tell_of_change();
  return row;
}

store::PgpKey PartnerService::import_own_key(const Caller& caller, std::string_view secret_key,
                                             const std::string& label) {
  check_label(label);
  const pgp::ImportResult imported = pgp().import_own_key(secret_key);
  if (!imported.key) refuse("INVALID_PGP_KEY", imported.refusal);
  const std::string armoured = pgp().export_public_key(imported.key->fingerprint).value_or("");
  store::PgpKey row = parts_.store.write([&](store::Unit& unit) {
    store::PgpKey kept = keep_pgp_key(unit, "", *imported.key, label, armoured);
    log(unit, caller, "IMPORT_PGP_KEY", "", Json::object({{"fingerprint", kept.fingerprint}}));
    return kept;
  });
  parts_.waker.wake("credentials");
  tell_of_change();
  return row;
}

std::vector<store::PgpKey> PartnerService::own_keys() {
  return parts_.store.read([](store::Unit& unit) { return store::partner_pgp_keys(unit, ""); });
}

}  // namespace sallyport::daemon

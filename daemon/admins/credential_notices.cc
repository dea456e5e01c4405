#include "daemon/admins/credential_notices.h"

#include <fmt/format.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <algorithm>
#include <ctime>

#include "base/bytes.h"
#include "base/c_handle.h"
#include "base/file_io.h"
#include "base/log.h"
#include "daemon/files/announce.h"
#include "daemon/partners/credential_expiry.h"
#include "store/admins.h"
#include "store/notices.h"
#include "store/partners.h"

namespace sallyport::daemon {
namespace {

constexpr unsigned batch = 200;
using X509Certificate = base::CHandle<X509, X509_free>;
using Bio = base::CHandle<BIO, BIO_free_all>;

struct Ending {
  std::string subject_type;
  std::string subject_id;
  notify::CredentialFacts facts;
  base::Instant expires{};
};

// Writes the notice that is due at `now`, if any; returns when to look again.
std::optional<base::Instant> step(store::Unit& unit, const Config& config,
                                  const store::Partner& partner, const Ending& ending,
                                  base::Instant now) {
  const ExpiryStep due = expiry_step(ending.expires, config.keys.expiry_warnings, now);
  if (!due.announce) return due.next_due;
  notify::Facts facts;
  const bool ended = due.announce->count() == 0;
  facts.kind = ended ? notify::Kind::credential_expired : notify::Kind::credential_expiring;
  facts.offset = *due.announce;
  facts.happened_at = now;
  facts.deadline = ending.expires;
  facts.credential = ending.facts;
  // What is wider and still unsent would only repeat what the tighter one says.
  store::supersede_notices(unit, ending.subject_type, ending.subject_id,
                           notify::to_string(notify::Kind::credential_expiring),
                           base::to_unix(ending.expires), due.announce->count(), now);
  announce_facts(unit, config, partner, std::move(facts), ending.subject_type, ending.subject_id,
                 ending.expires, !partner.name.empty());
  return due.next_due;
}

store::Partner partner_of(store::Unit& unit, const std::string& name) {
  if (name.empty()) return {};
  if (auto found = store::find_partner(unit, name)) return std::move(*found);
  store::Partner gone;
  gone.name = name;
  return gone;
}

std::optional<base::Instant> earlier(std::optional<base::Instant> a,
                                     std::optional<base::Instant> b) {
  if (!a) return b;
  if (!b) return a;
  return std::min(*a, *b);
}

}  // namespace

std::optional<base::Instant> CredentialNotices::earliest() {
  auto earliest = store_.read([](store::Unit& unit) {
    return earlier(earlier(store::earliest_ssh_key_due(unit), store::earliest_pgp_key_due(unit)),
                   store::earliest_token_due(unit));
  });
  auto certificate = certificate_.lock();
  return *certificate ? earlier(earliest, (*certificate)->next_due) : earliest;
}

bool CredentialNotices::run_pass(base::Instant now) {
  announce_certificate(now);
  const bool more = announce_stored(now);
  waker_.wake("outbox");
  return more;
}

bool CredentialNotices::announce_stored(base::Instant now) {
  const auto config = config_.get();
  return store_.write([&](store::Unit& unit) {
    const auto ssh_keys = store::due_ssh_keys(unit, now, batch);
    for (store::SshKey key : ssh_keys) {
      Ending ending{"ssh_key", key.id, {"ssh_key", key.label, key.fingerprint, ""}, {}};
      ending.expires = key.expires.value_or(now);
      key.next_due = key.expires ? step(unit, *config, partner_of(unit, key.partner), ending, now)
                                 : std::nullopt;
      static_cast<void>(store::update_ssh_key(unit, key));
    }
    const auto pgp_keys = store::due_pgp_keys(unit, now, batch);
    for (store::PgpKey key : pgp_keys) {
      const std::string type = key.partner.empty() ? "own_pgp_key" : "pgp_key";
      Ending ending{"pgp_key", key.id, {type, key.label, key.fingerprint, ""}, {}};
      ending.expires = key.expires.value_or(now);
      key.next_due = key.expires ? step(unit, *config, partner_of(unit, key.partner), ending, now)
                                 : std::nullopt;
      static_cast<void>(store::update_pgp_key(unit, key));
    }
    const auto tokens = store::due_tokens(unit, now, batch);
    for (store::Token token : tokens) {
      const bool access = token.kind == store::TokenKind::access;
      Ending ending{"token",
                    token.id,
                    {access ? "access_token" : "gateway_token", token.label, token.id, ""},
                    {}};
      if (access) {
        if (const auto owner = store::find_administrator(unit, token.administrator_id)) {
          ending.facts.owner = owner->email;
        }
      }
      ending.expires = token.expires.value_or(now);
      token.next_due =
          token.expires && !token.revoked ? step(unit, *config, {}, ending, now) : std::nullopt;
      static_cast<void>(store::update_token(unit, token));
    }
    return ssh_keys.size() == batch || pgp_keys.size() == batch || tokens.size() == batch;
  });
}

void CredentialNotices::certificate_changed() {
  const auto config = config_.get();
  const std::string& path = config->http.certificate_file;
  std::optional<Certificate> found;
  if (!path.empty()) {
    try {
      const std::string pem = base::read_file(path, 1 << 20);
      const Bio input(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
      const X509Certificate certificate(PEM_read_bio_X509(input.get(), nullptr, nullptr, nullptr));
      tm end{};
      if (certificate && ASN1_TIME_to_tm(X509_get0_notAfter(certificate.get()), &end) == 1) {
        Certificate its;
        unsigned char* der = nullptr;
        const int size = i2d_X509(certificate.get(), &der);
        if (size > 0) {
          const base::Sha256 digest =
              base::sha256({reinterpret_cast<const char*>(der), static_cast<std::size_t>(size)});
          its.fingerprint = base::to_hex(digest);
          OPENSSL_free(der);
        }
        its.expires = base::from_unix(::timegm(&end));
        its.next_due = clock_.now();
        found = its;
      }
    } catch (const base::Error& error) {
      base::log_warning("credentials.certificate", {}, "The certificate cannot be read: {}",
                        error.what());
    }
  }
  certificate_.set(found);
  waker_.wake("credentials");
}

void CredentialNotices::announce_certificate(base::Instant now) {
  std::optional<Certificate> certificate = certificate_.get();
  if (!certificate || !certificate->next_due || *certificate->next_due > now) return;
  const auto config = config_.get();
  Ending ending{"tls_certificate",
                certificate->fingerprint,
                {"tls_certificate", config->http.certificate_file, certificate->fingerprint, ""},
                certificate->expires};
  const auto next =
      store_.write([&](store::Unit& unit) { return step(unit, *config, {}, ending, now); });
  health_.set("http.certificate", now >= certificate->expires,
              fmt::format("The TLS certificate {} ended on {}: renew it and reload.",
                          config->http.certificate_file, base::format_date(certificate->expires)));
  auto current = certificate_.lock();
  if (*current && (*current)->fingerprint == certificate->fingerprint) (*current)->next_due = next;
}

}  // namespace sallyport::daemon

#include "store/partners.h"

#include "store/codec.h"

namespace sallyport::store {
namespace {

// The columns PARTNER, SSH_KEY and PGP_KEY of the catalogue, in their order.
template <class Record, class Call>
void partner_fields(Record& partner, Call&& call) {
  call(partner.active, partner.emails, partner.allowed_ips, partner.password_hash, partner.auth,
       partner.policies, partner.created);
}

template <class Record, class Call>
void ssh_key_fields(Record& key, Call&& call) {
  call(key.partner, key.label, key.type, key.blob, key.fingerprint, key.added, key.last_used,
       key.expires, key.next_due);
}

template <class Record, class Call>
void pgp_key_fields(Record& key, Call&& call) {
  call(key.partner, key.label, key.fingerprint, key.public_key, key.can_sign, key.can_encrypt,
       key.revoked, key.added, key.last_used, key.expires, key.next_due, key.ends_here);
}

void read_partner(Query& query, Partner& partner) {
  query.read(partner.name);
  partner_fields(partner, [&](auto&... values) { query.read(values...); });
  query.read(partner.version);
}

void read_ssh_key(Query& query, SshKey& key) {
  query.read(key.id);
  ssh_key_fields(key, [&](auto&... values) { query.read(values...); });
}

void read_pgp_key(Query& query, PgpKey& key) {
  query.read(key.id);
  pgp_key_fields(key, [&](auto&... values) { query.read(values...); });
}

}  // namespace

void insert_partner(Unit& unit, const Partner& partner) {
  Query query(unit, Sql::insert_partner);
  query.bind(partner.name);
  partner_fields(partner, [&](const auto&... values) { query.bind(values...); });
  query.bind(partner.version).run();
}

std::optional<Partner> find_partner(Unit& unit, std::string_view name) {
  Query query(unit, Sql::find_partner);
  query.bind(name);
  return first_of<Partner>(query, read_partner);
}

bool update_partner(Unit& unit, const Partner& partner) {
  Query query(unit, Sql::update_partner);
  partner_fields(partner, [&](const auto&... values) { query.bind(values...); });
  return query.bind(partner.name, partner.version).run() == 1;
}

std::vector<Partner> list_partners(Unit& unit) {
  Query query(unit, Sql::list_partners);
  return all_of<Partner>(query, read_partner);
}

void insert_ssh_key(Unit& unit, const SshKey& key) {
  Query query(unit, Sql::insert_ssh_key);
  query.bind(key.id);
  ssh_key_fields(key, [&](const auto&... values) { query.bind(values...); });
  query.run();
}

std::vector<SshKey> partner_ssh_keys(Unit& unit, std::string_view partner) {
  Query query(unit, Sql::partner_ssh_keys);
  query.bind(partner);
  return all_of<SshKey>(query, read_ssh_key);
}

bool update_ssh_key(Unit& unit, const SshKey& key) {
  Query query(unit, Sql::update_ssh_key);
  ssh_key_fields(key, [&](const auto&... values) { query.bind(values...); });
  return query.bind(key.id).run() == 1;
}

bool delete_ssh_key(Unit& unit, std::string_view id) {
  return Query(unit, Sql::delete_ssh_key).bind(id).run() == 1;
}

void touch_ssh_key(Unit& unit, std::string_view id, Instant now) {
  Query(unit, Sql::touch_ssh_key).bind(now, id, now).run();
}

void touch_pgp_key(Unit& unit, std::string_view partner, std::string_view fingerprint,
                   Instant now) {
  Query(unit, Sql::touch_pgp_key).bind(now, partner, fingerprint, now).run();
}

std::vector<SshKey> due_ssh_keys(Unit& unit, Instant now, unsigned limit) {
  Query query(unit, Sql::due_ssh_keys);
  query.bind(now, limit);
  return all_of<SshKey>(query, read_ssh_key);
}

std::optional<Instant> earliest_ssh_key_due(Unit& unit) {
  return one_instant(unit, Sql::earliest_ssh_key);
}

void insert_pgp_key(Unit& unit, const PgpKey& key) {
  Query query(unit, Sql::insert_pgp_key);
  query.bind(key.id);
  pgp_key_fields(key, [&](const auto&... values) { query.bind(values...); });
  query.run();
}

std::vector<PgpKey> partner_pgp_keys(Unit& unit, std::string_view partner) {
  Query query(unit, Sql::partner_pgp_keys);
  query.bind(partner);
  return all_of<PgpKey>(query, read_pgp_key);
}

bool update_pgp_key(Unit& unit, const PgpKey& key) {
  Query query(unit, Sql::update_pgp_key);
  pgp_key_fields(key, [&](const auto&... values) { query.bind(values...); });
  return query.bind(key.id).run() == 1;
}

bool delete_pgp_key(Unit& unit, std::string_view id) {
  return Query(unit, Sql::delete_pgp_key).bind(id).run() == 1;
}

std::vector<PgpKey> due_pgp_keys(Unit& unit, Instant now, unsigned limit) {
  Query query(unit, Sql::due_pgp_keys);
  query.bind(now, limit);
  return all_of<PgpKey>(query, read_pgp_key);
}

std::optional<Instant> earliest_pgp_key_due(Unit& unit) {
  return one_instant(unit, Sql::earliest_pgp_key);
}

void put_ban(Unit& unit, const Ban& ban) {
  Query(unit, Sql::put_ban).bind(ban.address, ban.reason, ban.since, ban.until).run();
}

bool delete_ban(Unit& unit, std::string_view address) {
  return Query(unit, Sql::delete_ban).bind(address).run() == 1;
}

std::vector<Ban> list_bans(Unit& unit, Instant now) {
  Query query(unit, Sql::list_bans);
  query.bind(now);
  return all_of<Ban>(
      query, [](Query& row, Ban& ban) { row.read(ban.address, ban.reason, ban.since, ban.until); });
}

}  // namespace sallyport::store

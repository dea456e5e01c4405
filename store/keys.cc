#include "store/keys.h"

#include <algorithm>

#include "store/codec.h"

namespace sallyport::store {
namespace {

/// The columns KEY of the catalogue, in their order.
template <class Key, class Call>
void fields(Key& key, Call&& call) {
  call(key.display_name, key.description, key.template_id, key.is_public, key.privileges,
       key.permissions_enabled, key.permissions, key.allowed_ips, key.denied_ips, key.search_hub,
       key.catalog_id, key.additional_configuration, key.contact, key.groups_can_edit,
       key.groups_can_view, key.duplicated_from, key.value_last4, key.state, key.created_by,
       key.created, key.activated, key.extended, key.disabled, key.expires_at, key.exposure,
       key.expiry_progress, key.inactivity_progress, key.exposure_progress, key.inactivity_moved_to,
       key.next_due);
}

void bind_fields(Query& query, const ApiKey& key) {
  fields(key, [&](const auto&... values) { query.bind(values...); });
}

void read_key(Query& query, ApiKey& key) {
  query.read(key.id);
  fields(key, [&](auto&... values) { query.read(values...); });
  query.read(key.version, key.last_used, key.last_allowed);
}

void read_value(Query& query, KeyValue& value) {
  query.read(value.sha256, value.key_id, value.valid_until);
}

void read_verify_row(Query& query, VerifyRow& row) {
  query.read(row.key_id, row.sha256, row.valid_until, row.display_name, row.template_id, row.state,
             row.is_public, row.expires_at, row.exposure_deadline, row.privileges,
             row.permissions_enabled, row.permissions, row.allowed_ips, row.denied_ips,
             row.contact_first_name, row.contact_last_name, row.value_last4, row.last_used,
             row.last_allowed);
}

/// Two units that insert the same contact wait for each other here, so that the second one sees the
/// first one's key.
void lock_contact(Unit& unit, const ApiKey& key) {
  std::vector<std::string> values;
  if (!key.contact->login.empty()) values.push_back("login " + key.contact->login);
  if (!key.contact->email.empty()) values.push_back("email " + key.contact->email);
  std::sort(values.begin(), values.end());
  for (const std::string& value : values) {
    Query query(unit, Sql::lock_contact);
    // A digest, for values may be longer than an index takes.
    query.bind(key.template_id, base::to_hex(base::sha256(value))).run();
  }
}

}  // namespace

void insert_key(Unit& unit, const ApiKey& key, const base::Sha256& value) {
  if (key.contact) {
    lock_contact(unit, key);
    if (find_contact_clash(unit, key.template_id, *key.contact, key.duplicated_from)) {
      throw Error(Failure::duplicate, 0,
                  "another key that has not ended has the same contact login or e-mail address");
    }
  }
  {
    Query query(unit, Sql::insert_key);
    query.bind(key.id);
    bind_fields(query, key);
    query.bind(key.version).run();
  }
  insert_key_value(unit, {value, key.id, std::nullopt});
}

std::optional<ApiKey> find_key(Unit& unit, std::string_view id) {
  Query query(unit, Sql::find_key);
  query.bind(id);
  return first_of<ApiKey>(query, read_key);
}

bool update_key(Unit& unit, const ApiKey& key) {
  Query query(unit, Sql::update_key);
  bind_fields(query, key);
  return query.bind(key.id, key.version).run() == 1;
}

bool delete_key(Unit& unit, std::string_view id) {
  Query(unit, Sql::delete_key_values).bind(id).run();
  Query(unit, Sql::delete_key_usage).bind(id).run();
  return Query(unit, Sql::delete_key).bind(id).run() == 1;
}

std::vector<ApiKey> list_keys(Unit& unit, std::string_view after_id, unsigned limit) {
  Query query(unit, Sql::list_keys);
  query.bind(after_id, limit);
  return all_of<ApiKey>(query, read_key);
}

std::vector<ApiKey> due_keys(Unit& unit, Instant now, unsigned limit) {
  Query query(unit, Sql::due_keys);
  query.bind(now, limit);
  return all_of<ApiKey>(query, read_key);
}

std::optional<Instant> earliest_due(Unit& unit) {
  return one_instant(unit, Sql::earliest_key);
}

std::optional<std::string> find_contact_clash(Unit& unit, std::string_view template_id,
                                              const Contact& contact, std::string_view except_id) {
  const auto find = [&](Sql statement, const std::string& value) {
    std::optional<std::string> id;
    if (value.empty()) return id;
    Query query(unit, statement);
    query.bind(template_id, except_id, value);
    if (query.next()) query.read(id.emplace());
    return id;
  };
  const auto id = find(Sql::clash_by_login, contact.login);
  return id ? id : find(Sql::clash_by_email, contact.email);
}

void insert_key_value(Unit& unit, const KeyValue& value) {
  Query(unit, Sql::insert_key_value).bind(value.key_id, value.sha256, value.valid_until).run();
}

void set_value_end(Unit& unit, const base::Sha256& value, Instant valid_until) {
  Query(unit, Sql::set_value_end).bind(valid_until, value).run();
}

std::optional<KeyValue> find_key_value(Unit& unit, const base::Sha256& value) {
  Query query(unit, Sql::find_key_value);
  query.bind(value);
  return first_of<KeyValue>(query, read_value);
}

std::vector<KeyValue> key_values(Unit& unit, std::string_view key_id) {
  Query query(unit, Sql::key_values);
  query.bind(key_id);
  return all_of<KeyValue>(query, read_value);
}

std::vector<KeyValue> list_key_values(Unit& unit, const base::Sha256* after, unsigned limit) {
  Query query(unit, Sql::list_key_values);
  query.bind(after != nullptr ? *after : base::Sha256{}, limit);
  return all_of<KeyValue>(query, read_value);
}

std::vector<VerifyRow> list_verify_rows(Unit& unit, const VerifyRow* after, unsigned limit) {
  static const VerifyRow start;
  const VerifyRow& last = after != nullptr ? *after : start;
  Query query(unit, Sql::list_verify_rows);
  query.bind(last.key_id, last.key_id, last.sha256, limit);
  std::vector<VerifyRow> rows;
  rows.reserve(std::min(limit, 100'000U));
  while (query.next()) read_verify_row(query, rows.emplace_back());
  return rows;
}

std::vector<VerifyRow> key_verify_rows(Unit& unit, std::string_view key_id) {
  Query query(unit, Sql::key_verify_rows);
  query.bind(key_id);
  return all_of<VerifyRow>(query, read_verify_row);
}

void record_usage(Unit& unit, const std::vector<KeyUsage>& usage) {
  // In one order for everybody, or two nodes that flush would lock each other out.
  std::vector<const KeyUsage*> rows;
  rows.reserve(usage.size());
  for (const KeyUsage& row : usage) rows.push_back(&row);
  std::sort(rows.begin(), rows.end(),
            [](const KeyUsage* a, const KeyUsage* b) { return a->key_id < b->key_id; });

  std::size_t done = 0;
  const auto flush = [&](Sql statement, std::size_t count) {
    while (rows.size() - done >= count) {
      Query query(unit, statement);
      for (const std::size_t end = done + count; done < end; ++done) {
        query.bind(rows[done]->key_id, rows[done]->last_used, rows[done]->last_allowed);
      }
      query.run();
    }
  };
  flush(Sql::record_usage_hundred, 100);
  flush(Sql::record_usage_ten, 10);
  flush(Sql::record_usage, 1);
}

unsigned wake_warned_keys(Unit& unit, const std::vector<std::string>& ids, Instant now) {
  constexpr std::size_t width = 100;
  std::vector<std::string> sorted = ids;
  std::sort(sorted.begin(), sorted.end());
  std::int64_t count = 0;
  for (std::size_t begin = 0; begin < sorted.size(); begin += width) {
    Query query(unit, Sql::wake_warned_keys);
    query.bind(now);
    // The last id fills what is left of the list.
    for (std::size_t i = begin; i < begin + width; ++i) {
      query.bind(sorted[std::min(i, sorted.size() - 1)]);
    }
    count += query.run();
  }
  return static_cast<unsigned>(count);
}

unsigned bring_forward_due_keys(Unit& unit, Instant now, Instant until) {
  return static_cast<unsigned>(
      Query(unit, Sql::bring_forward_due_keys).bind(now, now, until).run());
}

void insert_key_change(Unit& unit, std::string_view key_id, Instant now) {
  const auto same = [&](const Unit::PendingChange& change) { return change.key_id == key_id; };
  if (std::any_of(unit.key_changes.begin(), unit.key_changes.end(), same)) return;
  unit.key_changes.push_back({std::string(key_id), now});
}

std::vector<KeyChange> key_changes_since(Unit& unit, std::int64_t sequence, unsigned limit) {
  Query query(unit, Sql::key_changes_since);
  query.bind(sequence, limit);
  return all_of<KeyChange>(
      query, [](Query& row, KeyChange& change) { row.read(change.sequence, change.key_id); });
}

std::int64_t last_key_change(Unit& unit) {
  Query query(unit, Sql::counted);
  query.bind("key_change");
  std::int64_t last = 0;
  if (query.next()) query.read(last);
  return last;
}

unsigned prune_key_changes(Unit& unit, Instant before) {
  return static_cast<unsigned>(Query(unit, Sql::prune_key_changes).bind(before).run());
}

}  // namespace sallyport::store

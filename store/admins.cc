#include "store/admins.h"

#include "store/codec.h"

namespace sallyport::store {
namespace {

// The columns ADMINISTRATOR and TOKEN of the catalogue, in their order.
template <class Record, class Call>
void administrator_fields(Record& administrator, Call&& call) {
  call(administrator.name, administrator.email, administrator.active, administrator.groups,
       administrator.created);
}

template <class Record, class Call>
void token_fields(Record& token, Call&& call) {
  call(token.kind, token.sha256, token.administrator_id, token.label, token.created, token.expires,
       token.revoked, token.next_due);
}

void read_administrator(Query& query, Administrator& administrator) {
  query.read(administrator.id);
  administrator_fields(administrator, [&](auto&... values) { query.read(values...); });
}

void read_token(Query& query, Token& token) {
  query.read(token.id);
  token_fields(token, [&](auto&... values) { query.read(values...); });
}

}  // namespace

void insert_administrator(Unit& unit, const Administrator& administrator) {
  Query query(unit, Sql::insert_administrator);
  query.bind(administrator.id);
  administrator_fields(administrator, [&](const auto&... values) { query.bind(values...); });
  query.run();
}

bool update_administrator(Unit& unit, const Administrator& administrator) {
  Query query(unit, Sql::update_administrator);
  administrator_fields(administrator, [&](const auto&... values) { query.bind(values...); });
  return query.bind(administrator.id).run() == 1;
}

std::optional<Administrator> find_administrator(Unit& unit, std::string_view id) {
  Query query(unit, Sql::find_administrator);
  query.bind(id);
  return first_of<Administrator>(query, read_administrator);
}

std::optional<Administrator> find_administrator_by_email(Unit& unit, std::string_view email) {
  Query query(unit, Sql::find_administrator_by_email);
  query.bind(email);
  return first_of<Administrator>(query, read_administrator);
}

std::vector<Administrator> list_administrators(Unit& unit) {
  Query query(unit, Sql::list_administrators);
  return all_of<Administrator>(query, read_administrator);
}

bool delete_administrator(Unit& unit, std::string_view id) {
  return Query(unit, Sql::delete_administrator).bind(id).run() == 1;
}

void put_group(Unit& unit, const Group& group) {
  Query(unit, Sql::put_group).bind(group.id, group.name, group.privileges).run();
}

std::vector<Group> list_groups(Unit& unit) {
  Query query(unit, Sql::list_groups);
  return all_of<Group>(
      query, [](Query& row, Group& group) { row.read(group.id, group.name, group.privileges); });
}

bool delete_group(Unit& unit, std::string_view id) {
  return Query(unit, Sql::delete_group).bind(id).run() == 1;
}

void insert_token(Unit& unit, const Token& token) {
  Query query(unit, Sql::insert_token);
  query.bind(token.id);
  token_fields(token, [&](const auto&... values) { query.bind(values...); });
  query.run();
}

bool update_token(Unit& unit, const Token& token) {
  Query query(unit, Sql::update_token);
  token_fields(token, [&](const auto&... values) { query.bind(values...); });
  return query.bind(token.id).run() == 1;
}

std::optional<Token> find_token(Unit& unit, const base::Sha256& sha256) {
  Query query(unit, Sql::find_token);
  query.bind(sha256);
  return first_of<Token>(query, read_token);
}

std::vector<Token> list_tokens(Unit& unit) {
  Query query(unit, Sql::list_tokens);
  return all_of<Token>(query, read_token);
}

std::vector<Token> due_tokens(Unit& unit, Instant now, unsigned limit) {
  Query query(unit, Sql::due_tokens);
  query.bind(now, limit);
  return all_of<Token>(query, read_token);
}

std::optional<Instant> earliest_token_due(Unit& unit) {
  return one_instant(unit, Sql::earliest_token);
}

}  // namespace sallyport::store

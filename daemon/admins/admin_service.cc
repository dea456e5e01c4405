#include "daemon/admins/admin_service.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/bytes.h"
#include "daemon/http/router.h"
#include "daemon/keys/privileges.h"
#include "daemon/partners/credential_expiry.h"
#include "notify/address.h"

namespace sallyport::daemon {
namespace {

constexpr std::size_t longest_name = 125;
constexpr std::int32_t most_years = 100;
constexpr std::size_t random_token_bytes = 32;

[[noreturn]] void refuse(const std::string& code, const std::string& sentence) {
  throw ProblemError(400, code, sentence);
}

void check_text(const std::string& what, const std::string& text) {
  if (text.empty() || !base::is_utf8(text) || base::has_control(text) ||
      base::utf8_length(text) > longest_name) {
    refuse("INVALID_NAME",
           fmt::format("{} has 1 to {} characters and no control characters.", what, longest_name));
  }
}

store::Administrator need(store::Unit& unit, const std::string& who) {
  auto found = store::find_administrator(unit, who);
  if (!found) found = store::find_administrator_by_email(unit, who);
  if (!found) {
    throw ProblemError(404, "ADMINISTRATOR_NOT_FOUND",
                       fmt::format("There is no administrator '{}'.", who.substr(0, 100)));
  }
  return std::move(*found);
}

store::Group all_privileges() {
  store::Group group;
  group.id = base::random_id();
  group.name = administrators_group;
  group.privileges = {{"*", "*", "", ""}};
  return group;
}

/// The ids of the named groups; the built-in one where none is named.
std::vector<std::string> group_ids(store::Unit& unit, const std::vector<std::string>& names) {
  const auto groups = store::list_groups(unit);
  const auto find = [&](std::string_view name) {
    return std::find_if(groups.begin(), groups.end(), [&](const store::Group& group) {
      return group.id == name || group.name == name;
    });
  };
  if (names.empty()) {
    if (const auto found = find(administrators_group); found != groups.end()) return {found->id};
    const store::Group made = all_privileges();
    store::put_group(unit, made);
    return {made.id};
  }
  std::vector<std::string> ids;
  for (const std::string& name : names) {
    const auto found = find(name);
    if (found == groups.end()) {
      refuse("GROUP_NOT_FOUND",
             fmt::format("There is no group '{}': make it first (sallyportctl admin group put).",
                         name.substr(0, 100)));
    }
    if (std::find(ids.begin(), ids.end(), found->id) == ids.end()) ids.push_back(found->id);
  }
  return ids;
}

store::Privilege group_privilege(const std::string& text) {
  if (text == "*" || text == "*/*") return {"*", "*", "", ""};
  const auto privilege = parse_privilege(text);
  if (!privilege) {
    refuse("INVALID_PRIVILEGE",
           fmt::format("'{}' is no privilege: write OWNER/DOMAIN[/TYPE][@TARGET], or * for all.",
                       text.substr(0, 200)));
  }
  if (const auto problem = privilege_problem(*privilege)) refuse("INVALID_PRIVILEGE", *problem);
  return *privilege;
}

}  // namespace

void AdminService::changed() {
  for (AccessObserver* observer : parts_.observers) observer->access_changed();
}

void AdminService::log(store::Unit& unit, const Caller& caller, const std::string& operation,
                       const std::string& type, const std::string& id, const std::string& name,
                       Json changes) const {
  ActivityEntry entry;
  entry.actor = caller.actor();
  entry.source = caller.source;
  entry.operation = operation;
  entry.resource_type = type;
  entry.resource_id = id;
  entry.resource_name = name;
  entry.changes = std::move(changes);
  parts_.activity.append(unit, entry);
}

store::Administrator AdminService::create(const Caller& caller, const std::string& email,
                                          const std::string& name,
                                          const std::vector<std::string>& groups) {
  if (!notify::is_mail_address(email)) {
    refuse("INVALID_EMAIL",
           fmt::format("'{}' is no mail address of ASCII characters.", email.substr(0, 100)));
  }
  check_text("A name", name);
  const std::string id = base::random_id();
  auto made = parts_.store.write([&](store::Unit& unit) {
    if (store::find_administrator_by_email(unit, email)) {
      throw ProblemError(409, "ADMINISTRATOR_EXISTS",
                         fmt::format("{} is an administrator already.", email));
    }
    store::Administrator administrator;
    administrator.id = id;
    administrator.name = name;
    administrator.email = email;
    administrator.groups = group_ids(unit, groups);
    administrator.created = parts_.clock.now();
    store::insert_administrator(unit, administrator);
    log(unit, caller, "CREATE", "ADMINISTRATOR", id, email,
        Json::object({{"groups", Json::array_of(administrator.groups)}}));
    return administrator;
  });
  changed();
  return made;
}

std::vector<store::Administrator> AdminService::list() {
  return parts_.store.read([](store::Unit& unit) { return store::list_administrators(unit); });
}

store::Administrator AdminService::get(const std::string& who) {
  return parts_.store.read([&](store::Unit& unit) { return need(unit, who); });
}

store::Administrator AdminService::set_active(const Caller& caller, const std::string& who,
                                              bool active) {
  auto result = parts_.store.write([&](store::Unit& unit) {
    store::Administrator administrator = need(unit, who);
    if (administrator.active == active) return administrator;
    administrator.active = active;
    (void)store::update_administrator(unit, administrator);
    log(unit, caller, active ? "ACTIVATE" : "DISABLE", "ADMINISTRATOR", administrator.id,
        administrator.email, Json::object());
    return administrator;
  });
  changed();
  return result;
}

store::Administrator AdminService::set_groups(const Caller& caller, const std::string& who,
                                              const std::vector<std::string>& groups) {
  auto result = parts_.store.write([&](store::Unit& unit) {
    store::Administrator administrator = need(unit, who);
    auto ids = group_ids(unit, groups);
    Json changes =
        Json::object({{"groups", Json::object({{"old", Json::array_of(administrator.groups)},
                                               {"new", Json::array_of(ids)}})}});
    administrator.groups = std::move(ids);
    (void)store::update_administrator(unit, administrator);
    log(unit, caller, "UPDATE", "ADMINISTRATOR", administrator.id, administrator.email,
        std::move(changes));
    return administrator;
  });
  changed();
  return result;
}

store::Group AdminService::put_group(const Caller& caller, const std::string& name,
                                     const std::vector<std::string>& privileges) {
  check_text("A group's name", name);
  store::Group group;
  group.name = name;
  Json texts = Json::array();
  for (const std::string& text : privileges) {
    group.privileges.push_back(group_privilege(text));
    texts.push(format_privilege(group.privileges.back()));
  }
  const std::string new_id = base::random_id();
  parts_.store.write([&](store::Unit& unit) {
    group.id = new_id;
    for (const store::Group& known : store::list_groups(unit)) {
      if (known.name == name) group.id = known.id;
    }
    store::put_group(unit, group);
    log(unit, caller, group.id == new_id ? "CREATE" : "UPDATE", "GROUP", group.id, name,
        Json::object({{"privileges", texts}}));
  });
  changed();
  return group;
}

std::vector<store::Group> AdminService::groups() {
  return parts_.store.read([](store::Unit& unit) { return store::list_groups(unit); });
}

void AdminService::delete_group(const Caller& caller, const std::string& name) {
  parts_.store.write([&](store::Unit& unit) {
    for (const store::Group& group : store::list_groups(unit)) {
      if (group.name != name && group.id != name) continue;
      for (const store::Administrator& member : store::list_administrators(unit)) {
        if (std::find(member.groups.begin(), member.groups.end(), group.id) == member.groups.end())
          continue;
        throw ProblemError(409, "GROUP_IN_USE",
                           fmt::format("{} is in the group '{}': take its members out first.",
                                       member.email, group.name));
      }
      (void)store::delete_group(unit, group.id);
      log(unit, caller, "DELETE", "GROUP", group.id, group.name, Json::object());
      return;
    }
    throw ProblemError(404, "GROUP_NOT_FOUND",
                       fmt::format("There is no group '{}'.", name.substr(0, 100)));
  });
  changed();
}

NewToken AdminService::create_token(const Caller& caller, store::Token token,
                                    const std::string& owner,
                                    std::optional<base::Period> lifetime) {
  if (!token.label.empty()) check_text("A label", token.label);
  const bool access = token.kind == store::TokenKind::access;
  std::string value =
      (access ? "spat_" : "spgt_") + base::to_hex(base::random_bytes(random_token_bytes));
  token.id = base::random_id();
  token.sha256 = base::sha256(value);
  token.created = parts_.clock.now();
  if (lifetime) {
    if (lifetime->is_zero()) refuse("INVALID_LIFETIME", "A lifetime is longer than zero.");
    // As a key's: good through the last second of its last day.
    token.expires = base::end_of_day(base::add(token.created, *lifetime));
    if (*token.expires > base::add(token.created, base::Period{most_years, 0, 0, 1})) {
      refuse("INVALID_LIFETIME",
             fmt::format("The lifetime is more than {} years; leave it out for a token that does "
                         "not expire.",
                         most_years));
    }
    token.next_due =
        first_due(token.expires, parts_.config.get()->keys.expiry_warnings, token.created);
  }
  parts_.store.write([&](store::Unit& unit) {
    store::insert_token(unit, token);
    log(unit, caller, "CREATE", access ? "ACCESS_TOKEN" : "GATEWAY_TOKEN", token.id,
        owner.empty() ? token.label : owner + ": " + token.label, Json::object());
  });
  changed();
  parts_.waker.wake(credentials_work);
  return NewToken{std::move(token), base::Secret(std::move(value))};
}

NewToken AdminService::create_access_token(const Caller& caller, const std::string& who,
                                           const std::string& label,
                                           std::optional<base::Period> lifetime) {
  const store::Administrator administrator = get(who);
  store::Token token;
  token.kind = store::TokenKind::access;
  token.administrator_id = administrator.id;
  token.label = label;
  return create_token(caller, std::move(token), administrator.email, lifetime);
}

NewToken AdminService::create_gateway_token(const Caller& caller, const std::string& label,
                                            std::optional<base::Period> lifetime) {
  store::Token token;
  token.kind = store::TokenKind::gateway;
  token.label = label;
  return create_token(caller, std::move(token), "", lifetime);
}

std::vector<store::Token> AdminService::tokens(store::TokenKind kind) {
  auto all = parts_.store.read([](store::Unit& unit) { return store::list_tokens(unit); });
  all.erase(std::remove_if(all.begin(), all.end(),
                           [&](const store::Token& token) { return token.kind != kind; }),
            all.end());
  return all;
}

void AdminService::revoke_token(const Caller& caller, const std::string& id) {
  parts_.store.write([&](store::Unit& unit) {
    for (store::Token& token : store::list_tokens(unit)) {
      if (token.id != id) continue;
      if (token.revoked) return;
      token.revoked = parts_.clock.now();
      token.next_due.reset();
      (void)store::update_token(unit, token);
      log(unit, caller, "REVOKE",
          token.kind == store::TokenKind::access ? "ACCESS_TOKEN" : "GATEWAY_TOKEN", token.id,
          token.label, Json::object());
      return;
    }
    throw ProblemError(404, "TOKEN_NOT_FOUND",
                       fmt::format("There is no token '{}'.", id.substr(0, 64)));
  });
  changed();
}

}  // namespace sallyport::daemon

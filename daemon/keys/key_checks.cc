#include "daemon/keys/key_checks.h"

#include <algorithm>

#include "base/bytes.h"
#include "daemon/http/router.h"
#include "daemon/keys/privileges.h"
#include "daemon/lifecycle/status.h"
#include "daemon/net/ip.h"
#include "notify/address.h"
#include "store/admins.h"

namespace sallyport::daemon {

namespace {

constexpr std::size_t value_digits = 40;
constexpr std::size_t contact_limit = 125;
constexpr std::int32_t most_years = 100;

[[noreturn]] void refuse(std::string code, const std::string& detail,
                         Json members = Json::object()) {
  throw ProblemError(400, std::move(code), detail, std::move(members));
}

[[noreturn]] void refuse_edit(std::string_view field) {
  throw ProblemError(409, "FIELD_CANNOT_BE_EDITED",
                     "The " + std::string(field) +
                         " of a key cannot be edited. Create a new key from this one (duplicate) "
                         "or a new one, and disable this one.");
}

bool is_hex(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

std::string checked_line(std::string_view field, const std::string& text, std::size_t least,
                         std::size_t most) {
  if (!base::is_utf8(text)) refuse("INVALID_FIELD", std::string(field) + " is not UTF-8.");
  const std::size_t length = base::utf8_length(text);
  if (length > most) {
    refuse("FIELD_TOO_LONG", std::string(field) + " has " + std::to_string(length) +
                                 " characters; the limit is " + std::to_string(most) + ".");
  }
  if (length < least || (least > 0 && is_blank(text))) {
    refuse("FIELD_REQUIRED",
           std::string(field) + " is missing: write 1 to " + std::to_string(most) + " characters.");
  }
  return text;
}

std::string configuration_text(const Json& configuration, std::string_view first,
                               std::string_view second, std::string_view third) {
  const Json* value = configuration.find(first);
  std::string where(first);
  for (const auto name : {second, third}) {
    if (name.empty()) break;
    if (value == nullptr || value->is_null()) return {};
    if (value->if_object() == nullptr) {
      refuse("INVALID_FIELD", "additionalConfiguration." + where + " must be an object.");
    }
    value = value->find(name);
    where += "." + std::string(name);
  }
  if (value == nullptr || value->is_null()) return {};
  const auto* text = value->if_string();
  if (text == nullptr) {
    refuse("INVALID_FIELD", "additionalConfiguration." + where + " must be a text.");
  }
  return checked_line("additionalConfiguration." + where, *text, 1, name_limit);
}

base::Instant expiry_of_day(base::Instant instant) {
  // An instant that is the end of a day already is what a key's expirationDate shows.
  return base::start_of_day(instant) == instant ? instant : base::end_of_day(instant);
}

}  // namespace

std::string checked_name(const std::string& name) {
  return checked_line("displayName", name, 1, name_limit);
}

std::string checked_description(const std::string& description) {
  return checked_line("description", description, 0, description_limit);
}

std::vector<std::string> value_candidates(std::string_view text) {
  std::vector<std::string> out;
  std::size_t digits = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    digits = is_hex(text[i]) ? digits + 1 : 0;
    if (digits < value_digits) continue;
    std::string window(text.substr(i + 1 - value_digits, value_digits));
    for (char& c : window) {
      if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
    }
    out.push_back(std::move(window));
  }
  return out;
}

void refuse_key_values(store::Unit& unit, std::string_view field, std::string_view text) {
  for (const auto& candidate : value_candidates(text)) {
    if (!store::find_key_value(unit, base::sha256(candidate))) continue;
    refuse("KEY_VALUE_IN_TEXT",
           "The " + std::string(field) +
               " contains the value of an API key. Remove it, and treat that key as exposed if "
               "others may have seen it.");
  }
}

std::vector<std::string> checked_ips(std::string_view field, const std::vector<std::string>& ranges,
                                     bool allow_private) {
  if (ranges.size() > ip_list_limit) {
    refuse("TOO_MANY_ENTRIES", std::string(field) + " has " + std::to_string(ranges.size()) +
                                   " entries; the limit is " + std::to_string(ip_list_limit) + ".");
  }
  std::vector<std::string> out;
  for (const auto& text : ranges) {
    const auto parsed = IpRange::parse(text);
    if (!parsed.range) refuse("INVALID_IP_RANGE", std::string(field) + ": " + parsed.problem + ".");
    const std::string canonical = parsed.range->to_string();
    if (const auto kind = parsed.range->special_kind(); !kind.empty() && !allow_private) {
      refuse("IP_RANGE_NOT_PUBLIC",
             std::string(field) + ": " + canonical + " is or holds " + std::string(kind) +
                 " addresses, from which no key can be used over the Internet. Write the public "
                 "addresses of the caller (keys.allow_private_ips allows them on premises).");
    }
    if (std::find(out.begin(), out.end(), canonical) == out.end()) out.push_back(canonical);
  }
  return out;
}

std::vector<store::Privilege> checked_privileges(const KeyTemplate& tmpl, const KeyInput& input) {
  if (!tmpl.choose_privileges) {
    if (input.privileges && !input.privileges->empty() &&
        !same_privileges(*input.privileges, tmpl.privileges)) {
      refuse("PRIVILEGES_GIVEN_BY_TEMPLATE",
             "The privileges of a key of the template " + tmpl.id +
                 " are those of the template. Leave them out, or choose the template CUSTOM.");
    }
    return tmpl.privileges;
  }
  std::vector<store::Privilege> out;
  if (!input.privileges) return out;
  if (input.privileges->size() > privilege_limit) {
    refuse("TOO_MANY_ENTRIES", "privileges has " + std::to_string(input.privileges->size()) +
                                   " entries; the limit is " + std::to_string(privilege_limit) +
                                   ".");
  }
  for (const auto& privilege : *input.privileges) {
    if (const auto problem = privilege_problem(privilege)) refuse("INVALID_PRIVILEGE", *problem);
    if (is_key_management(privilege)) {
      refuse("PRIVILEGE_NOT_ALLOWED", "No key may hold a privilege on API_KEY (" +
                                          format_privilege(privilege) +
                                          "): keys do not manage keys. Use an administrator's "
                                          "access token for that.");
    }
    if (const auto* forbidden = forbidden_by(tmpl.forbidden, privilege)) {
      refuse("PRIVILEGE_NOT_ALLOWED", "A key of the template " + tmpl.id + " may not hold " +
                                          format_privilege(*forbidden) +
                                          ". Use the template that is made for it.");
    }
    if (std::find(out.begin(), out.end(), privilege) == out.end()) out.push_back(privilege);
  }
  return out;
}

void require_held(const Caller& caller, const std::vector<store::Privilege>& privileges) {
  const auto lacking = missing(caller, privileges);
  if (lacking.empty()) return;
  std::string names;
  for (const auto& each : lacking) {
    names += (names.empty() ? "" : ", ") + format_privilege(each);
  }
  throw ProblemError(403, "MISSING_PRIVILEGES",
                     "You can only grant what you hold yourself; you lack " + names +
                         ". Ask an administrator who holds it.",
                     Json::object({{"missingPrivileges", privileges_json(lacking)}}));
}

void check_permissions(store::ApiKey& key, const KeyTemplate& tmpl, const KeyInput& input) {
  const bool enabled = input.permissions_enabled.value_or(false);
  const bool listed = input.permissions && !input.permissions->empty();
  if (!tmpl.permissions) {
    if (enabled || listed) {
      refuse("PERMISSIONS_NOT_OFFERED", "Keys of the template " + tmpl.id +
                                            " have privileges, not permissions. Use the template "
                                            "INTEGRATION for permissions.");
    }
    return;
  }
  if (!enabled && listed) {
    refuse("PERMISSIONS_NOT_ENABLED",
           "permissions are listed, but permissionsEnabled is not true: set it, or leave them out "
           "to grant everything but the restricted domains.");
  }
  if (enabled && !listed) {
    refuse("FIELD_REQUIRED",
           "permissionsEnabled is true, but no permissions are listed: the key could do nothing. "
           "List the pairs of object and action.");
  }
  key.permissions_enabled = enabled;
  if (!listed) return;
  if (input.permissions->size() > privilege_limit) {
    refuse("TOO_MANY_ENTRIES", "permissions has " + std::to_string(input.permissions->size()) +
                                   " entries; the limit is " + std::to_string(privilege_limit) +
                                   ".");
  }
  for (const auto& permission : *input.permissions) {
    if (const auto problem = permission_problem(permission)) refuse("INVALID_PERMISSION", *problem);
    if (is_key_management({"", permission.object, "", ""})) {
      refuse("PRIVILEGE_NOT_ALLOWED",
             "No key may have a permission on API_KEY: keys do not manage keys.");
    }
    if (std::find(key.permissions.begin(), key.permissions.end(), permission) ==
        key.permissions.end()) {
      key.permissions.push_back(permission);
    }
  }
}

void check_configuration(store::ApiKey& key, const KeyTemplate& tmpl, const KeyInput& input) {
  if (!input.additional_configuration) return;
  const Json& configuration = *input.additional_configuration;
  key.search_hub = configuration_text(configuration, "search", "enforcedQueryPipelineConfiguration",
                                      "searchHub");
  key.catalog_id = configuration_text(configuration, "commerce", "catalogId", "");
  if (!key.search_hub.empty() && !key.catalog_id.empty()) {
    refuse("SEARCH_HUB_WITH_CATALOG",
           "A key with a catalogue refuses a search hub: the hub follows from the commerce "
           "interface. Leave search.enforcedQueryPipelineConfiguration.searchHub out.");
  }
  if (!key.search_hub.empty() && !tmpl.search_hub) {
    refuse("SEARCH_HUB_NOT_OFFERED",
           "Keys of the template " + tmpl.id + " have no search hub. Leave it out.");
  }
  const std::string text = configuration.dump();
  if (text.size() > configuration_limit_bytes) {
    refuse("FIELD_TOO_LONG", "additionalConfiguration has " + std::to_string(text.size()) +
                                 " bytes; the limit is " +
                                 std::to_string(configuration_limit_bytes) + ".");
  }
  if (!configuration.if_object()->empty()) key.additional_configuration = text;
}

store::Contact checked_contact(const store::Contact& contact) {
  store::Contact out;
  out.first_name = checked_line("contact.firstName", contact.first_name, 1, contact_limit);
  out.last_name = checked_line("contact.lastName", contact.last_name, 1, contact_limit);
  out.login = checked_line("contact.login", contact.login, 1, contact_limit);
  out.email = checked_line("contact.email", contact.email, 1, 254);
  if (const auto problem = notify::mail_address_problem(out.email)) {
    refuse("INVALID_FIELD", "contact.email: " + *problem);
  }
  // No mail system tells people apart by the case of an address, so neither does uniqueness.
  for (char& c : out.email) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

void refuse_contact_clash(store::Unit& unit, const store::ApiKey& key) {
  if (!key.contact) return;
  // A duplicate may share the contact of its source, and so its source with it.
  const auto clash = store::find_contact_clash(unit, key.template_id, *key.contact, key.id);
  if (!clash || *clash == key.duplicated_from) return;
  if (const auto other = store::find_key(unit, *clash); other && other->duplicated_from == key.id) {
    return;
  }
  throw ProblemError(409, "CONTACT_NOT_UNIQUE",
                     "The contact's login or e-mail belongs to another key of the template " +
                         key.template_id +
                         " that has not ended. Each such key needs a contact of its own: write "
                         "another login and e-mail, or end the other key first.");
}

void check_groups(store::Unit& unit, const std::vector<std::string>& groups) {
  if (groups.empty()) return;
  const auto known = store::list_groups(unit);
  for (const auto& id : groups) {
    const bool exists = std::any_of(known.begin(), known.end(),
                                    [&](const store::Group& group) { return group.id == id; });
    if (!exists) {
      refuse("UNKNOWN_GROUP", "There is no group with the id \"" + id.substr(0, 64) +
                                  "\". `sallyportctl admin group list` shows them.");
    }
  }
}

std::optional<base::Instant> checked_expiry(const KeyTemplate& tmpl, const KeyInput& input,
                                            base::Instant now) {
  const bool dated = input.expiration_day || input.expiration_millis;
  const bool timed = input.lifetime.given && !input.lifetime.text.empty();
  if (!tmpl.expires) {
    if (timed || dated) {
      refuse("LIFETIME_NOT_OFFERED",
             "A key of the template " + tmpl.id +
                 " never expires. Leave lifetimeDuration out, or choose a template that expires.");
    }
    return std::nullopt;
  }
  if (timed && dated) {
    refuse("INVALID_FIELD", "Write either lifetimeDuration or expirationDate, not both.");
  }
  if (timed) {
    const auto lifetime = base::parse_period(input.lifetime.text);
    if (!lifetime || lifetime->is_zero()) {
      refuse("INVALID_LIFETIME",
             "lifetimeDuration must be an ISO-8601 duration of years, months, weeks and days that "
             "is greater than zero, such as P14D, P1M or P1Y2M; null or \"\" means never.");
    }
    const auto end = lifecycle::expiry_after(now, *lifetime);
    if (end > base::add(now, base::Period{most_years, 0, 0, 1})) {
      refuse("INVALID_LIFETIME", "lifetimeDuration is more than " + std::to_string(most_years) +
                                     " years; write null for a key that never expires.");
    }
    return end;
  }
  if (dated) {
    std::optional<base::Instant> end;
    if (input.expiration_millis) {
      constexpr std::int64_t most_millis = 253402300800000;  // the year 10000
      if (*input.expiration_millis > 0 && *input.expiration_millis < most_millis) {
        end = expiry_of_day(base::from_unix(*input.expiration_millis / 1000));
      }
    } else if (const auto day = base::parse_instant(*input.expiration_day)) {
      end = base::end_of_day(*day);
    }
    if (!end) {
      refuse("INVALID_FIELD",
             "expirationDate must be Unix milliseconds or a day such as \"2027-05-15\".");
    }
    if (*end <= now) refuse("INVALID_FIELD", "expirationDate lies in the past.");
    return end;
  }
  if (input.lifetime.given || input.expiration_null || !tmpl.default_lifetime) return std::nullopt;
  return lifecycle::expiry_after(now, *tmpl.default_lifetime);
}

void refuse_fixed_changes(const store::ApiKey& key, const KeyInput& input) {
  if (input.id && *input.id != key.id) refuse_edit("id");
  if (input.value && *input.value != masked_value(key)) refuse_edit("value");
  if (input.template_id && *input.template_id != key.template_id) refuse_edit("template");
  if (input.privileges && !same_privileges(*input.privileges, key.privileges)) {
    refuse_edit("privileges");
  }
  if (input.permissions_enabled && *input.permissions_enabled != key.permissions_enabled) {
    refuse_edit("permissions");
  }
  if (input.permissions && !same_permissions(*input.permissions, key.permissions)) {
    refuse_edit("permissions");
  }
  if (input.additional_configuration) {
    const Json present = key.additional_configuration.empty()
                             ? Json::object()
                             : parse_json(key.additional_configuration);
    if (*input.additional_configuration != present) refuse_edit("additional configuration");
  }
  const bool dated = input.expiration_day || input.expiration_millis;
  if (dated) {
    const bool same =
        key.expires_at &&
        (input.expiration_millis
             ? *input.expiration_millis == base::to_unix(*key.expires_at) * 1000
             : base::parse_instant(*input.expiration_day) == *key.expires_at - base::one_day);
    if (!same) refuse_edit("expiration");
  }
  if (input.expiration_null && key.expires_at) refuse_edit("expiration");
  if (input.lifetime.given && (!input.lifetime.text.empty() || key.expires_at)) {
    refuse_edit("expiration");
  }
}

std::string masked_value(const store::ApiKey& key) {
  return "xx*****" + key.value_last4;
}

Json privilege_json(const store::Privilege& privilege) {
  Json out = Json::object({{"owner", privilege.owner}, {"targetDomain", privilege.target_domain}});
  if (!privilege.type.empty()) out.set("type", privilege.type);
  if (!privilege.target_id.empty()) out.set("targetId", privilege.target_id);
  return out;
}

Json privileges_json(const std::vector<store::Privilege>& privileges) {
  Json out = Json::array();
  for (const auto& each : privileges) out.push(privilege_json(each));
  return out;
}

}  // namespace sallyport::daemon

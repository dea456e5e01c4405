#include "daemon/keys/key_input.h"

#include <algorithm>

#include "daemon/http/router.h"

namespace sallyport::daemon {

namespace {

constexpr std::size_t group_list_limit = 500;

[[noreturn]] void refuse(const std::string& detail) {
  throw ProblemError(400, "INVALID_FIELD", detail);
}

std::vector<store::Privilege> read_privileges(const std::vector<JsonReader>& items) {
  std::vector<store::Privilege> out;
  for (const auto& item : items) {
    store::Privilege privilege;
    privilege.owner = item.text("owner");
    privilege.target_domain = item.text("targetDomain");
    privilege.type = item.maybe_text("type").value_or("");
    privilege.target_id = item.maybe_text("targetId").value_or("");
    out.push_back(std::move(privilege));
  }
  return out;
}

std::vector<store::Permission> read_permissions(const std::vector<JsonReader>& items) {
  std::vector<store::Permission> out;
  for (const auto& item : items) out.push_back({item.text("object"), item.text("action")});
  return out;
}

/// [{"id": ..., "displayName": ...}] as the routes give it, or a list of ids. Each once.
std::optional<std::vector<std::string>> read_groups(const JsonReader& reader,
                                                    std::string_view name) {
  if (!reader.has(name) || reader.is_null(name)) return std::nullopt;
  const auto* items = reader.raw(name).if_array();
  if (items == nullptr) refuse(std::string(name) + " must be a list of groups.");
  if (items->size() > group_list_limit) {
    throw ProblemError(400, "TOO_MANY_ENTRIES",
                       std::string(name) + " has " + std::to_string(items->size()) +
                           " entries; the limit is " + std::to_string(group_list_limit) + ".");
  }
  std::vector<std::string> out;
  for (const auto& item : *items) {
    const auto* id = item.if_string();
    if (id == nullptr) id = item["id"].if_string();
    if (id == nullptr) refuse(std::string(name) + " must be a list of groups, each {\"id\": ...}.");
    if (std::find(out.begin(), out.end(), *id) == out.end()) out.push_back(*id);
  }
  return out;
}

void read_contact(const JsonReader& reader, KeyInput& input) {
  const auto contact = reader.maybe_object("contact");
  if (!contact) return;
  store::Contact out;
  out.first_name = contact->maybe_text("firstName").value_or("");
  out.last_name = contact->maybe_text("lastName").value_or("");
  out.login = contact->maybe_text("login").value_or("");
  out.email = contact->maybe_text("email").value_or("");
  input.contact_login_given = !out.login.empty();
  input.contact = std::move(out);
}

void read_expiry(const JsonReader& reader, KeyInput& input) {
  if (reader.has("lifetimeDuration")) {
    input.lifetime.given = true;
    input.lifetime.text = reader.maybe_text("lifetimeDuration").value_or("");
  }
  if (!reader.has("expirationDate")) return;
  const Json& date = reader.raw("expirationDate");
  if (date.is_null()) {
    input.expiration_null = true;
  } else if (const auto* millis = date.if_int()) {
    input.expiration_millis = *millis;
  } else if (const auto* day = date.if_string()) {
    input.expiration_day = *day;
  } else {
    refuse("expirationDate must be Unix milliseconds or a day such as \"2027-05-15\".");
  }
}

}  // namespace

KeyInput read_key_input(const Json& body) {
  const JsonReader reader(body);
  KeyInput input;
  input.display_name = reader.maybe_text("displayName");
  input.description = reader.maybe_text("description");
  if (const auto items = reader.maybe_objects("privileges")) {
    input.privileges = read_privileges(*items);
  }
  input.permissions_enabled = reader.maybe_flag("permissionsEnabled");
  if (const auto items = reader.maybe_objects("permissions")) {
    input.permissions = read_permissions(*items);
  }
  input.allowed_ips = reader.maybe_texts("allowedIps");
  input.denied_ips = reader.maybe_texts("deniedIps");
  if (const auto more = reader.maybe_object("additionalConfiguration")) {
    input.additional_configuration = more->value();
  }
  read_contact(reader, input);
  if (reader.has("apiKeysThatCanEdit") && !reader.is_null("apiKeysThatCanEdit")) {
    const auto* items = reader.raw("apiKeysThatCanEdit").if_array();
    if (items == nullptr || !items->empty()) {
      refuse("apiKeysThatCanEdit must be empty: keys do not manage keys.");
    }
  }
  input.groups_can_edit = read_groups(reader, "groupsThatCanEdit");
  input.groups_can_view = read_groups(reader, "groupsThatCanView");
  read_expiry(reader, input);
  input.template_id = reader.maybe_text("apiKeyTemplateId");
  input.value = reader.maybe_text("value");
  input.id = reader.maybe_text("id");
  input.enabled = reader.maybe_flag("enabled");
  return input;
}

}  // namespace sallyport::daemon

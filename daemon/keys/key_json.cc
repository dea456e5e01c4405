#include "daemon/keys/key_json.h"

#include "daemon/keys/key_checks.h"
#include "daemon/lifecycle/exposure.h"
#include "daemon/lifecycle/status.h"

namespace sallyport::daemon {

namespace {

Json groups_json(const std::vector<std::string>& groups, const KeyView& view) {
  Json out = Json::array();
  for (const auto& id : groups) {
    const auto name = view.group_names.find(id);
    out.push(Json::object(
        {{"id", id}, {"displayName", name == view.group_names.end() ? id : name->second}}));
  }
  return out;
}

Json exposure_json(const store::ApiKey& key) {
  const store::Exposure& exposure = *key.exposure;
  Json reasons = Json::array();
  for (const auto& reason : exposure.reasons) {
    if (!reason.applied) continue;
    Json entry = Json::object({{"id", reason.id},
                               {"reason", reason.reason},
                               {"source", std::string(lifecycle::source_name(reason.source))},
                               {"severity", std::string(lifecycle::severity_name(reason.severity))},
                               {"suspiciousActivity", reason.suspicious_activity},
                               {"createdDate", millis(reason.created)}});
    if (!reason.url.empty()) entry.set("url", reason.url);
    reasons.push(std::move(entry));
  }
  Json out = Json::object({{"apiKeyLoggerId", key.id},
                           {"severity", std::string(lifecycle::severity_name(exposure.severity))},
                           {"reasons", std::move(reasons)},
                           {"creationType", exposure.automated ? "AUTOMATED" : "MANUAL"},
                           {"createdBy", exposure.created_by},
                           {"createdDate", millis(exposure.created)}});
  out.set_if("deactivationDate", millis(exposure.deadline));
  return out;
}

}  // namespace

Json millis(const std::optional<base::Instant>& instant) {
  return instant ? Json(base::to_unix(*instant) * 1000) : Json();
}

Json contact_json(const store::Contact& contact) {
  return Json::object({{"firstName", contact.first_name},
                       {"lastName", contact.last_name},
                       {"email", contact.email}});
}

Json key_json(const store::ApiKey& key, const KeyView& view) {
  Json out =
      Json::object({{"id", key.id},
                    {"resourceId", key.id},
                    {"organizationId", view.organization},
                    {"displayName", key.display_name},
                    {"description", key.description},
                    {"value", masked_value(key)},
                    {"apiKeyTemplateId", key.template_id},
                    {"privacyLevel", key.is_public ? "PUBLIC" : "PRIVATE"},
                    {"status", std::string(lifecycle::status_name(
                                   lifecycle::displayed_status(key, view.policy, view.now)))},
                    {"enabled", lifecycle::is_usable(key, view.now)},
                    {"privileges", privileges_json(key.privileges)},
                    {"allowedIps", Json::array_of(key.allowed_ips)},
                    {"deniedIps", Json::array_of(key.denied_ips)},
                    {"groupsThatCanEdit", groups_json(key.groups_can_edit, view)},
                    {"groupsThatCanView", groups_json(key.groups_can_view, view)},
                    {"createdBy", key.created_by},
                    {"createdDate", millis(key.created)},
                    {"activationDate", millis(key.activated)}});
  if (key.contact) {
    out.set("permissionsEnabled", key.permissions_enabled);
    Json permissions = Json::array();
    for (const auto& each : key.permissions) {
      permissions.push(Json::object({{"object", each.object}, {"action", each.action}}));
    }
    out.set("permissions", std::move(permissions));
    out.set("contact", contact_json(*key.contact));
  }
  if (!key.additional_configuration.empty()) {
    out.set("additionalConfiguration", parse_json(key.additional_configuration));
  }
  out.set_if("extensionDate", millis(key.extended));
  out.set_if("disabledDate", millis(key.disabled));
  out.set_if("expirationDate", millis(key.expires_at));
  out.set_if("lastUsedDate", millis(key.last_used));
  out.set_if("lastAllowedDate", millis(key.last_allowed));
  if (!key.duplicated_from.empty()) out.set("duplicatedFrom", key.duplicated_from);
  if (key.exposure && !key.exposure->withdrawn) out.set("exposureReport", exposure_json(key));
  return out;
}

Json template_json(const KeyTemplate& tmpl) {
  Json out = Json::object({{"id", tmpl.id},
                           {"displayName", tmpl.display_name},
                           {"description", tmpl.description},
                           {"privacyLevel", tmpl.is_public ? "PUBLIC" : "PRIVATE"},
                           {"privileges", privileges_json(tmpl.privileges)},
                           {"choosePrivileges", tmpl.choose_privileges},
                           {"forbiddenPrivileges", privileges_json(tmpl.forbidden)},
                           {"searchHub", tmpl.search_hub},
                           {"offersIps", tmpl.offers_ips},
                           {"contact", tmpl.contact},
                           {"permissions", tmpl.permissions},
                           {"expires", tmpl.expires},
                           {"allowedIps", Json::array()},
                           {"deniedIps", Json::array()}});
  if (tmpl.default_lifetime) {
    out.set("defaultLifetimeDuration", base::format_period(*tmpl.default_lifetime));
  }
  Json offered = Json::array();
  for (const auto& each : tmpl.offered_lifetimes) offered.push(base::format_period(each));
  out.set("offeredLifetimeDurations", std::move(offered));
  return out;
}

}  // namespace sallyport::daemon

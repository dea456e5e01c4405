#include "daemon/ctl/key_show.h"

#include "daemon/ctl/answers.h"

namespace sallyport::daemon::ctl {

namespace {

std::string privilege_text(const Json& privilege) {
  std::string out = text_of(privilege["owner"]) + "/" + text_of(privilege["targetDomain"]);
  if (privilege.find("type") != nullptr) out += "/" + text_of(privilege["type"]);
  if (privilege.find("targetId") != nullptr) out += "@" + text_of(privilege["targetId"]);
  return out;
}

}  // namespace

Style key_status_style(const std::string& status) {
  if (status == "ENABLED") return Style::good;
  if (status.rfind("SOON", 0) == 0) return Style::warning;
  return Style::bad;
}

void show_key(Context& context, const Json& key) {
  std::vector<std::pair<std::string, Table::Cell>> facts;
  const auto add = [&](const char* name, const std::string& text, Style style = Style::plain) {
    if (!text.empty()) facts.emplace_back(name, Table::Cell(text, style));
  };
  const std::string status = text_of(key["status"]);
  add("id", text_of(key["id"]));
  add("name", text_of(key["displayName"]), Style::strong);
  add("description", text_of(key["description"]));
  add("status", status, key_status_style(status));
  add("template",
      text_of(key["apiKeyTemplateId"]) + " (" +
          (text_of(key["privacyLevel"]) == "PUBLIC" ? "can be public" : "must remain private") +
          ")");
  add("value", text_of(key["value"]));
  for (const auto& each : items_of(key["privileges"])) add("privilege", privilege_text(each));
  if (const auto* permissions = key["permissions"].if_array()) {
    for (const auto& each : *permissions) {
      add("permission", text_of(each["object"]) + ":" + text_of(each["action"]));
    }
    if (permissions->empty()) add("permissions", "everything but the restricted domains");
  }
  add("allowed IPs", joined(key["allowedIps"]));
  add("denied IPs", joined(key["deniedIps"]));
  if (const Json* contact = key.find("contact")) {
    add("contact", text_of((*contact)["firstName"]) + " " + text_of((*contact)["lastName"]) + " <" +
                       text_of((*contact)["email"]) + ">");
  }
  add("edited by", joined(key["groupsThatCanEdit"]));
  add("viewed by", joined(key["groupsThatCanView"]));
  add("created", when(key["createdDate"]) + " by " + text_of(key["createdBy"]));
  add("duplicated from", text_of(key["duplicatedFrom"]));
  add("activated", when(key["activationDate"]));
  add("extended", when(key["extensionDate"]));
  add("disabled", when(key["disabledDate"]));
  add("expires", key.find("expirationDate") != nullptr ? when(key["expirationDate"]) : "never");
  add("last used", key.find("lastUsedDate") != nullptr ? when(key["lastUsedDate"]) : "never");
  add("last allowed", when(key["lastAllowedDate"]));
  if (const Json* exposure = key.find("exposureReport")) {
    add("exposed", text_of((*exposure)["severity"]), Style::bad);
    add("  deactivated at", when((*exposure)["deactivationDate"]), Style::bad);
    for (const auto& reason : items_of((*exposure)["reasons"])) {
      add("  reason", text_of(reason["source"]) + ": " + text_of(reason["reason"]) + " " +
                          text_of(reason["url"]));
    }
  }
  context.print_facts(facts);
}

void show_key_reply(Context& context, const Reply& reply) {
  if (!context.print_json(reply)) show_key(context, parse_json(reply.body));
}

void show_new_key(Context& context, const Reply& reply) {
  if (context.print_json(reply)) return;
  Json key = parse_json(reply.body);
  const std::string value = text_of(key["value"]);
  key.set("value", Json("xx*****" + value.substr(value.size() - 4)));
  std::ostream* out = context.out;
  context.out = context.err;  // standard output is the value alone
  show_key(context, key);
  context.out = out;
  context.print_secret(value,
                       "This is the key's value. It is shown this once and never again: copy "
                       "it now and keep it secret.");
}

}  // namespace sallyport::daemon::ctl

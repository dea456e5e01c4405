#include "daemon/ctl/key_fields.h"

namespace sallyport::daemon::ctl {

namespace {

Json split_privilege(const std::string& text) {
  Json out = Json::object();
  std::string rest = text;
  if (const auto at = rest.find('@'); at != std::string::npos) {
    out.set("targetId", rest.substr(at + 1));
    rest = rest.substr(0, at);
  }
  std::vector<std::string> parts;
  std::size_t begin = 0;
  while (true) {
    const auto slash = rest.find('/', begin);
    parts.push_back(rest.substr(begin, slash == std::string::npos ? slash : slash - begin));
    if (slash == std::string::npos) break;
    begin = slash + 1;
  }
  if (parts.size() < 2 || parts.size() > 3) {
    throw CtlError(exit_usage,
                   "A privilege is OWNER/DOMAIN[/TYPE][@TARGET], not \"" + text + "\".");
  }
  out.set("owner", parts[0]);
  out.set("targetDomain", parts[1]);
  if (parts.size() == 3) out.set("type", parts[2]);
  return out;
}

Json split_permission(const std::string& text) {
  const auto colon = text.find(':');
  if (colon == std::string::npos) {
    throw CtlError(exit_usage, "A permission is OBJECT:ACTION, not \"" + text + "\".");
  }
  return Json::object({{"object", text.substr(0, colon)}, {"action", text.substr(colon + 1)}});
}

}  // namespace

void KeyFields::add_text(Command command) {
  app = command;
  command.add_option("--description", description, "At most 1000 characters");
}

void KeyFields::add_lifetime(Command command) {
  command.add_option("--lifetime", lifetime,
                     "How long it lives: 14d, 1y, P1M, P1Y2M ... or \"never\"");
  command.add_option("--expires", expires, "The last day on which it is good: 2027-05-15");
}

void KeyFields::add_lists(Command command) {
  command.add_option("--allow-ip", allow, "Address or CIDR range it may be used from (repeatable)");
  command.add_option("--deny-ip", deny, "Address or CIDR range it is refused from (repeatable)");
  command.add_option("--edit-group", edit_groups, "Id of a group that may edit it (repeatable)");
  command.add_option("--view-group", view_groups, "Id of a group that may view it (repeatable)");
}

void KeyFields::add_contact(Command command) {
  command.add_option("--contact-first-name", first, "Contact of an INTEGRATION key");
  command.add_option("--contact-last-name", last, "Contact of an INTEGRATION key");
  command.add_option("--contact-login", login, "Contact's login, unique and never shown");
  command.add_option("--contact-email", email, "Where the contact is told of the expiry");
}

bool KeyFields::given(const char* option) const {
  return app && app->given(option);
}

Json KeyFields::body() const {
  Json out = Json::object();
  if (given("--name") || !name.empty()) out.set("displayName", name);
  if (given("--description")) out.set("description", description);
  if (given("--lifetime")) {
    out.set("lifetimeDuration", lifetime == "never" ? Json("") : Json(iso_duration(lifetime)));
  }
  if (given("--expires")) out.set("expirationDate", expires);
  add_list(out, "--allow-ip", "allowedIps", allow);
  add_list(out, "--deny-ip", "deniedIps", deny);
  add_list(out, "--edit-group", "groupsThatCanEdit", edit_groups);
  add_list(out, "--view-group", "groupsThatCanView", view_groups);
  if (!privileges.empty()) {
    Json list = Json::array();
    for (const auto& each : privileges) list.push(split_privilege(each));
    out.set("privileges", std::move(list));
  }
  if (!permissions.empty()) {
    Json list = Json::array();
    for (const auto& each : permissions) list.push(split_permission(each));
    out.set("permissionsEnabled", true);
    out.set("permissions", std::move(list));
  }
  Json more = Json::object();
  if (!hub.empty()) {
    more.set(
        "search",
        Json::object({{"enforcedQueryPipelineConfiguration", Json::object({{"searchHub", hub}})}}));
  }
  if (!catalog.empty()) more.set("commerce", Json::object({{"catalogId", catalog}}));
  if (!more.if_object()->empty()) out.set("additionalConfiguration", std::move(more));
  if (given("--contact-first-name") || given("--contact-last-name") || given("--contact-login") ||
      given("--contact-email")) {
    out.set("contact",
            Json::object(
                {{"firstName", first}, {"lastName", last}, {"login", login}, {"email", email}}));
  }
  return out;
}

void KeyFields::add_list(Json& out, const char* option, std::string_view member,
                         const std::vector<std::string>& values) const {
  if (!given(option)) return;
  Json list = Json::array();
  for (const auto& each : values) {
    if (!each.empty()) list.push(each);
  }
  out.set(member, std::move(list));
}

}  // namespace sallyport::daemon::ctl

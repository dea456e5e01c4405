// sallyportctl key ...: everything that can be done with API keys.
#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "base/instant.h"
#include "daemon/ctl/command.h"
#include "daemon/ctl/look_ahead_commands.h"
#include "daemon/http/json.h"

namespace sallyport::daemon::ctl {

namespace {

std::string text_of(const Json& value) {
  if (const auto* text = value.if_string()) return *text;
  if (const auto* number = value.if_int()) return std::to_string(*number);
  return {};
}

std::string when(const Json& millis) {
  const auto* number = millis.if_int();
  return number == nullptr ? "" : base::format_utc(base::from_unix(*number / 1000));
}

std::string joined(const Json& list) {
  std::string out;
  const auto* items = list.if_array();
  if (items == nullptr) return out;
  for (const auto& item : *items) {
    out += (out.empty() ? "" : ", ") +
           (item.if_string() != nullptr ? text_of(item) : text_of(item["displayName"]));
  }
  return out;
}

std::string privilege_text(const Json& privilege) {
  std::string out = text_of(privilege["owner"]) + "/" + text_of(privilege["targetDomain"]);
  if (privilege.find("type") != nullptr) out += "/" + text_of(privilege["type"]);
  if (privilege.find("targetId") != nullptr) out += "@" + text_of(privilege["targetId"]);
  return out;
}

Style status_style(const std::string& status) {
  if (status == "ENABLED") return Style::good;
  if (status.rfind("SOON", 0) == 0) return Style::warning;
  return Style::bad;
}

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

/// The settable fields as options of create, update and duplicate.
struct Fields {
  std::string name, description, lifetime, expires, hub, catalog;
  std::vector<std::string> privileges, permissions, allow, deny, edit_groups, view_groups;
  std::string first, last, login, email;
  CLI::App* app = nullptr;

  void add_text(CLI::App& command) {
    app = &command;
    command.add_option("--description", description, "At most 1000 characters");
  }
  void add_lifetime(CLI::App& command) {
    command.add_option("--lifetime", lifetime,
                       "How long it lives: P14D, P1M, P1Y2M ... or \"never\"");
    command.add_option("--expires", expires, "The last day on which it is good: 2027-05-15");
  }
  void add_lists(CLI::App& command) {
    command.add_option("--allow-ip", allow,
                       "Address or CIDR range it may be used from (repeatable)");
    command.add_option("--deny-ip", deny, "Address or CIDR range it is refused from (repeatable)");
    command.add_option("--edit-group", edit_groups, "Id of a group that may edit it (repeatable)");
    command.add_option("--view-group", view_groups, "Id of a group that may view it (repeatable)");
  }
  void add_contact(CLI::App& command) {
    command.add_option("--contact-first-name", first, "Contact of an INTEGRATION key");
    command.add_option("--contact-last-name", last, "Contact of an INTEGRATION key");
    command.add_option("--contact-login", login, "Contact's login, unique and never shown");
    command.add_option("--contact-email", email, "Where the contact is told of the expiry");
  }

  [[nodiscard]] bool given(const char* option) const {
    return app != nullptr && app->get_option_no_throw(option) != nullptr &&
           app->get_option(option)->count() > 0;
  }

  [[nodiscard]] Json body() const {
    Json out = Json::object();
    if (given("--name") || !name.empty()) out.set("displayName", name);
    if (given("--description")) out.set("description", description);
    if (given("--lifetime")) {
      out.set("lifetimeDuration", lifetime == "never" ? Json("") : Json(lifetime));
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
      more.set("search", Json::object({{"enforcedQueryPipelineConfiguration",
                                        Json::object({{"searchHub", hub}})}}));
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

 private:
  /// One empty value empties the list.
  void add_list(Json& out, const char* option, std::string_view member,
                const std::vector<std::string>& values) const {
    if (!given(option)) return;
    Json list = Json::array();
    for (const auto& each : values) {
      if (!each.empty()) list.push(each);
    }
    out.set(member, std::move(list));
  }
};

class KeyCommands {
 public:
  KeyCommands(CLI::App& app, Context& context)
      : key_(*app.add_subcommand("key", "API keys: create, look, change, end, announce")),
        context_(context) {
    key_.require_subcommand(1);
  }

  void add(const std::shared_ptr<KeyCommands>& self) {
    self_ = self;
    add_create();
    add_list();
    add_show();
    add_update();
    add_operations();
    add_duplicate();
    add_regenerate();
    add_delete();
    add_exposure();
  }

  CLI::App& app() { return key_; }

 private:
  [[nodiscard]] std::string path(const std::string& id, const std::string& rest = "") {
    return context_.org_path("/apikeys/" + encode(id) + rest);
  }

  void show_key(const Json& key) {
    std::vector<std::pair<std::string, Table::Cell>> facts;
    const auto add = [&](const char* name, const std::string& text, Style style = Style::plain) {
      if (!text.empty()) facts.emplace_back(name, Table::Cell(text, style));
    };
    const std::string status = text_of(key["status"]);
    add("id", text_of(key["id"]));
    add("name", text_of(key["displayName"]), Style::strong);
    add("description", text_of(key["description"]));
    add("status", status, status_style(status));
    add("template",
        text_of(key["apiKeyTemplateId"]) + " (" +
            (text_of(key["privacyLevel"]) == "PUBLIC" ? "can be public" : "must remain private") +
            ")");
    add("value", text_of(key["value"]));
    if (const auto* privileges = key["privileges"].if_array()) {
      for (const auto& each : *privileges) add("privilege", privilege_text(each));
    }
    if (const auto* permissions = key["permissions"].if_array()) {
      for (const auto& each : *permissions) {
        add("permission", text_of(each["object"]) + ":" + text_of(each["action"]));
      }
      if (permissions->empty()) add("permissions", "everything but the restricted domains");
    }
    add("allowed IPs", joined(key["allowedIps"]));
    add("denied IPs", joined(key["deniedIps"]));
    if (const Json* contact = key.find("contact")) {
      add("contact", text_of((*contact)["firstName"]) + " " + text_of((*contact)["lastName"]) +
                         " <" + text_of((*contact)["email"]) + ">");
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
      if (const auto* reasons = (*exposure)["reasons"].if_array()) {
        for (const auto& reason : *reasons) {
          add("  reason", text_of(reason["source"]) + ": " + text_of(reason["reason"]) + " " +
                              text_of(reason["url"]));
        }
      }
    }
    context_.print_facts(facts);
  }

  void show_reply(const Reply& reply) {
    if (!context_.print_json(reply)) show_key(parse_json(reply.body));
  }

  /// The one moment in which the value is seen.
  void show_new(const Reply& reply) {
    if (context_.print_json(reply)) return;
    Json key = parse_json(reply.body);
    const std::string value = text_of(key["value"]);
    key.set("value", Json("xx*****" + value.substr(value.size() - 4)));
    std::ostream* out = context_.out;
    context_.out = context_.err;  // standard output is the value alone
    show_key(key);
    context_.out = out;
    context_.print_secret(value,
                          "This is the key's value. It is shown this once and never again: copy "
                          "it now and keep it secret.");
  }

  CLI::App* command(const char* name, const char* help) { return key_.add_subcommand(name, help); }

  void add_create() {
    auto* create = command("create", "Creates a key and prints its value once");
    auto fields = std::make_shared<Fields>();
    auto tmpl = std::make_shared<std::string>("CUSTOM");
    create->add_option("NAME,--name", fields->name, "What it is for, at most 125 characters")
        ->required();
    create
        ->add_option("--template", *tmpl,
                     "ANONYMOUS_SEARCH, AUTHENTICATED_SEARCH, USAGE_ANALYTICS, SEARCH_PAGES, "
                     "CUSTOM or INTEGRATION")
        ->capture_default_str();
    fields->add_text(*create);
    fields->add_lifetime(*create);
    create->add_option("--privilege", fields->privileges,
                       "OWNER/DOMAIN[/TYPE][@TARGET], for CUSTOM (repeatable)");
    create->add_option("--permission", fields->permissions,
                       "OBJECT:ACTION, for INTEGRATION (repeatable)");
    create->add_option("--search-hub", fields->hub, "Search hub that its queries are bound to");
    create->add_option("--catalog", fields->catalog, "Commerce catalogue");
    fields->add_lists(*create);
    fields->add_contact(*create);
    create->callback([self = self_.lock(), fields, tmpl] {
      self->show_new(
          self->context_.post(self->context_.org_path("/apikeys?apiKeyTemplateId=" + encode(*tmpl)),
                              fields->body().dump()));
    });
  }

  void add_list() {
    auto* list = command("list", "The keys with their status");
    auto status = std::make_shared<std::string>();
    list->add_option("--status", *status,
                     "ACTIVE, SOON_TO_BE_DISABLED, SOON_TO_BE_EXPIRED, ACTIVE_AND_EXPOSED, "
                     "WITH_WARNING, ALL_EXPOSED or DEACTIVATED");
    list->callback([self = self_.lock(), status] {
      const Reply reply = self->context_.get(self->context_.org_path(
          status->empty() ? "/apikeys" : "/apikeys?status=" + encode(*status)));
      if (self->context_.print_json(reply)) return;
      Table table({"ID", "NAME", "TEMPLATE", "STATUS", "VALUE", "EXPIRES", "LAST USED"});
      const Json keys = parse_json(reply.body);
      for (const auto& key : *keys.if_array()) {
        const std::string shown = text_of(key["status"]);
        table.add({text_of(key["id"]),
                   text_of(key["displayName"]),
                   text_of(key["apiKeyTemplateId"]),
                   {shown, status_style(shown)},
                   text_of(key["value"]),
                   when(key["expirationDate"]),
                   when(key["lastUsedDate"])});
      }
      self->context_.print(table, "There are no such keys.");
    });
  }

  void add_show() {
    auto* show = command("show", "Everything about a key, never its value");
    auto id = std::make_shared<std::string>();
    show->add_option("ID", *id, "The key's id")->required();
    show->callback(
        [self = self_.lock(), id] { self->show_reply(self->context_.get(self->path(*id))); });
  }

  void add_update() {
    auto* update = command("update", "Edits name, description, IP lists, contact, access groups");
    auto id = std::make_shared<std::string>();
    auto fields = std::make_shared<Fields>();
    update->add_option("ID", *id, "The key's id")->required();
    update->add_option("--name", fields->name, "At most 125 characters");
    fields->add_text(*update);
    fields->add_lists(*update);
    fields->add_contact(*update);
    update->footer("An empty value empties a list: --allow-ip ''");
    update->callback([self = self_.lock(), id, fields] {
      self->show_reply(self->context_.put(self->path(*id), fields->body().dump()));
    });
  }

  void add_operation(const char* name, const char* help, const std::string& rest) {
    auto* operation = command(name, help);
    auto id = std::make_shared<std::string>();
    operation->add_option("ID", *id, "The key's id")->required();
    operation->callback([self = self_.lock(), id, rest] {
      self->show_reply(self->context_.put(self->path(*id, rest)));
    });
  }

  void add_operations() {
    add_operation("activate", "Activates a disabled key", "/activate");
    add_operation("extend", "Restarts the inactivity timer of a key that was warned",
                  "/activation/extend");

    auto* disable = command("disable", "Disables a key; a CUSTOM key for good");
    auto id = std::make_shared<std::string>();
    auto yes = std::make_shared<bool>(false);
    disable->add_option("ID", *id, "The key's id")->required();
    disable->add_flag("--yes", *yes, "I understand that a CUSTOM key cannot be reactivated");
    disable->callback([self = self_.lock(), id, yes] {
      Context& context = self->context_;
      const Json key = parse_json(context.get(self->path(*id)).body);
      if (text_of(key["apiKeyTemplateId"]) == "CUSTOM" && key["enabled"] == Json(true) &&
          !context.confirm_sentence("A CUSTOM key that is disabled stays disabled.",
                                    "I understand that it cannot be reactivated", *yes)) {
        throw CtlError(exit_usage,
                       "Nothing was changed. A CUSTOM key cannot be reactivated: give --yes to "
                       "say that you understand that.");
      }
      self->show_reply(context.put(self->path(*id, "/disable")));
    });

    auto* revoke = command("revoke", "Ends a compromised key at once and for good");
    auto revoked = std::make_shared<std::string>();
    auto sure = std::make_shared<bool>(false);
    revoke->add_option("ID", *revoked, "The key's id")->required();
    revoke->add_flag("--yes", *sure, "Do not ask");
    revoke->callback([self = self_.lock(), revoked, sure] {
      self->context_.require_confirmation("Revoke the key " + *revoked + " for good?", *sure);
      self->show_reply(self->context_.put(self->path(*revoked, "/revoke")));
    });
  }

  void add_duplicate() {
    auto* duplicate = command("duplicate", "Creates a key from an existing one");
    auto id = std::make_shared<std::string>();
    auto fields = std::make_shared<Fields>();
    duplicate->add_option("ID", *id, "The id of the key to take the settings from")->required();
    duplicate->add_option("--name", fields->name, "Another name");
    fields->add_text(*duplicate);
    fields->add_lifetime(*duplicate);
    fields->add_contact(*duplicate);
    duplicate->callback([self = self_.lock(), id, fields] {
      self->show_new(self->context_.put(self->path(*id, "/duplicate"), fields->body().dump()));
    });
  }

  void add_regenerate() {
    auto* regenerate = command("regenerate", "Gives a key a new value and prints it once");
    auto id = std::make_shared<std::string>();
    auto overlap = std::make_shared<std::string>();
    regenerate->add_option("ID", *id, "The key's id")->required();
    regenerate->add_option("--overlap", *overlap,
                           "How long the old value stays valid too: P2D, 36h (at once if absent)");
    regenerate->callback([self = self_.lock(), id, overlap] {
      const std::string query = overlap->empty() ? "" : "?overlap=" + encode(*overlap);
      self->show_new(self->context_.put(self->path(*id, "/regenerate" + query)));
    });
  }

  void add_delete() {
    auto* remove = command("delete", "Removes keys for good; their activity stays");
    auto ids = std::make_shared<std::vector<std::string>>();
    auto yes = std::make_shared<bool>(false);
    remove->add_option("ID", *ids, "The ids; all are removed or none")->required();
    remove->add_flag("--yes", *yes, "Do not ask");
    remove->callback([self = self_.lock(), ids, yes] {
      Context& context = self->context_;
      context.require_confirmation("Delete " +
                                       (ids->size() == 1 ? "the key " + ids->front()
                                                         : std::to_string(ids->size()) + " keys") +
                                       " for good? Applications that use it will fail.",
                                   *yes);
      const Reply reply = ids->size() == 1 ? context.del(self->path(ids->front()))
                                           : context.post(context.org_path("/apikeys/delete/bulk"),
                                                          Json::array_of(*ids).dump());
      if (!context.json) context.line(ids->size() == 1 ? "Deleted." : "All deleted.", Style::good);
      static_cast<void>(reply);
    });
  }

  void add_exposure() {
    auto* expose = command("expose", "Reports a key as exposed");
    auto id = std::make_shared<std::string>();
    auto sha256 = std::make_shared<std::string>();
    auto body = std::make_shared<Json>(Json::object());
    auto severity = std::make_shared<std::string>();
    auto reason = std::make_shared<std::string>();
    auto url = std::make_shared<std::string>();
    auto source = std::make_shared<std::string>("MANUAL");
    auto suspicious = std::make_shared<bool>(false);
    auto from_stdin = std::make_shared<bool>(false);
    expose->add_option("ID", *id, "The key's id");
    expose->add_option("--sha256", *sha256, "SHA-256 of its value, in hex, instead of the id");
    expose->add_flag("--value-stdin", *from_stdin, "Its value on standard input instead of the id");
    expose->add_option("--severity", *severity, "CRITICAL (at once), HIGH, MEDIUM, LOW or WARN")
        ->required();
    expose->add_option("--reason", *reason, "What was found")->required();
    expose->add_option("--url", *url, "Where it was found");
    expose->add_option("--source", *source, "MANUAL, GITHUB, GITLAB or API")->capture_default_str();
    expose->add_flag("--suspicious", *suspicious, "There was suspicious activity");
    expose->callback([self = self_.lock(), id, sha256, severity, reason, url, source, suspicious,
                      from_stdin] {
      Json report = Json::object({{"severity", *severity},
                                  {"reason", *reason},
                                  {"source", *source},
                                  {"suspiciousActivity", *suspicious}});
      if (!url->empty()) report.set("url", *url);
      if (!id->empty()) report.set("id", *id);
      if (!sha256->empty()) report.set("sha256", *sha256);
      if (*from_stdin) {
        std::string value;
        std::getline(std::cin, value);
        report.set("value", value);
      }
      const Reply reply = self->context_.post(self->context_.org_path("/exposures"), report.dump());
      if (self->context_.print_json(reply)) return;
      const Json answer = parse_json(reply.body);
      self->context_.line(text_of(answer["outcome"]), Style::strong);
      self->show_key(answer["apiKey"]);
    });

    auto* withdraw = command("withdraw", "Withdraws a false exposure report before its deadline");
    auto withdrawn = std::make_shared<std::string>();
    auto why = std::make_shared<std::string>();
    withdraw->add_option("ID", *withdrawn, "The key's id")->required();
    withdraw->add_option("--reason", *why, "Why it was false")->required();
    withdraw->callback([self = self_.lock(), withdrawn, why] {
      self->show_reply(
          self->context_.del(self->path(*withdrawn, "/exposure?reason=" + encode(*why))));
    });
  }

  CLI::App& key_;
  Context& context_;
  std::weak_ptr<KeyCommands> self_;
};

}  // namespace

void add_key_commands(CLI::App& app, Context& context) {
  const auto commands = std::make_shared<KeyCommands>(app, context);
  commands->add(commands);
  add_look_ahead_commands(commands->app(), context);
}

}  // namespace sallyport::daemon::ctl

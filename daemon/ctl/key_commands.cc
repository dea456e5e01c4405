// sallyportctl key ...: everything that can be done with API keys.
#include <iostream>
#include <memory>

#include "daemon/ctl/answers.h"
#include "daemon/ctl/command.h"
#include "daemon/ctl/key_fields.h"
#include "daemon/ctl/key_show.h"
#include "daemon/ctl/look_ahead_commands.h"

namespace sallyport::daemon::ctl {

namespace {

class KeyCommands {
 public:
  KeyCommands(Command app, Context& context)
      : key_(app.add_subcommand("key", "API keys: create, look, change, end, announce")),
        context_(context) {
    key_.require_subcommand();
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

  Command app() { return key_; }

 private:
  [[nodiscard]] std::string path(const std::string& id, const std::string& rest = "") {
    return context_.org_path("/apikeys/" + encode(id) + rest);
  }

  Command command(const char* name, const char* help) { return key_.add_subcommand(name, help); }

  void add_create() {
    auto create = command("create", "Creates a key and prints its value once");
    auto fields = std::make_shared<KeyFields>();
    auto tmpl = std::make_shared<std::string>("CUSTOM");
    create.add_option("NAME,--name", fields->name, "What it is for, at most 125 characters")
        .required();
    create
        .add_option("--template", *tmpl,
                    "ANONYMOUS_SEARCH, AUTHENTICATED_SEARCH, USAGE_ANALYTICS, SEARCH_PAGES, "
                    "CUSTOM or INTEGRATION")
        .show_default();
    fields->add_text(create);
    fields->add_lifetime(create);
    create.add_option("--privilege", fields->privileges,
                      "OWNER/DOMAIN[/TYPE][@TARGET], for CUSTOM (repeatable)");
    create.add_option("--permission", fields->permissions,
                      "OBJECT:ACTION, for INTEGRATION (repeatable)");
    create.add_option("--search-hub", fields->hub, "Search hub that its queries are bound to");
    create.add_option("--catalog", fields->catalog, "Commerce catalogue");
    fields->add_lists(create);
    fields->add_contact(create);
    create.callback([self = self_.lock(), fields, tmpl] {
      show_new_key(
          self->context_,
          self->context_.post(self->context_.org_path("/apikeys?apiKeyTemplateId=" + encode(*tmpl)),
                              fields->body().dump()));
    });
  }

  void add_list() {
    auto list = command("list", "The keys with their status");
    auto status = std::make_shared<std::string>();
    list.add_option("--status", *status,
                    "ACTIVE, SOON_TO_BE_DISABLED, SOON_TO_BE_EXPIRED, ACTIVE_AND_EXPOSED, "
                    "WITH_WARNING, ALL_EXPOSED or DEACTIVATED");
    list.callback([self = self_.lock(), status] {
      const Reply reply = self->context_.get(self->context_.org_path(
          status->empty() ? "/apikeys" : "/apikeys?status=" + encode(*status)));
      if (self->context_.print_json(reply)) return;
      Table table({"ID", "NAME", "TEMPLATE", "STATUS", "VALUE", "EXPIRES", "LAST USED"});
      const Json keys = parse_json(reply.body);
      for (const auto& key : items_of(keys)) {
        const std::string shown = text_of(key["status"]);
        table.add({text_of(key["id"]),
                   text_of(key["displayName"]),
                   text_of(key["apiKeyTemplateId"]),
                   {shown, key_status_style(shown)},
                   text_of(key["value"]),
                   when(key["expirationDate"]),
                   when(key["lastUsedDate"])});
      }
      self->context_.print(table, "There are no such keys.");
    });
  }

  void add_show() {
    auto show = command("show", "Everything about a key, never its value");
    auto id = std::make_shared<std::string>();
    show.add_option("ID", *id, "The key's id").required();
    show.callback([self = self_.lock(), id] {
      show_key_reply(self->context_, self->context_.get(self->path(*id)));
    });
  }

  void add_update() {
    auto update = command("update", "Edits name, description, IP lists, contact, access groups");
    auto id = std::make_shared<std::string>();
    auto fields = std::make_shared<KeyFields>();
    update.add_option("ID", *id, "The key's id").required();
    update.add_option("--name", fields->name, "At most 125 characters");
    fields->add_text(update);
    fields->add_lists(update);
    fields->add_contact(update);
    update.footer("An empty value empties a list: --allow-ip ''");
    update.callback([self = self_.lock(), id, fields] {
      show_key_reply(self->context_, self->context_.put(self->path(*id), fields->body().dump()));
    });
  }

  void add_operation(const char* name, const char* help, const std::string& rest) {
    auto operation = command(name, help);
    auto id = std::make_shared<std::string>();
    operation.add_option("ID", *id, "The key's id").required();
    operation.callback([self = self_.lock(), id, rest] {
      show_key_reply(self->context_, self->context_.put(self->path(*id, rest)));
    });
  }

  void add_operations() {
    add_operation("activate", "Activates a disabled key", "/activate");
    add_operation("extend", "Restarts the inactivity timer of a key that was warned",
                  "/activation/extend");

    auto disable = command("disable", "Disables a key; a CUSTOM key for good");
    auto id = std::make_shared<std::string>();
    auto yes = std::make_shared<bool>(false);
    disable.add_option("ID", *id, "The key's id").required();
    disable.add_flag("--yes", *yes, "I understand that a CUSTOM key cannot be reactivated");
    disable.callback([self = self_.lock(), id, yes] {
      Context& context = self->context_;
      const Json key = parse_json(context.get(self->path(*id)).body);
      if (text_of(key["apiKeyTemplateId"]) == "CUSTOM" && key["enabled"] == Json(true) &&
          !context.confirm_sentence("A CUSTOM key that is disabled stays disabled.",
                                    "I understand that it cannot be reactivated", *yes)) {
        throw CtlError(exit_usage,
                       "Nothing was changed. A CUSTOM key cannot be reactivated: give --yes to "
                       "say that you understand that.");
      }
      show_key_reply(self->context_, context.put(self->path(*id, "/disable")));
    });

    auto revoke = command("revoke", "Ends a compromised key at once and for good");
    auto revoked = std::make_shared<std::string>();
    auto sure = std::make_shared<bool>(false);
    revoke.add_option("ID", *revoked, "The key's id").required();
    revoke.add_flag("--yes", *sure, "Do not ask");
    revoke.callback([self = self_.lock(), revoked, sure] {
      self->context_.require_confirmation("Revoke the key " + *revoked + " for good?", *sure);
      show_key_reply(self->context_, self->context_.put(self->path(*revoked, "/revoke")));
    });
  }

  void add_duplicate() {
    auto duplicate = command("duplicate", "Creates a key from an existing one");
    auto id = std::make_shared<std::string>();
    auto fields = std::make_shared<KeyFields>();
    duplicate.add_option("ID", *id, "The id of the key to take the settings from").required();
    duplicate.add_option("--name", fields->name, "Another name");
    fields->add_text(duplicate);
    fields->add_lifetime(duplicate);
    fields->add_contact(duplicate);
    duplicate.callback([self = self_.lock(), id, fields] {
      show_new_key(self->context_,
                   self->context_.put(self->path(*id, "/duplicate"), fields->body().dump()));
    });
  }

  void add_regenerate() {
    auto regenerate = command("regenerate", "Gives a key a new value and prints it once");
    auto id = std::make_shared<std::string>();
    auto overlap = std::make_shared<std::string>();
    regenerate.add_option("ID", *id, "The key's id").required();
    regenerate.add_option("--overlap", *overlap,
                          "How long the old value stays valid too: P2D, 36h (at once if absent)");
    regenerate.callback([self = self_.lock(), id, overlap] {
      const std::string query = overlap->empty() ? "" : "?overlap=" + encode(*overlap);
      show_new_key(self->context_, self->context_.put(self->path(*id, "/regenerate" + query)));
    });
  }

  void add_delete() {
    auto remove = command("delete", "Removes keys for good; their activity stays");
    auto ids = std::make_shared<std::vector<std::string>>();
    auto yes = std::make_shared<bool>(false);
    remove.add_option("ID", *ids, "The ids; all are removed or none").required();
    remove.add_flag("--yes", *yes, "Do not ask");
    remove.callback([self = self_.lock(), ids, yes] {
      Context& context = self->context_;
      context.require_confirmation("Delete " +
                                       (ids->size() == 1 ? "the key " + ids->front()
                                                         : std::to_string(ids->size()) + " keys") +
                                       " for good? Applications that use it will fail.",
                                   *yes);
      const Reply reply = ids->size() == 1 ? context.del(self->path(ids->front()))
                                           : context.post(context.org_path("/apikeys/delete/bulk"),
                                                          Json::array_of(*ids).dump());
      if (context.print_json(reply)) return;
      context.line(ids->size() == 1 ? "Deleted." : "All deleted.", Style::good);
    });
  }

  void add_exposure() {
    auto expose = command("expose", "Reports a key as exposed");
    auto id = std::make_shared<std::string>();
    auto sha256 = std::make_shared<std::string>();
    auto body = std::make_shared<Json>(Json::object());
    auto severity = std::make_shared<std::string>();
    auto reason = std::make_shared<std::string>();
    auto url = std::make_shared<std::string>();
    auto source = std::make_shared<std::string>("MANUAL");
    auto suspicious = std::make_shared<bool>(false);
    auto from_stdin = std::make_shared<bool>(false);
    expose.add_option("ID", *id, "The key's id");
    expose.add_option("--sha256", *sha256, "SHA-256 of its value, in hex, instead of the id");
    expose.add_flag("--value-stdin", *from_stdin, "Its value on standard input instead of the id");
    expose.add_option("--severity", *severity, "CRITICAL (at once), HIGH, MEDIUM, LOW or WARN")
        .required();
    expose.add_option("--reason", *reason, "What was found").required();
    expose.add_option("--url", *url, "Where it was found");
    expose.add_option("--source", *source, "MANUAL, GITHUB, GITLAB or API").show_default();
    expose.add_flag("--suspicious", *suspicious, "There was suspicious activity");
    expose.callback([self = self_.lock(), id, sha256, severity, reason, url, source, suspicious,
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
      show_key(self->context_, answer["apiKey"]);
    });

    auto withdraw = command("withdraw", "Withdraws a false exposure report before its deadline");
    auto withdrawn = std::make_shared<std::string>();
    auto why = std::make_shared<std::string>();
    withdraw.add_option("ID", *withdrawn, "The key's id").required();
    withdraw.add_option("--reason", *why, "Why it was false").required();
    withdraw.callback([self = self_.lock(), withdrawn, why] {
      show_key_reply(self->context_, self->context_.del(self->path(
                                         *withdrawn, "/exposure?reason=" + encode(*why))));
    });
  }

  Command key_;
  Context& context_;
  std::weak_ptr<KeyCommands> self_;
};

}  // namespace

void add_key_commands(Command app, Context& context) {
  const auto commands = std::make_shared<KeyCommands>(app, context);
  commands->add(commands);
  add_look_ahead_commands(commands->app(), context);
}

}  // namespace sallyport::daemon::ctl

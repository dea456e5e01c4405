// sallyportctl admin ... and gateway-token ...
#include <algorithm>
#include <memory>

#include "daemon/ctl/answers.h"
#include "daemon/ctl/command.h"
#include "daemon/http/json.h"

namespace sallyport::daemon::ctl {
namespace {

Json array_of(const std::vector<std::string>& texts) {
  return Json::array_of(texts);
}

struct TokenOptions {
  std::string label;
  std::string lifetime;

  [[nodiscard]] std::string body() const {
    Json json = Json::object({{"label", label}});
    if (!lifetime.empty()) json.set("lifetime", iso_duration(lifetime));
    return json.dump();
  }
};

void add_token_options(Command command, const std::shared_ptr<TokenOptions>& options) {
  command.add_option("--label", options->label, "What it is for, for lists");
  command.add_option(
      "--lifetime", options->lifetime,
      "How long it is good (90d, 1y, P3M); its end is announced 7 and 2 days before. "
      "Without it the token does not expire");
}

void show_new_token(Context& context, const Reply& reply) {
  if (context.print_json(reply)) return;
  const Json made = parse_json(reply.body);
  context.print_secret(text_of(made["value"]), "Keep it now: it is not shown again.");
}

void list_tokens(Context& context, const std::string& path) {
  const Reply reply = context.get(path);
  if (context.print_json(reply)) return;
  const Json answer = parse_json(reply.body);
  Table table({"ID", "LABEL", "CREATED (UTC)", "EXPIRES (UTC)", "STATE"});
  for (const Json& token : items_of(answer["items"])) {
    const bool revoked = !token["revoked"].is_null();
    table.add({text_of(token["id"]), text_of(token["label"]), time_text(text_of(token["created"])),
               time_or_never(token["expires"]),
               Table::Cell(revoked ? "revoked" : "active", revoked ? Style::faint : Style::good)});
  }
  context.print(table, "No tokens.");
}

void add_revoke(Command group, Context& context) {
  auto revoke = group.add_subcommand("revoke", "End a token at once");
  auto id = std::make_shared<std::string>();
  revoke.add_option("ID", *id, "The token's id, from the list").required();
  revoke.callback([id, &context] {
    const Reply reply = context.post("/admin/tokens/" + encode(*id) + "/revoke");
    if (!context.print_json(reply)) context.line("Revoked: the next request with it is refused.");
  });
}

void add_people(Command admin, Context& context) {
  auto create = admin.add_subcommand("create", "Make an administrator, who gets all notices");
  auto email = std::make_shared<std::string>();
  auto name = std::make_shared<std::string>();
  auto groups = std::make_shared<std::vector<std::string>>();
  create.add_option("EMAIL", *email, "Where notices go; also the name of the administrator")
      .required();
  create.add_option("--name", *name, "The person's or list's name");
  create.add_option("--group", *groups,
                    "A group that gives privileges; repeatable. Without one: Administrators, which "
                    "holds all");
  create.callback([=, &context] {
    Json body = Json::object({{"email", *email}, {"groups", array_of(*groups)}});
    if (!name->empty()) body.set("name", *name);
    const Reply reply = context.post("/admin/administrators", body.dump());
    if (!context.print_json(reply)) context.line("Made the administrator " + *email + ".");
  });

  admin.add_subcommand("list", "All administrators").callback([&context] {
    const Reply reply = context.get("/admin/administrators");
    if (context.print_json(reply)) return;
    const Json answer = parse_json(reply.body);
    Table table({"EMAIL", "NAME", "GROUPS", "STATE", "ID"});
    for (const Json& one : items_of(answer["items"])) {
      const bool active = one["active"] == Json(true);
      table.add({text_of(one["email"]), text_of(one["name"]), joined(one["groups"]),
                 Table::Cell(active ? "active" : "disabled", active ? Style::good : Style::faint),
                 text_of(one["id"])});
    }
    context.print(table,
                  "No administrators: notices go to notify.fallback. 'admin create' makes one.");
  });

  auto show = admin.add_subcommand("show", "One administrator");
  auto who = std::make_shared<std::string>();
  show.add_option("WHO", *who, "E-mail address or id").required();
  show.callback([=, &context] {
    const Reply reply = context.get("/admin/administrators/" + encode(*who));
    if (context.print_json(reply)) return;
    const Json one = parse_json(reply.body);
    context.print_facts({{"E-mail", text_of(one["email"])},
                         {"Name", text_of(one["name"])},
                         {"Groups", joined(one["groups"])},
                         {"State", one["active"] == Json(true) ? "active" : "disabled"},
                         {"Created", text_of(one["created"])},
                         {"Id", text_of(one["id"])}});
  });

  for (const bool enable : {true, false}) {
    auto change =
        admin.add_subcommand(enable ? "enable" : "disable",
                             enable ? "Let an administrator in again"
                                    : "Keep an administrator and its tokens out; keys stay");
    auto target = std::make_shared<std::string>();
    change.add_option("WHO", *target, "E-mail address or id").required();
    change.callback([=, &context] {
      const Reply reply = context.post("/admin/administrators/" + encode(*target) +
                                       (enable ? "/enable" : "/disable"));
      if (!context.print_json(reply))
        context.line(*target + (enable ? " is active." : " is disabled."));
    });
  }
}

void add_groups(Command admin, Context& context) {
  auto group = admin.add_subcommand("group", "Groups, which hold the privileges");
  group.require_subcommand();
  group.add_subcommand("list", "All groups").callback([&context] {
    const Reply reply = context.get("/admin/groups");
    if (context.print_json(reply)) return;
    const Json answer = parse_json(reply.body);
    Table table({"NAME", "PRIVILEGES", "ID"});
    for (const Json& one : items_of(answer["items"])) {
      table.add({text_of(one["name"]), joined(one["privileges"]), text_of(one["id"])});
    }
    context.print(table, "No groups.");
  });

  auto put = group.add_subcommand("put", "Make a group, or give it other privileges");
  auto name = std::make_shared<std::string>();
  auto privileges = std::make_shared<std::vector<std::string>>();
  put.add_option("NAME", *name, "The group's name").required();
  put.add_option(
         "--privilege", *privileges,
         "OWNER/DOMAIN[/TYPE][@TARGET], such as PLATFORM/API_KEY/EDIT; * for all; repeatable")
      .required();
  put.callback([=, &context] {
    const Reply reply = context.put("/admin/groups/" + encode(*name),
                                    Json::object({{"privileges", array_of(*privileges)}}).dump());
    if (!context.print_json(reply))
      context.line("The group " + *name + " holds these privileges now.");
  });

  auto remove = group.add_subcommand("delete", "Delete a group without members");
  auto victim = std::make_shared<std::string>();
  remove.add_option("NAME", *victim, "The group's name").required();
  remove.callback([=, &context] {
    const Reply reply = context.del("/admin/groups/" + encode(*victim));
    if (!context.print_json(reply)) context.line("Deleted the group " + *victim + ".");
  });

  auto assign =
      admin.add_subcommand("set-groups", "Put an administrator into exactly these groups");
  auto who = std::make_shared<std::string>();
  auto groups = std::make_shared<std::vector<std::string>>();
  assign.add_option("WHO", *who, "E-mail address or id").required();
  assign.add_option("GROUP", *groups, "Names of groups").required();
  assign.callback([=, &context] {
    const Reply reply = context.put("/admin/administrators/" + encode(*who) + "/groups",
                                    Json::object({{"groups", array_of(*groups)}}).dump());
    if (!context.print_json(reply)) context.line(*who + " is in these groups now.");
  });
}

void add_tokens(Command app, Command admin, Context& context) {
  auto token = admin.add_subcommand("token", "Access tokens for the management API");
  token.require_subcommand();
  auto create =
      token.add_subcommand("create", "Make one; its value is printed once, alone on a line");
  auto who = std::make_shared<std::string>();
  auto options = std::make_shared<TokenOptions>();
  create.add_option("WHO", *who, "The administrator it acts for: e-mail address or id").required();
  add_token_options(create, options);
  create.callback([=, &context] {
    show_new_token(context, context.post("/admin/administrators/" + encode(*who) + "/tokens",
                                         options->body()));
  });
  token.add_subcommand("list", "All access tokens, without their values").callback([&context] {
    list_tokens(context, "/admin/access-tokens");
  });
  add_revoke(token, context);

  auto gateway =
      app.add_subcommand("gateway-token", "Tokens by which API gateways may ask /verify over TCP");
  gateway.require_subcommand();
  auto make =
      gateway.add_subcommand("create", "Make one; its value is printed once, alone on a line");
  auto gateway_options = std::make_shared<TokenOptions>();
  add_token_options(make, gateway_options);
  make.callback([=, &context] {
    show_new_token(context, context.post("/admin/gateway-tokens", gateway_options->body()));
  });
  gateway.add_subcommand("list", "All gateway tokens, without their values").callback([&context] {
    list_tokens(context, "/admin/gateway-tokens");
  });
  add_revoke(gateway, context);
}

}  // namespace

void add_admin_commands(Command app, Context& context) {
  auto admin = app.add_subcommand("admin", "Administrators, their groups and access tokens");
  admin.require_subcommand();
  add_people(admin, context);
  add_groups(admin, context);
  add_tokens(app, admin, context);
}

}  // namespace sallyport::daemon::ctl

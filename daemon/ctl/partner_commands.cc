// sallyportctl partner ..., pgp ... and ban ...
#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>

#include "base/bytes.h"
#include "base/secret.h"
#include "daemon/ctl/answers.h"
#include "daemon/ctl/command.h"
#include "daemon/http/json.h"

namespace sallyport::daemon::ctl {
namespace {

/// A file's text; "-" is standard input.
std::string read_input(const std::string& path) {
  constexpr std::size_t most = 1 << 20;
  std::string text;
  if (path == "-") {
    text.assign(std::istreambuf_iterator<char>(std::cin), {});
  } else {
    std::ifstream file(path, std::ios::binary);
    if (!file) {
      throw CtlError(exit_failure, fmt::format("cannot read {}: {}", path, std::strerror(errno)));
    }
    text.assign(std::istreambuf_iterator<char>(file), {});
  }
  if (text.size() > most)
    throw CtlError(exit_usage, path + " is larger than 1 MiB: that is no key");
  return text;
}

/// An OpenPGP key as text: binary ones, as `gpg --export` makes them, are put into ASCII armour.
std::string armoured(std::string key, std::string_view kind) {
  if (key.empty() || static_cast<unsigned char>(key.front()) < 0x80) return key;
  const std::string base64 = base::to_base64(key);
  base::wipe(key);
  std::string out = fmt::format("-----BEGIN PGP {} KEY BLOCK-----\n\n", kind);
  constexpr std::size_t columns = 64;
  for (std::size_t at = 0; at < base64.size(); at += columns) {
    out += base64.substr(at, columns) + "\n";
  }
  return out + fmt::format("-----END PGP {} KEY BLOCK-----\n", kind);
}

std::string partner_path(Context& context, const std::string& name, const std::string& rest = "") {
  return context.org_path("/partners/" + encode(name) + rest);
}

std::string day_of(const Json& iso) {
  return text_of(iso).substr(0, 10);
}

void print_partner(Context& context, const Json& partner) {
  const bool active = partner["state"] == Json("ACTIVE");
  const std::string policies = partner["policies"].dump();
  context.print_facts(
      {{"Partner", Table::Cell(text_of(partner["name"]), Style::strong)},
       {"State",
        Table::Cell(active ? "active" : "suspended", active ? Style::good : Style::warning)},
       {"E-mails", joined(partner["emails"], "none: only administrators hear of failures")},
       {"Allowed addresses", joined(partner["allowedIps"], "any")},
       {"Authentication", text_of(partner["auth"]) +
                              (partner["hasPassword"] == Json(true) ? " (a password is set)" : "")},
       {"Policies of its own", policies == "{}" ? "none" : policies},
       {"Created", time_text(text_of(partner["created"])) + " UTC"}});
  Table ssh(
      {"SSH KEY", "LABEL", "TYPE", "FINGERPRINT", "ADDED", "LAST USED (UTC)", "EXPIRES (UTC)"});
  for (const Json& key : items_of(partner["sshKeys"])) {
    ssh.add({text_of(key["id"]), text_of(key["label"]), text_of(key["type"]),
             text_of(key["fingerprint"]), day_of(key["added"]), time_or_never(key["lastUsed"]),
             time_or_never(key["expires"])});
  }
  context.line("");
  context.print(ssh, "No SSH keys: 'partner ssh-key add' gives it one.");
  Table pgp(
      {"PGP KEY", "LABEL", "FINGERPRINT", "CAN", "ADDED", "LAST USED (UTC)", "EXPIRES (UTC)"});
  for (const Json& key : items_of(partner["pgpKeys"])) {
    std::string can = key["canSign"] == Json(true) ? "sign" : "";
    if (key["canEncrypt"] == Json(true)) can += can.empty() ? "encrypt" : ", encrypt";
    if (key["revoked"] == Json(true)) can = "revoked";
    pgp.add({text_of(key["id"]), text_of(key["label"]), text_of(key["fingerprint"]), can,
             day_of(key["added"]), time_or_never(key["lastUsed"]), time_or_never(key["expires"])});
  }
  context.line("");
  context.print(pgp, "No PGP keys.");
}

void show_changed(Context& context, const Reply& reply, const std::string& sentence) {
  if (!context.print_json(reply)) context.line(sentence);
}

void add_reading(Command partner, Context& context) {
  partner.add_subcommand("list", "All partners").callback([&context] {
    const Reply reply = context.get(context.org_path("/partners"));
    if (context.print_json(reply)) return;
    const Json answer = parse_json(reply.body);
    Table table({"PARTNER", "STATE", "SSH KEYS", "PGP KEYS", "E-MAILS", "ALLOWED ADDRESSES"});
    for (const Json& one : items_of(answer["items"])) {
      const bool active = one["state"] == Json("ACTIVE");
      table.add(
          {text_of(one["name"]),
           Table::Cell(active ? "active" : "suspended", active ? Style::good : Style::warning),
           std::to_string(items_of(one["sshKeys"]).size()),
           std::to_string(items_of(one["pgpKeys"]).size()), joined(one["emails"]),
           joined(one["allowedIps"], "any")});
    }
    context.print(table, "No partners: 'partner create NAME' makes one.");
  });
  auto show = partner.add_subcommand("show", "Everything about a partner");
  auto name = std::make_shared<std::string>();
  show.add_option("NAME", *name, "The partner").required();
  show.callback([name, &context] {
    const Reply reply = context.get(partner_path(context, *name));
    if (!context.print_json(reply)) print_partner(context, parse_json(reply.body));
  });
}

void add_making(Command partner, Context& context) {
  struct Input {
    std::string name, auth;
    std::vector<std::string> emails, addresses;
    [[nodiscard]] Json json(bool with_name) const {
      Json body = Json::object();
      if (with_name) body.set("name", name);
      if (!emails.empty()) body.set("emails", Json::array_of(emails));
      if (!addresses.empty()) {
        const bool any = addresses.size() == 1 && addresses.front() == "any";
        body.set("allowedIps", any ? Json::array() : Json::array_of(addresses));
      }
      if (!auth.empty()) body.set("auth", auth);
      return body;
    }
  };
  for (const bool create : {true, false}) {
    auto command = partner.add_subcommand(
        create ? "create" : "update",
        create ? "Make a partner and its folders" : "Change e-mails, addresses or authentication");
    auto input = std::make_shared<Input>();
    command
        .add_option("NAME", input->name,
                    "a-z, 0-9 and '-', at most 32 characters; also the SFTP login")
        .required();
    command.add_option("--email", input->emails, "Contact that hears of its files; repeatable");
    command.add_option("--allow", input->addresses,
                       "Address or CIDR range it may come from; repeatable; 'any' for all");
    command.add_option("--auth", input->auth, "any, key, password or key+password");
    command.callback([=, &context] {
      if (create) {
        const Reply reply = context.post(context.org_path("/partners"), input->json(true).dump());
        show_changed(context, reply,
                     "Made the partner " + input->name +
                         ". Next: sallyportctl partner ssh-key add " + input->name + " FILE");
      } else {
        const Reply reply =
            context.put(partner_path(context, input->name), input->json(false).dump());
        show_changed(context, reply, "Changed " + input->name + ".");
      }
    });
  }
}

/// "true", "12" and "[...]" are what they look like; everything else is text.
Json policy_value(const std::string& text) {
  try {
    return parse_json(text);
  } catch (const JsonError&) {
    return text;
  }
}

void add_policies(Command partner, Context& context) {
  auto set = partner.add_subcommand("set", "Set a policy of this partner alone");
  struct Input {
    std::string name, policy, value, object;
  };
  auto input = std::make_shared<Input>();
  set.add_option("NAME", input->name, "The partner").required();
  set.add_option(
         "POLICY", input->policy,
         "An option of [partner] without that prefix: encryption, signature, shared, trigger, "
         "quota_bytes, ... (sallyport.toml(5))")
      .required();
  set.add_option("VALUE", input->value,
                 "As in the configuration file; 'default' takes the setting away")
      .required();
  set.add_option(
      "--object", input->object,
      "For files of this object only, such as Invoices; not for what a whole session goes by, "
      "such as quota_bytes");
  set.callback([input, &context] {
    const Json now = parse_json(context.get(partner_path(context, input->name)).body);
    Json policies = now["policies"];
    const auto without = [](const Json& object, const std::string& name) {
      Json out = Json::object();
      if (const auto* members = object.if_object()) {
        for (const auto& [key, value] : *members) {
          if (key != name) out.set(key, value);
        }
      }
      return out;
    };
    const auto change = [&](const Json& object) {
      Json out = without(object, input->policy);
      if (input->value != "default") out.set(input->policy, policy_value(input->value));
      return out;
    };
    if (input->object.empty()) {
      policies = change(policies);
    } else {
      Json objects = policies["per_object"].is_null() ? Json::object() : policies["per_object"];
      objects.set(input->object, change(objects[input->object]));
      policies.set("per_object", objects);
    }
    const Reply reply = context.put(partner_path(context, input->name),
                                    Json::object({{"policies", policies}}).dump());
    show_changed(context, reply, input->policy + " of " + input->name + " is set.");
  });
}

void add_states(Command partner, Context& context) {
  for (const bool suspend : {true, false}) {
    auto command = partner.add_subcommand(
        suspend ? "suspend" : "resume",
        suspend ? "Keep it out; running sessions end within 5 seconds" : "Let it in again");
    auto name = std::make_shared<std::string>();
    command.add_option("NAME", *name, "The partner").required();
    command.callback([=, &context] {
      const Reply reply =
          context.post(partner_path(context, *name, suspend ? "/suspend" : "/resume"));
      show_changed(context, reply, *name + (suspend ? " is suspended." : " is active."));
    });
  }
  auto password =
      partner.add_subcommand("password", "Set the password, read from a file, or remove it");
  auto name = std::make_shared<std::string>();
  auto file = std::make_shared<std::string>("-");
  auto remove = std::make_shared<bool>(false);
  password.add_option("NAME", *name, "The partner").required();
  password.add_option("FILE", *file, "File with the password; - is standard input").show_default();
  password.add_flag("--remove", *remove, "Remove the password");
  password.callback([=, &context] {
    Json body = Json::object({{"password", nullptr}});
    if (!*remove) {
      std::string text = read_input(*file);
      while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
      body.set("password", text);
      base::wipe(text);
    }
    const Reply reply = context.put(partner_path(context, *name, "/password"), body.dump());
    show_changed(context, reply, *remove ? "Removed the password." : "Set the password.");
  });
}

void add_key_group(Command partner, Context& context, bool ssh) {
  const std::string kind = ssh ? "ssh-key" : "pgp-key";
  const std::string path = ssh ? "/ssh-keys" : "/pgp-keys";
  auto group = partner.add_subcommand(
      kind, ssh ? "SSH public keys of a partner" : "PGP public keys of a partner");
  group.require_subcommand();
  struct Input {
    std::string name, file, label, expires, id;
  };
  auto input = std::make_shared<Input>();
  auto add = group.add_subcommand(
      "add", ssh ? "Add one: OpenSSH line, RFC 4716 or PKCS#8 PEM; RSA of 2048 bits and more, "
                   "Ed25519, ECDSA"
                 : "Add one, ASCII-armoured or binary; it is pinned by its fingerprint");
  add.add_option("NAME", input->name, "The partner").required();
  add.add_option("FILE", input->file, "File with the public key; - is standard input").required();
  add.add_option("--label", input->label, "For lists; default: the key's own comment");
  add.add_option("--expires", input->expires,
                 ssh ? "Last day on which it is good, UTC: 2027-01-31"
                     : "Last day on which it is good here, UTC: 2027-01-31; default: its own");
  add.callback([=, &context] {
    std::string key = read_input(input->file);
    if (!ssh) key = armoured(std::move(key), "PUBLIC");
    Json body = Json::object({{"key", key}, {"label", input->label}});
    if (!input->expires.empty()) body.set("expires", input->expires);
    const Reply reply = context.post(partner_path(context, input->name, path), body.dump());
    show_changed(
        context, reply,
        "Added " + text_of(parse_json(reply.body)["fingerprint"]) + " to " + input->name + ".");
  });
  auto remove = group.add_subcommand("remove", "Remove one by id or fingerprint");
  auto victim = std::make_shared<Input>();
  remove.add_option("NAME", victim->name, "The partner").required();
  remove.add_option("ID", victim->id, "Id or fingerprint").required();
  remove.callback([=, &context] {
    const Reply reply =
        context.del(partner_path(context, victim->name, path + "/" + encode(victim->id)));
    show_changed(context, reply, "Removed.");
  });
}

void add_pgp(Command app, Context& context) {
  auto pgp = app.add_subcommand("pgp", "Our own PGP keys");
  pgp.require_subcommand();
  struct Input {
    std::string type = "rsa3072", name, email, expires, file, label, fingerprint;
  };
  auto input = std::make_shared<Input>();
  auto init =
      pgp.add_subcommand("init", "Make a key pair; the newest one signs, all of them decrypt");
  init.add_option("--type", input->type, "rsa3072 or curve25519").show_default();
  init.add_option("--name", input->name, "Name in the key's user id; default: the organisation's");
  init.add_option("--email", input->email, "E-mail in the key's user id").required();
  init.add_option("--expires", input->expires,
                  "Last day on which it is good, UTC; default: it does not expire");
  init.callback([=, &context] {
    Json body = Json::object({{"type", input->type}, {"email", input->email}});
    if (!input->name.empty()) body.set("name", input->name);
    if (!input->expires.empty()) body.set("expires", input->expires);
    const Reply reply = context.post("/admin/pgp-keys", body.dump());
    show_changed(context, reply,
                 "Made the key " + text_of(parse_json(reply.body)["fingerprint"]) +
                     ". Give partners its public part: sallyportctl pgp export");
  });
  auto importing =
      pgp.add_subcommand("import", "Take a secret key of ours, made elsewhere without passphrase");
  importing.add_option("FILE", input->file, "File with the secret key; - is standard input")
      .required();
  importing.add_option("--label", input->label, "For lists");
  importing.callback([=, &context] {
    std::string secret = armoured(read_input(input->file), "PRIVATE");
    Json body = Json::object({{"key", secret}, {"label", input->label}});
    base::wipe(secret);
    const Reply reply = context.post("/admin/pgp-keys/import", body.dump());
    show_changed(context, reply,
                 "Imported " + text_of(parse_json(reply.body)["fingerprint"]) + ".");
  });
  pgp.add_subcommand("list", "Our keys").callback([&context] {
    const Reply reply = context.get("/admin/pgp-keys");
    if (context.print_json(reply)) return;
    const Json answer = parse_json(reply.body);
    Table table({"FINGERPRINT", "LABEL", "ADDED (UTC)", "EXPIRES (UTC)"});
    for (const Json& key : items_of(answer["items"])) {
      table.add({text_of(key["fingerprint"]), text_of(key["label"]),
                 time_text(text_of(key["added"])), time_or_never(key["expires"])});
    }
    context.print(table, "No key of ours: 'pgp init' makes one.");
  });
  auto export_key =
      pgp.add_subcommand("export", "Print the public part, ASCII-armoured, for partners");
  export_key.add_option("FINGERPRINT", input->fingerprint, "Only this one; default: all of ours");
  export_key.callback([=, &context] {
    const Reply reply =
        context.get("/admin/pgp-keys/public?fingerprint=" + encode(input->fingerprint));
    *context.out << reply.body;
  });
}

void add_bans(Command app, Context& context) {
  auto ban = app.add_subcommand("ban", "Addresses that may not log in for a while");
  ban.require_subcommand();
  ban.add_subcommand("list", "Who is banned, why and until when").callback([&context] {
    const Reply reply = context.get("/admin/bans");
    if (context.print_json(reply)) return;
    const Json answer = parse_json(reply.body);
    Table table({"ADDRESS", "SINCE (UTC)", "UNTIL (UTC)", "REASON"});
    for (const Json& one : items_of(answer["items"])) {
      table.add({text_of(one["address"]), time_text(text_of(one["since"])),
                 time_text(text_of(one["until"])), text_of(one["reason"])});
    }
    context.print(table, "Nobody is banned.");
  });
  struct Input {
    std::string address, length = "30min";
  };
  auto input = std::make_shared<Input>();
  auto add = ban.add_subcommand("add", "Ban an address (IPv6: its /64)");
  add.add_option("ADDRESS", input->address,
                 "IPv4 address, IPv6 address or IPv6 /64; no other ranges")
      .required();
  add.add_option("--for", input->length, "How long: 30min, 12h, 7d").show_default();
  add.callback([=, &context] {
    const Reply reply = context.post(
        "/admin/bans", Json::object({{"address", input->address}, {"for", input->length}}).dump());
    show_changed(context, reply, "Banned " + input->address + ".");
  });
  auto lift = ban.add_subcommand("lift", "Let an address in again");
  auto address = std::make_shared<std::string>();
  lift.add_option("ADDRESS", *address, "As the list shows it, or an address of it").required();
  lift.callback([=, &context] {
    const Reply reply = context.del("/admin/bans?address=" + encode(*address));
    show_changed(context, reply, *address + " may log in again.");
  });
}

void add_sheet(Command partner, Context& context) {
  auto sheet =
      partner.add_subcommand("sheet", "What the partner's side needs to connect, to hand over");
  struct Input {
    std::string name, format = "text";
  };
  auto input = std::make_shared<Input>();
  sheet.add_option("NAME", input->name, "The partner").required();
  sheet.add_option("--format", input->format, "text, markdown or html").show_default();
  sheet.callback([=, &context] {
    *context.out << context
                        .get(partner_path(context, input->name,
                                          "/sheet?format=" + encode(input->format)))
                        .body;
  });
}

}  // namespace

void add_partner_commands(Command app, Context& context) {
  auto partner = app.add_subcommand("partner", "Partners of the file gateway and their keys");
  partner.require_subcommand();
  add_making(partner, context);
  add_reading(partner, context);
  add_policies(partner, context);
  add_states(partner, context);
  add_key_group(partner, context, true);
  add_key_group(partner, context, false);
  add_sheet(partner, context);
  add_pgp(app, context);
  add_bans(app, context);
}

}  // namespace sallyport::daemon::ctl

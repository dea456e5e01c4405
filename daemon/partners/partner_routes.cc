#include "daemon/partners/partner_routes.h"

#include <fmt/format.h>

#include "daemon/net/ip.h"
#include "daemon/partners/partner_schemas.h"

namespace sallyport::daemon {
namespace {

constexpr std::string_view view = "PLATFORM/PARTNER/VIEW";
constexpr std::string_view edit = "PLATFORM/PARTNER/EDIT";

Json instant(const std::optional<base::Instant>& at) {
  return at ? Json(base::format_iso(*at)) : Json();
}

Json ssh_key_json(const store::SshKey& key) {
  return Json::object({{"id", key.id},
                       {"label", key.label},
                       {"type", key.type},
                       {"fingerprint", key.fingerprint},
                       {"added", base::format_iso(key.added)},
                       {"lastUsed", instant(key.last_used)},
                       {"expires", instant(key.expires)}});
}

Json pgp_key_json(const store::PgpKey& key) {
  return Json::object({{"id", key.id},
                       {"label", key.label},
                       {"fingerprint", key.fingerprint},
                       {"canSign", key.can_sign},
                       {"canEncrypt", key.can_encrypt},
                       {"revoked", key.revoked},
                       {"added", base::format_iso(key.added)},
                       {"lastUsed", instant(key.last_used)},
                       {"expires", instant(key.expires)}});
}

Json partner_json(const PartnerView& seen) {
  Json ssh_keys = Json::array();
  for (const auto& key : seen.ssh_keys) ssh_keys.push(ssh_key_json(key));
  Json pgp_keys = Json::array();
  for (const auto& key : seen.pgp_keys) pgp_keys.push(pgp_key_json(key));
  const store::Partner& partner = seen.partner;
  return Json::object(
      {{"name", partner.name},
       {"state", partner.active ? "ACTIVE" : "SUSPENDED"},
       {"emails", Json::array_of(partner.emails)},
       {"allowedIps", Json::array_of(partner.allowed_ips)},
       {"auth", partner.auth},
       {"hasPassword", !partner.password_hash.empty()},
       {"policies", partner.policies.empty() ? Json::object() : parse_json(partner.policies)},
       {"created", base::format_iso(partner.created)},
       {"sshKeys", ssh_keys},
       {"pgpKeys", pgp_keys}});
}

PartnerInput input_of(const JsonReader& body) {
  PartnerInput input;
  input.emails = body.maybe_texts("emails");
  input.allowed_ips = body.maybe_texts("allowedIps");
  input.auth = body.maybe_text("auth");
  if (const auto policies = body.maybe_object("policies"))
    input.policies = policies->value().dump();
  return input;
}

std::optional<base::Instant> expiry_of(const JsonReader& body) {
  const auto text = body.maybe_text("expires");
  if (!text || text->empty()) return std::nullopt;
  const auto date = base::parse_instant(*text);
  if (!date) {
    throw ProblemError(400, "INVALID_EXPIRY",
                       "expires is a date: 2027-01-31 (good through its last second, UTC).");
  }
  // A bare date is good through that day, as a key's is (spec/api-keys.md 4).
  return text->size() == 10 ? base::end_of_day(*date) : *date;
}

// The front and is_banned look for a network's canonical text and for nothing else.
std::string banned_network(std::string_view text) {
  const auto parsed = IpRange::parse_network(text);
  if (!parsed.range) throw ProblemError(400, "INVALID_ADDRESS", parsed.problem + ".");
  return parsed.range->to_string();
}

class PartnerRoutes {
 public:
  PartnerRoutes(Router& router, PartnerService& partners) : router_(router), partners_(partners) {}

  void add() {
    router_.schema("Partner", partner_schema);
    router_.schema("Partners", partners_schema);
    router_.schema("PartnerInput", partner_input_schema);
    router_.schema("SshKey", ssh_key_schema);
    router_.schema("PgpKey", pgp_key_schema);
    router_.schema("PublicKeyInput", public_key_input_schema);
    router_.schema("PasswordInput", password_input_schema);
    add_partners();
    add_states();
    add_keys();
  }

 private:
  static std::string path(std::string_view rest) {
    return "/rest/organizations/{org}/partners" + std::string(rest);
  }

  void add_partners() {
    PartnerService& partners = partners_;
    router_
        .add(Method::get, path(""), Access::privilege(view),
             [&partners](const Request&, const Params&) {
               Json items = Json::array();
               for (const auto& seen : partners.list()) items.push(partner_json(seen));
               return json_response(200, Json::object({{"items", items}}));
             })
        .describe("All partners")
        .answers(200, "Partners");
    router_
        .add(Method::post, path(""), Access::privilege(edit),
             [&partners](const Request& request, const Params&) {
               const JsonReader body(request.json());
               return json_response(201, partner_json(partners.create(
                                             request.caller, body.text("name"), input_of(body))));
             })
        .describe("A new partner, with its folders")
        .takes("PartnerInput")
        .answers(201, "Partner")
        .answers(409);
    router_
        .add(Method::get, path("/{name}"), Access::privilege(view),
             [&partners](const Request&, const Params& params) {
               return json_response(200, partner_json(partners.get(params["name"])));
             })
        .describe("One partner")
        .answers(200, "Partner")
        .answers(404);
    router_
        .add(Method::put, path("/{name}"), Access::privilege(edit),
             [&partners](const Request& request, const Params& params) {
               const JsonReader body(request.json());
               return json_response(200, partner_json(partners.update(
                                             request.caller, params["name"], input_of(body))));
             })
        .describe("Change addresses, e-mails, authentication, policies; absent fields stay")
        .takes("PartnerInput")
        .answers(200, "Partner")
        .answers(404);
  }

  void add_states() {
    PartnerService& partners = partners_;
    router_
        .add(Method::post, path("/{name}/suspend"), Access::privilege(edit),
             [&partners](const Request& request, const Params& params) {
               return json_response(200,
                                    partner_json(partners.suspend(request.caller, params["name"])));
             })
        .describe("Keep the partner out; running sessions end within 5 seconds")
        .answers(200, "Partner")
        .answers(404);
    router_
        .add(Method::post, path("/{name}/resume"), Access::privilege(edit),
             [&partners](const Request& request, const Params& params) {
               return json_response(200,
                                    partner_json(partners.resume(request.caller, params["name"])));
             })
        .describe("Let the partner in again")
        .answers(200, "Partner")
        .answers(404);
    router_
        .add(Method::put, path("/{name}/password"), Access::privilege(edit),
             [&partners](const Request& request, const Params& params) {
               const JsonReader body(request.json());
               partners.set_password(request.caller, params["name"],
                                     base::Secret(body.maybe_text("password").value_or("")));
               return empty_response();
             })
        .describe("Set the password, or remove it (null)")
        .takes("PasswordInput")
        .answers(204)
        .answers(404);
  }

  void add_keys() {
    PartnerService& partners = partners_;
    router_
        .add(Method::post, path("/{name}/ssh-keys"), Access::privilege(edit),
             [&partners](const Request& request, const Params& params) {
               const JsonReader body(request.json());
               return json_response(201,
                                    ssh_key_json(partners.add_ssh_key(
                                        request.caller, params["name"], body.text("key"),
                                        body.maybe_text("label").value_or(""), expiry_of(body))));
             })
        .describe("Add an SSH public key (OpenSSH line, RFC 4716 or PKCS#8 PEM)")
        .takes("PublicKeyInput")
        .answers(201, "SshKey")
        .answers(404)
        .answers(409);
    router_
        .add(Method::delete_, path("/{name}/ssh-keys/{id}"), Access::privilege(edit),
             [&partners](const Request& request, const Params& params) {
               partners.remove_ssh_key(request.caller, params["name"], params["id"]);
               return empty_response();
             })
        .describe("Remove an SSH key; sessions that use it end")
        .answers(204)
        .answers(404);
    router_
        .add(Method::post, path("/{name}/pgp-keys"), Access::privilege(edit),
             [&partners](const Request& request, const Params& params) {
               const JsonReader body(request.json());
               return json_response(201,
                                    pgp_key_json(partners.add_pgp_key(
                                        request.caller, params["name"], body.text("key"),
                                        body.maybe_text("label").value_or(""), expiry_of(body))));
             })
        .describe("Add an OpenPGP public key; it is pinned by its fingerprint")
        .takes("PublicKeyInput")
        .answers(201, "PgpKey")
        .answers(404)
        .answers(409);
    router_
        .add(Method::delete_, path("/{name}/pgp-keys/{id}"), Access::privilege(edit),
             [&partners](const Request& request, const Params& params) {
               partners.remove_pgp_key(request.caller, params["name"], params["id"]);
               return empty_response();
             })
        .describe("Remove an OpenPGP key")
        .answers(204)
        .answers(404);
  }

  Router& router_;
  PartnerService& partners_;
};

pgp::OwnKeyRequest own_key_request(const JsonReader& body, const std::string& organization) {
  pgp::OwnKeyRequest request;
  const std::string type = body.maybe_text("type").value_or("rsa3072");
  if (type == "rsa3072") {
    request.type = pgp::OwnKeyType::rsa3072;
  } else if (type == "curve25519") {
    request.type = pgp::OwnKeyType::curve25519;
  } else {
    throw ProblemError(400, "INVALID_KEY_TYPE", "type is rsa3072 or curve25519.");
  }
  request.name = body.maybe_text("name").value_or(organization + " file gateway");
  request.email = body.text("email");
  request.expires = expiry_of(body);
  return request;
}

}  // namespace

void add_partner_routes(Router& router, PartnerService& partners) {
  PartnerRoutes(router, partners).add();
}

void add_own_key_routes(Router& router, PartnerService& partners) {
  router.add(Method::get, "/admin/pgp-keys", Access::local(),
             [&partners](const Request&, const Params&) {
               Json items = Json::array();
               for (const auto& key : partners.own_keys()) items.push(pgp_key_json(key));
               return json_response(200, Json::object({{"items", items}}));
             });
  router.add(Method::post, "/admin/pgp-keys", Access::local(),
             [&router, &partners](const Request& request, const Params&) {
               const JsonReader body(request.json());
               const auto key = partners.make_own_key(request.caller,
                                                      own_key_request(body, router.organization()));
               return json_response(201, pgp_key_json(key));
             });
  router.add(Method::post, "/admin/pgp-keys/import", Access::local(),
             [&partners](const Request& request, const Params&) {
               const JsonReader body(request.json());
               const auto key = partners.import_own_key(request.caller, body.text("key"),
                                                        body.maybe_text("label").value_or(""));
               return json_response(201, pgp_key_json(key));
             });
  router.add(Method::get, "/admin/pgp-keys/public", Access::local(),
             [&partners](const Request& request, const Params&) {
               const auto wanted = request.query_value("fingerprint");
               std::string text;
               for (const auto& key : partners.own_keys()) {
                 if (!wanted || wanted->empty() || key.fingerprint == *wanted)
                   text += key.public_key;
               }
               if (text.empty()) {
                 throw ProblemError(
                     404, "NO_PGP_KEY",
                     "There is no such PGP key of ours: 'sallyportctl pgp init' makes one.");
               }
               return text_response(200, text, "application/pgp-keys");
             });
}

void add_ban_routes(Router& router, BanList& bans, const base::Clock& clock) {
  router.add(Method::get, "/admin/bans", Access::local(), [&bans](const Request&, const Params&) {
    Json items = Json::array();
    for (const store::Ban& ban : bans.list()) {
      items.push(Json::object({{"address", ban.address},
                               {"reason", ban.reason},
                               {"since", base::format_iso(ban.since)},
                               {"until", base::format_iso(ban.until)}}));
    }
    return json_response(200, Json::object({{"items", items}}));
  });
  router.add(Method::post, "/admin/bans", Access::local(),
             [&bans, &clock](const Request& request, const Params&) {
               const JsonReader body(request.json());
               const std::string network = banned_network(body.text("address"));
               const auto length = base::parse_duration(body.maybe_text("for").value_or("30min"));
               if (!length || length->count() <= 0) {
                 throw ProblemError(400, "INVALID_DURATION",
                                    "for is a length of time: 30min, 12h, 7d.");
               }
               bans.add(network, "by hand", clock.now() + *length);
               return empty_response(204);
             });
  router.add(Method::delete_, "/admin/bans", Access::local(),
             [&bans](const Request& request, const Params&) {
               const std::string network =
                   banned_network(request.query_value("address").value_or(""));
               if (!bans.lift(network)) {
                 throw ProblemError(404, "NOT_BANNED", fmt::format("{} is not banned.", network));
               }
               return empty_response();
             });
}

}  // namespace sallyport::daemon

#include "daemon/admins/admin_routes.h"

namespace sallyport::daemon {
namespace {

Json instant(const std::optional<base::Instant>& at) {
  return at ? Json(base::format_iso(*at)) : Json();
}

Json administrator_json(const store::Administrator& administrator,
                        const std::vector<store::Group>& groups) {
  Json names = Json::array();
  for (const std::string& id : administrator.groups) {
    for (const store::Group& group : groups) {
      if (group.id == id) names.push(group.name);
    }
  }
  return Json::object({{"id", administrator.id},
                       {"name", administrator.name},
                       {"email", administrator.email},
                       {"active", administrator.active},
                       {"groups", names},
                       {"created", base::format_iso(administrator.created)}});
}

Json group_json(const store::Group& group) {
  Json privileges = Json::array();
  for (const auto& privilege : group.privileges) privileges.push(format_privilege(privilege));
  return Json::object({{"id", group.id}, {"name", group.name}, {"privileges", privileges}});
}

Json token_json(const store::Token& token) {
  return Json::object({{"id", token.id},
                       {"label", token.label},
                       {"administratorId", token.administrator_id},
                       {"created", base::format_iso(token.created)},
                       {"expires", instant(token.expires)},
                       {"revoked", instant(token.revoked)}});
}

Json new_token_json(const NewToken& made) {
  Json json = token_json(made.token);
  json.set("value", made.value.reveal());
  return json;
}

std::optional<base::Period> lifetime_of(const JsonReader& reader) {
  const auto text = reader.maybe_text("lifetime");
  if (!text || text->empty()) return std::nullopt;
  const auto period = base::parse_period(*text);
  if (!period) {
    throw ProblemError(
        400, "INVALID_LIFETIME",
        "lifetime is an ISO-8601 duration of years, months, weeks and days: P90D, P1Y.");
  }
  return period;
}

std::string label_of(const JsonReader& reader) {
  return reader.maybe_text("label").value_or("");
}

void add_administrators(Router& router, AdminService& admins) {
  router.add(Method::get, "/admin/administrators", Access::local(),
             [&admins](const Request&, const Params&) {
               const auto groups = admins.groups();
               Json items = Json::array();
               for (const auto& one : admins.list()) items.push(administrator_json(one, groups));
               return json_response(200, Json::object({{"items", items}}));
             });
  router.add(Method::post, "/admin/administrators", Access::local(),
             [&admins](const Request& request, const Params&) {
               const JsonReader body(request.json());
               const std::string email = body.text("email");
               const auto made =
                   admins.create(request.caller, email, body.maybe_text("name").value_or(email),
                                 body.maybe_texts("groups").value_or(std::vector<std::string>{}));
               return json_response(201, administrator_json(made, admins.groups()));
             });
  router.add(Method::get, "/admin/administrators/{who}", Access::local(),
             [&admins](const Request&, const Params& params) {
               return json_response(200,
                                    administrator_json(admins.get(params["who"]), admins.groups()));
             });
  for (const bool active : {true, false}) {
    router.add(Method::post,
               std::string("/admin/administrators/{who}/") + (active ? "enable" : "disable"),
               Access::local(), [&admins, active](const Request& request, const Params& params) {
                 const auto one = admins.set_active(request.caller, params["who"], active);
                 return json_response(200, administrator_json(one, admins.groups()));
               });
  }
  router.add(Method::put, "/admin/administrators/{who}/groups", Access::local(),
             [&admins](const Request& request, const Params& params) {
               const JsonReader body(request.json());
               const auto one = admins.set_groups(
                   request.caller, params["who"],
                   body.maybe_texts("groups").value_or(std::vector<std::string>{}));
               return json_response(200, administrator_json(one, admins.groups()));
             });
}

void add_groups(Router& router, AdminService& admins) {
  router.add(Method::get, "/admin/groups", Access::local(),
             [&admins](const Request&, const Params&) {
               Json items = Json::array();
               for (const auto& group : admins.groups()) items.push(group_json(group));
               return json_response(200, Json::object({{"items", items}}));
             });
  router.add(Method::put, "/admin/groups/{name}", Access::local(),
             [&admins](const Request& request, const Params& params) {
               const JsonReader body(request.json());
               const auto group = admins.put_group(
                   request.caller, params["name"],
                   body.maybe_texts("privileges").value_or(std::vector<std::string>{}));
               return json_response(200, group_json(group));
             });
  router.add(Method::delete_, "/admin/groups/{name}", Access::local(),
             [&admins](const Request& request, const Params& params) {
               admins.delete_group(request.caller, params["name"]);
               return empty_response();
             });
}

void add_tokens(Router& router, AdminService& admins) {
  router.add(Method::post, "/admin/administrators/{who}/tokens", Access::local(),
             [&admins](const Request& request, const Params& params) {
               const JsonReader body(request.json());
               return json_response(
                   201, new_token_json(admins.create_access_token(
                            request.caller, params["who"], label_of(body), lifetime_of(body))));
             });
  router.add(Method::post, "/admin/gateway-tokens", Access::local(),
             [&admins](const Request& request, const Params&) {
               const JsonReader body(request.json());
               return json_response(201, new_token_json(admins.create_gateway_token(
                                             request.caller, label_of(body), lifetime_of(body))));
             });
  const auto list = [&admins](store::TokenKind kind) {
    return [&admins, kind](const Request&, const Params&) {
      Json items = Json::array();
      for (const auto& token : admins.tokens(kind)) items.push(token_json(token));
      return json_response(200, Json::object({{"items", items}}));
    };
  };
  router.add(Method::get, "/admin/access-tokens", Access::local(), list(store::TokenKind::access));
  router.add(Method::get, "/admin/gateway-tokens", Access::local(),
             list(store::TokenKind::gateway));
  router.add(Method::post, "/admin/tokens/{id}/revoke", Access::local(),
             [&admins](const Request& request, const Params& params) {
               admins.revoke_token(request.caller, params["id"]);
               return empty_response();
             });
}

}  // namespace

void add_admin_routes(Router& router, AdminService& admins) {
  add_administrators(router, admins);
  add_groups(router, admins);
  add_tokens(router, admins);
}

}  // namespace sallyport::daemon

#include "daemon/http/router.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include "base/log.h"
#include "daemon/http/uri.h"
#include "store/error.h"

namespace sallyport::daemon {

namespace {

std::vector<std::string> split_path(std::string_view path) {
  std::vector<std::string> segments;
  while (!path.empty()) {
    path.remove_prefix(1);  // the '/'
    const auto end = std::min(path.find('/'), path.size());
    segments.emplace_back(path.substr(0, end));
    path.remove_prefix(end);
  }
  return segments;
}

bool is_parameter(std::string_view segment) {
  return segment.size() > 2 && segment.front() == '{' && segment.back() == '}';
}

bool same_shape(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const std::string& left, const std::string& right) {
                      return left == right || (is_parameter(left) && is_parameter(right));
                    });
}

/// True if `a` is the more literal pattern at the first segment where they differ.
bool more_literal(const Route& a, const Route& b) {
  for (std::size_t i = 0; i < a.segments.size(); ++i) {
    const bool left = is_parameter(a.segments[i]);
    if (left != is_parameter(b.segments[i])) return !left;
  }
  return false;
}

Response not_found() {
  return problem(404, "NOT_FOUND", "There is no such resource, or it is not visible to you.");
}

}  // namespace

std::string_view method_name(Method method) {
  switch (method) {
    case Method::get:
      return "GET";
    case Method::head:
      return "HEAD";
    case Method::post:
      return "POST";
    case Method::put:
      return "PUT";
    case Method::delete_:
      return "DELETE";
    case Method::patch:
      return "PATCH";
    case Method::options:
      return "OPTIONS";
    case Method::other:
      break;
  }
  return "?";
}

// ---- access, parameters and the description of a route

Access Access::privilege(std::string_view text) {
  Access access(Kind::privilege);
  const auto first = text.find('/');
  const auto second = text.find('/', first + 1);
  if (first == std::string_view::npos || second == std::string_view::npos) {
    throw std::logic_error("a route's privilege is OWNER/DOMAIN/TYPE");
  }
  access.wanted_.owner = text.substr(0, first);
  access.wanted_.target_domain = text.substr(first + 1, second - first - 1);
  access.wanted_.type = text.substr(second + 1);
  return access;
}
Access Access::any_caller() {
  return Access(Kind::any_caller);
}
Access Access::local() {
  return Access(Kind::local);
}
Access Access::anybody() {
  return Access(Kind::anybody);
}

const std::string& Params::operator[](std::string_view name) const {
  static const std::string none;
  for (const auto& [known, value] : values_) {
    if (known == name) return value;
  }
  return none;
}

void Params::add(std::string name, std::string value) {
  values_.emplace_back(std::move(name), std::move(value));
}

Route& Route::describe(std::string text) {
  summary = std::move(text);
  return *this;
}
Route& Route::takes(std::string schema) {
  request_schema = std::move(schema);
  return *this;
}
Route& Route::answers(int status, std::string schema) {
  responses.push_back({status, std::move(schema)});
  return *this;
}
Route& Route::query(std::string name, std::string description, std::string type) {
  query_parameters.push_back({std::move(name), std::move(description), std::move(type)});
  return *this;
}

// ---- the router

Router::Router(std::string organization) : organization_(std::move(organization)) {}
Router::~Router() = default;

Route& Router::add(Method method, std::string path, Access access, Handler handler) {
  auto route = std::make_unique<Route>();
  route->method = method;
  route->segments = split_path(path);
  route->path = std::move(path);
  route->access = std::move(access);
  route->handler = std::move(handler);
  for (const auto& other : routes_) {
    if (other->method == method && same_shape(other->segments, route->segments)) {
      throw std::logic_error(
          fmt::format("route {} {} is registered twice", method_name(method), route->path));
    }
  }
  routes_.push_back(std::move(route));
  return *routes_.back();
}

void Router::schema(std::string name, std::string_view json_schema) {
  schemas_.emplace_back(std::move(name), parse_json(json_schema));
}

Response Router::handle(Request& request) const {
  try {
    return dispatch(request);
  } catch (const ProblemError& error) {
    return problem(error.status(), error.error_code(), error.what(), error.members());
  } catch (const JsonError& error) {
    return problem(400, "INVALID_JSON",
                   fmt::format("The body is no valid JSON: {}.", error.what()));
  } catch (const store::Error& error) {
    base::log_warning("http.store_failed", {{"request_id", request.id}, {"path", request.path}},
                      "{} {} could not be answered: {}", method_name(request.method), request.path,
                      error.what());
    if (error.kind() == store::Failure::conflict || error.kind() == store::Failure::duplicate) {
      return problem(409, "CONFLICT",
                     "Somebody else changed the same thing at the same time: read it again and "
                     "repeat the request.");
    }
    Response answer =
        problem(503, "STORE_UNAVAILABLE",
                "The database does not answer at the moment: repeat the request later.");
    answer.headers.emplace_back("Retry-After", "5");
    return answer;
  } catch (const std::exception& error) {
    base::log_error("http.handler_failed", {{"request_id", request.id}, {"path", request.path}},
                    "{} {} failed: {}", method_name(request.method), request.path, error.what());
    return problem(500, "INTERNAL_ERROR",
                   fmt::format("The request failed; the daemon's log says why under request id {}.",
                               request.id));
  }
}

Response Router::dispatch(Request& request) const {
  const bool local = request.peer.listener == Listener::admin_socket;
  if (request.path.empty() || request.path.front() != '/') return not_found();

  std::vector<std::string> parts = split_path(request.path);
  for (std::string& part : parts) {
    auto decoded = percent_decode(part, false);
    if (!decoded) return problem(400, "INVALID_PATH", "The path has a malformed %-escape.");
    part = std::move(*decoded);
  }

  const Method wanted = request.method == Method::head ? Method::get : request.method;
  const Route* best = nullptr;
  std::vector<std::string_view> allowed;
  for (const auto& route : routes_) {
    if (route->access.kind() == Access::Kind::local && !local) continue;
    if (route->segments.size() != parts.size()) continue;
    bool fits = true;
    for (std::size_t i = 0; i < parts.size() && fits; ++i) {
      const std::string& segment = route->segments[i];
      fits = segment == "{org}"      ? parts[i] == organization_
             : is_parameter(segment) ? !parts[i].empty()
                                     : parts[i] == segment;
    }
    if (!fits) continue;
    allowed.push_back(method_name(route->method));
    if (route->method == wanted && (best == nullptr || more_literal(*route, *best))) {
      best = route.get();
    }
  }
  if (best == nullptr && allowed.empty()) return not_found();
  if (best == nullptr) {
    Response answer = problem(405, "METHOD_NOT_ALLOWED",
                              fmt::format("{} is not possible here.", method_name(request.method)));
    std::sort(allowed.begin(), allowed.end());
    allowed.erase(std::unique(allowed.begin(), allowed.end()), allowed.end());
    answer.headers.emplace_back("Allow", fmt::format("{}", fmt::join(allowed, ", ")));
    return answer;
  }

  if (best->access.kind() != Access::Kind::anybody) {
    if (!local && authenticator_) request.caller = authenticator_(request);
    if (request.caller.kind == CallerKind::none) {
      Response answer =
          problem(401, "UNAUTHORIZED",
                  "Present an administrator's access token: 'Authorization: Bearer TOKEN'. It must "
                  "be known, not expired and not revoked.");
      answer.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"sallyport\"");
      return answer;
    }
  }
  if (best->access.kind() == Access::Kind::privilege &&
      !request.caller.holds(best->access.wanted())) {
    return problem(403, "FORBIDDEN",
                   fmt::format("This needs the privilege {}: ask an administrator to add you to a "
                               "group that holds it.",
                               format_privilege(best->access.wanted())),
                   Json::object({{"missingPrivileges",
                                  Json::array({format_privilege(best->access.wanted())})}}));
  }

  Params params;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::string& segment = best->segments[i];
    if (is_parameter(segment)) params.add(segment.substr(1, segment.size() - 2), parts[i]);
  }
  return best->handler(request, params);
}

}  // namespace sallyport::daemon

// Routes and what passes through them, free of any HTTP library: an area registers its routes with
// handlers, the server turns bytes into Request and Response into bytes.
//
//   void add_widget_routes(Router& router, WidgetService& widgets) {
//     router.add(Method::get, "/rest/organizations/{org}/widgets/{id}",
//                Access::privilege("PLATFORM/WIDGET/VIEW"),
//                [&](const Request& request, const Params& params) {
//                  return json_response(200, to_json(widgets.get(request.caller, params["id"])));
//                })
//           .describe("One widget").answers(200, "Widget").answers(404, "Problem");
//   }
//
// What the router does before a handler runs: matches the path (literal segments win over
// parameters), answers 404 for what is unknown, not served on this listener or of another
// organisation, 405 with Allow, 401 without a caller, 403 without the privilege.
//
// What a handler may throw: ProblemError (its answer), JsonError (400), store::Error
// (unavailable/full = 503 with Retry-After, conflict = 409); anything else is a 500 whose detail
// goes to the log only. Handlers run on worker threads, several at once, and may use the store;
// they must not keep references to the Request.
//
// Ownership: the router owns its routes; add everything before the server starts, then it is
// read-only and safe from any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/c_handle.h"
#include "base/error.h"
#include "daemon/http/caller.h"
#include "daemon/http/json.h"

namespace sallyport::daemon {

enum class Method { get, head, post, put, delete_, patch, options, other };
[[nodiscard]] std::string_view method_name(Method method);  ///< "GET"

/// Where a request came in.
enum class Listener { admin_socket, verify_socket, tcp };

struct Peer {
  Listener listener = Listener::tcp;
  std::string address;  ///< TCP: "192.0.2.7" or "2001:db8::1"; empty on a unix socket
  std::uint16_t port = 0;
  unsigned uid = 0;  ///< unix sockets
  unsigned gid = 0;
  bool tls = false;
  std::string client_certificate;  ///< subject of a verified client certificate, or empty
};

/// Name and value; header names are lower case, query names and values are percent-decoded.
using Fields = std::vector<std::pair<std::string, std::string>>;

struct Request {
  Method method = Method::get;
  std::string path;  ///< as sent, without the query
  Fields query;
  Fields headers;
  std::string body;
  Peer peer;
  Caller caller;
  std::string id;  ///< X-Request-ID, ours or the caller's if it is well-formed

  /// The first of that (lower-case) name.
  [[nodiscard]] std::optional<std::string_view> header(std::string_view name) const;
  [[nodiscard]] std::optional<std::string_view> query_value(std::string_view name) const;
  /// The query value as a number within bounds; throws a 400 ProblemError that names them.
  [[nodiscard]] std::int64_t query_number(std::string_view name, std::int64_t otherwise,
                                          std::int64_t least, std::int64_t most) const;
  /// The body as JSON; throws a 400 ProblemError, or 415 for another content type.
  [[nodiscard]] Json json() const;
};

/// A part of a file that is sent as the body without being loaded into memory.
struct FileBody {
  base::UniqueFd fd;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

struct Response {
  int status = 200;
  std::string content_type;
  Fields headers;  ///< further ones; values must not hold control characters
  std::string body;
  std::optional<FileBody> file;  ///< instead of body
};

[[nodiscard]] Response json_response(int status, const Json& value);
[[nodiscard]] Response text_response(int status, std::string text,
                                     std::string content_type = "text/plain; charset=utf-8");
[[nodiscard]] Response empty_response(int status = 204);
/// A whole regular file, or the part a Range header asks for (206, 416).
[[nodiscard]] Response file_response(const Request& request, base::UniqueFd file,
                                     std::string content_type, std::string_view download_name);

/// An RFC 9457 answer: {"title","status","detail","errorCode", ...members}.
[[nodiscard]] Response problem(int status, std::string_view error_code, std::string_view detail,
                               const Json& members = Json::object());

/// Thrown out of services and handlers to become that answer.
class ProblemError : public base::Error {
 public:
  ProblemError(int status, std::string error_code, const std::string& detail,
               Json members = Json::object())
      : base::Error(detail),
        status_(status),
        error_code_(std::move(error_code)),
        members_(std::move(members)) {}
  [[nodiscard]] int status() const noexcept { return status_; }
  [[nodiscard]] const std::string& error_code() const noexcept { return error_code_; }
  [[nodiscard]] const Json& members() const noexcept { return members_; }

 private:
  int status_;
  std::string error_code_;
  Json members_;
};

/// The values of a path's {parameters}, percent-decoded.
class Params {
 public:
  /// "" if the route has none of that name.
  [[nodiscard]] const std::string& operator[](std::string_view name) const;
  void add(std::string name, std::string value);

 private:
  Fields values_;
};

/// Who may use a route.
class Access {
 public:
  /// "OWNER/DOMAIN/TYPE": callers who hold it, through a group or by being local.
  [[nodiscard]] static Access privilege(std::string_view text);
  [[nodiscard]] static Access any_caller();  ///< every recognised caller
  [[nodiscard]] static Access local();    ///< admin.sock only: elsewhere the route does not exist
  [[nodiscard]] static Access anybody();  ///< no caller needed; the handler checks for itself

  enum class Kind { privilege, any_caller, local, anybody };
  [[nodiscard]] Kind kind() const { return kind_; }
  [[nodiscard]] const store::Privilege& wanted() const { return wanted_; }

 private:
  explicit Access(Kind kind) : kind_(kind) {}
  Kind kind_;
  store::Privilege wanted_;
};

using Handler = std::function<Response(const Request&, const Params&)>;

/// A registered route, with what /openapi.json says about it.
class Route {
 public:
  Route& describe(std::string summary);
  /// Names of schemas added by Router::schema(); a leading "[]" makes it an array of them.
  Route& takes(std::string schema);
  Route& answers(int status, std::string schema = "");
  Route& query(std::string name, std::string description, std::string type = "string");

  struct QueryParameter {
    std::string name, description, type;
  };
  struct Answer {
    int status;
    std::string schema;
  };

  Method method = Method::get;
  std::string path;
  std::vector<std::string> segments;
  Access access = Access::local();
  Handler handler;
  std::string summary;
  std::string request_schema;
  std::vector<Answer> responses;
  std::vector<QueryParameter> query_parameters;
};

class Router {
 public:
  /// {org} in a path matches this organisation only.
  explicit Router(std::string organization);
  ~Router();
  Router(const Router&) = delete;
  Router& operator=(const Router&) = delete;

  /// Throws std::logic_error for a route that exists already.
  Route& add(Method method, std::string path, Access access, Handler handler);
  /// A JSON schema (text) under that name in /openapi.json.
  void schema(std::string name, std::string_view json_schema);

  /// Who makes a request that came over TCP; asked only for routes that need a caller. May use the
  /// store and throw as a handler may. CallerKind::none = nobody that we know.
  void authenticate_with(std::function<Caller(const Request&)> authenticator) {
    authenticator_ = std::move(authenticator);
  }

  /// Never throws. Fills in request.caller. HEAD is answered by the GET route (the server drops the
  /// body).
  [[nodiscard]] Response handle(Request& request) const;

  [[nodiscard]] const std::string& organization() const { return organization_; }
  [[nodiscard]] const std::vector<std::unique_ptr<Route>>& routes() const { return routes_; }
  [[nodiscard]] const std::vector<std::pair<std::string, Json>>& schemas() const {
    return schemas_;
  }

 private:
  [[nodiscard]] Response dispatch(Request& request) const;

  std::string organization_;
  std::function<Caller(const Request&)> authenticator_;
  std::vector<std::unique_ptr<Route>> routes_;
  std::vector<std::pair<std::string, Json>> schemas_;
};

}  // namespace sallyport::daemon

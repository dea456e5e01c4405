// The OpenAPI 3.1 document of a router's routes, from what they were registered with, and of the
// gateways' /verify and /introspect.
#pragma once

#include <string>

#include "daemon/http/router.h"

namespace sallyport::daemon {

/// Without the routes of admin.sock.
[[nodiscard]] Json openapi_document(const Router& router, const std::string& version);

/// GET /openapi.json, for everybody. Call it after all other routes have been added.
void add_openapi_route(Router& router, const std::string& version);

}  // namespace sallyport::daemon

// Routes of administrators, groups and tokens: on admin.sock only, for who may hand out such powers
// is decided on the machine itself.
#pragma once

#include "daemon/admins/admin_service.h"
#include "daemon/http/router.h"

namespace sallyport::daemon {

/// The service outlives the router.
void add_admin_routes(Router& router, AdminService& admins);

}  // namespace sallyport::daemon

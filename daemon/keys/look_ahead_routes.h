// /admin/keys/simulate, calendar, why and import: for admin.sock.
#pragma once

#include "daemon/http/router.h"
#include "daemon/keys/key_service.h"

namespace sallyport::daemon {

/// `keys` outlives the router.
void add_look_ahead_routes(Router& router, KeyService& keys);

}  // namespace sallyport::daemon

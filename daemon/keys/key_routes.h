// The routes of keys, exposures and templates (spec/api-keys.md 9). Request in, service, answer
// out.
#pragma once

#include "daemon/http/router.h"
#include "daemon/keys/key_service.h"

namespace sallyport::daemon {

/// `keys` outlives the router.
void add_key_routes(Router& router, KeyService& keys);

}  // namespace sallyport::daemon

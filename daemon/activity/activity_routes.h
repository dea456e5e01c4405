// The routes of the activity log (spec/api-keys.md 9 and 10).
#pragma once

#include "daemon/activity/activity_log.h"
#include "daemon/http/router.h"

namespace sallyport::daemon {

/// All of it outlives the router.
void add_activity_routes(Router& router, store::Store& store, const LiveConfig& config);

}  // namespace sallyport::daemon

// What partners did over SFTP, for administrators. admin.sock only.
#pragma once

#include "daemon/http/router.h"
#include "store/store.h"

namespace sallyport::daemon {

void add_session_event_routes(Router& router, store::Store& store);

}  // namespace sallyport::daemon

// Routes of the ledger of notices: what was sent to whom, what waits and what was given up.
#pragma once

#include "daemon/activity/activity_log.h"
#include "daemon/config/config.h"
#include "daemon/http/router.h"
#include "daemon/scheduler/due_work.h"
#include "store/store.h"

namespace sallyport::daemon {

struct NoticeRouteParts {
  store::Store& store;
  const LiveConfig& config;
  const base::Clock& clock;
  const ActivityLog& activity;
  Waker& waker;
};

/// What the parts refer to outlives the router.
void add_notice_routes(Router& router, const NoticeRouteParts& parts);

}  // namespace sallyport::daemon

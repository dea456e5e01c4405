// Routes about the daemon itself: status, clock, sessions. admin.sock only.
#pragma once

#include <functional>
#include <string>

#include "base/clock.h"
#include "daemon/app/test_clock.h"
#include "daemon/config/config.h"
#include "daemon/health.h"
#include "daemon/http/router.h"
#include "daemon/partners/broker_server.h"
#include "daemon/scheduler/clock_watch.h"
#include "daemon/scheduler/leadership.h"
#include "daemon/scheduler/scheduler.h"
#include "store/store.h"

namespace sallyport::daemon {

struct StatusParts {
  store::Store& store;
  const LiveConfig& config;
  const base::SystemClock& clock;
  std::string node;
  Health& health;
  Scheduler& scheduler;
  ClockWatch& watch;
  Leadership& leadership;
  TestClock* test_clock = nullptr;  ///< only with --test-clock
  BrokerServer* broker = nullptr;   ///< none: the gateway is off
  std::function<std::size_t()> key_values;
  std::function<unsigned()> connections;
};

void add_status_routes(Router& router, const StatusParts& parts);

}  // namespace sallyport::daemon

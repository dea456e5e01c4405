// The daemon: makes every part, ties them together, runs until it is told to stop.
//
// run() returns the exit code: 0 stopped as asked, 1 failed, 78 the configuration has to be mended
// (the service manager does not try again). What fails at start is one line on standard error that
// says what to do. Never forks.
#pragma once

#include <memory>
#include <string>

#include "daemon/config/config.h"

namespace sallyport::daemon {

enum DaemonExit { daemon_ok = 0, daemon_failed = 1, daemon_usage = 2, daemon_configuration = 78 };

struct Launch {
  std::string config_file;
  bool test_clock = false;
  std::string http_port_file;  ///< where the TCP port is written once it is known
};

/// With signals of this thread blocked before any other thread starts.
int run_app(const Launch& launch, Config config);

/// sallyportd's main.
int run_daemon(int argc, const char* const* argv);

}  // namespace sallyport::daemon

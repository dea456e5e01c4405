// sallyportd's command line.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <iostream>

#include "base/log.h"
#include "daemon/app/app.h"
#include "daemon/app/notify_manager.h"
#include "daemon/config/options.h"

namespace sallyport::daemon {
namespace {

constexpr const char* description =
    "The daemon of Sallyport: enforces the life of API keys and runs the SFTP file gateway.\n"
    "\n"
    "It stays in the foreground and logs to standard error, or to the journal under systemd.\n"
    "SIGTERM stops it cleanly, SIGHUP makes it read its configuration again.";
constexpr const char* footer =
    "Exit status: 0 stopped as asked; 1 failed; 2 wrong usage; 78 the configuration has to be\n"
    "mended. See also: sallyportctl --help";

base::LogFormat format_of(const std::string& name) {
  if (name == "human") return base::LogFormat::human;
  if (name == "journal") return base::LogFormat::journal;
  if (name == "json") return base::LogFormat::json;
  return base::LogFormat::automatic;
}

int complain(int code, const std::string& text) {
  std::cerr << text << '\n';
  return code;
}

}  // namespace

base::Severity severity_of(const std::string& name) {
  if (name == "error") return base::Severity::error;
  if (name == "warning") return base::Severity::warning;
  if (name == "notice") return base::Severity::notice;
  if (name == "debug") return base::Severity::debug;
  return base::Severity::info;
}

int run_daemon(int argc, const char* const* argv) {
  CLI::App command(description, "sallyportd");
  command.footer(footer);
  command.set_version_flag("--version", std::string("sallyportd ") + SALLYPORT_VERSION);
  Launch launch;
  launch.config_file = "/etc/sallyport/sallyport.toml";
  bool check = false;
  bool example = false;
  bool manual = false;
  command.add_option("--config", launch.config_file, "The configuration file")
      ->capture_default_str();
  command.add_flag("--check-config", check, "Check the configuration file and exit");
  command.add_flag("--print-example-config", example,
                   "Print a commented configuration with all options and exit");
  command.add_flag("--print-man-options", manual,
                   "Print the options as they stand in the manual page and exit");
  command.add_flag("--test-clock", launch.test_clock,
                   "Let 'sallyportctl clock advance' move this daemon's time. For tests: refused "
                   "under a service manager");
  command.add_option("--http-port-file", launch.http_port_file,
                     "Write the TCP port of the HTTP listener to this file");
  try {
    command.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return command.exit(error, std::cout, std::cerr) == 0 ? daemon_ok : daemon_usage;
  }
  if (example) {
    std::cout << example_config();
    return daemon_ok;
  }
  if (manual) {
    std::cout << manual_options();
    return daemon_ok;
  }
  if (launch.test_clock && is_managed()) {
    return complain(daemon_usage,
                    "sallyportd: --test-clock is for tests and refused under a service manager");
  }
  try {
    Config config = load_config(launch.config_file);
    if (check) {
      std::cout << launch.config_file << " is right.\n";
      return daemon_ok;
    }
    base::init_log("sallyportd", format_of(config.log.format), severity_of(config.log.level));
    return run_app(launch, std::move(config));
  } catch (const ConfigError& error) {
    return complain(daemon_configuration, error.what());
  } catch (const std::exception& error) {
    return complain(daemon_failed, fmt::format("sallyportd: {}", error.what()));
  }
}

}  // namespace sallyport::daemon

#include "sftp/app.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <map>
#include <string>

#include "base/error.h"
#include "base/log.h"
#include "sftp/front.h"
#include "sftp/host_keys.h"

namespace sallyport::sftp {
namespace {

constexpr const char* description =
    "The SFTP front of Sallyport: accepts partners' connections and runs one fenced-in process for "
    "each.\n"
    "It holds the SSH host keys and nothing else; who may log in, and what became of each file, it "
    "asks and\n"
    "tells sallyportd over a socket. Limits come from sallyportd's configuration.";

constexpr const char* footer =
    "Signals: SIGTERM stops; open sessions may go on for a while (gateway.drain, 30 s).\n\n"
    "Host keys are made at first start. To change them: --stage-host-keys, restart, tell your "
    "partners the\n"
    "new fingerprints ('sallyportctl partner sheet'), then --activate-host-keys and restart again.";

enum class Task { serve, show_keys, stage_keys, activate_keys };

/// Only serving makes a first set: one that another user made here could not be read by the front.
void require_keys(const std::filesystem::path& directory) {
  if (HostKeys::exist(directory)) return;
  throw HostKeyError("There are no host keys in " + directory.string() +
                     ": the first start of sallyport-sftp makes them.");
}

void show_keys(const std::filesystem::path& directory) {
  const HostKeys keys(directory);
  for (const HostKeyLine& key : keys.list()) {
    std::printf("%s%s\n  %s\n  %s\n  known_hosts: HOST %s\n  DNS: HOST IN SSHFP %s\n",
                key.algorithm.c_str(), key.staged ? " (staged, not in use yet)" : "",
                key.sha256.c_str(), key.md5.c_str(), key.public_line.c_str(), key.sshfp.c_str());
  }
}

int perform(Task task, const FrontOptions& options) {
  if (task != Task::serve) require_keys(options.host_keys);
  switch (task) {
    case Task::serve:
      run_front(options);
      return 0;
    case Task::show_keys:
      show_keys(options.host_keys);
      return 0;
    case Task::stage_keys:
      HostKeys::stage(options.host_keys);
      show_keys(options.host_keys);
      std::puts(
          "Restart sallyport-sftp, which goes on using the first set, for the second one to stand "
          "in 'sallyportctl partner sheet'.");
      return 0;
    case Task::activate_keys:
      HostKeys::activate(options.host_keys);
      show_keys(options.host_keys);
      std::puts("Restart sallyport-sftp to use them.");
      return 0;
  }
  return 1;
}

}  // namespace

int run_app(int argc, char** argv) {
  FrontOptions options;
  base::LogFormat format = base::LogFormat::automatic;
  base::Severity level = base::Severity::info;
  bool show = false;
  bool stage = false;
  bool activate = false;

  CLI::App app(description, "sallyport-sftp");
  app.footer(footer);
  app.set_version_flag("--version", SALLYPORT_VERSION);
  app.add_option("--listen", options.listen,
                 "address and port, repeatable: 0.0.0.0:2222, [::]:2222, :2222 (all addresses); "
                 "port 0 takes a free one")
      ->expected(1)
      ->take_all()
      ->capture_default_str();
  app.add_option("--broker", options.broker, "socket of sallyportd")->capture_default_str();
  app.add_option("--host-keys", options.host_keys,
                 "directory of the SSH host keys; made when missing")
      ->capture_default_str();
  app.add_option("--partners-root", options.partners_root,
                 "directory above all partners' directories")
      ->capture_default_str();
  app.add_option("--port-file", options.port_file,
                 "write the port that is listened on to this file");
  app.add_flag("--allow-weak-sandbox", options.allow_weak_sandbox,
               "start although the kernel lacks landlock or seccomp; logged");
  app.add_option("--log-format", format, "automatic, human, journal or json")
      ->option_text("NAME=automatic")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, base::LogFormat>{{"automatic", base::LogFormat::automatic},
                                                 {"human", base::LogFormat::human},
                                                 {"journal", base::LogFormat::journal},
                                                 {"json", base::LogFormat::json}}));
  app.add_option("--log-level", level, "error, warning, notice, info or debug")
      ->option_text("NAME=info")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, base::Severity>{{"error", base::Severity::error},
                                                {"warning", base::Severity::warning},
                                                {"notice", base::Severity::notice},
                                                {"info", base::Severity::info},
                                                {"debug", base::Severity::debug}}));
  auto* keys = app.add_option_group("instead of serving");
  keys->add_flag(
      "--show-host-keys", show,
      "list the host keys: SHA256 and MD5 fingerprints, known_hosts lines, SSHFP records");
  keys->add_flag("--stage-host-keys", stage,
                 "make a second set, which is announced but not used yet");
  keys->add_flag("--activate-host-keys", activate,
                 "put the second set into use, keep the old one aside");
  keys->require_option(0, 1);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : 2;
  }
  try {
    const Task task = show       ? Task::show_keys
                      : stage    ? Task::stage_keys
                      : activate ? Task::activate_keys
                                 : Task::serve;
    if (task == Task::serve) base::init_log("sallyport-sftp", format, level);
    return perform(task, options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "sallyport-sftp: %s\n", error.what());
    return 1;
  }
}

}  // namespace sallyport::sftp

#include "daemon/hook/hook_service.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <optional>
#include <sstream>
#include <string_view>

#include "base/bytes.h"
#include "base/c_handle.h"
#include "base/error.h"
#include "base/file_io.h"
#include "base/log.h"
#include "base/process.h"
#include "daemon/hook/hook_message.h"

namespace sallyport::daemon {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* default_configuration = "/etc/sallyport/hook.conf";
constexpr std::chrono::seconds request_time{10};
constexpr std::size_t configuration_limit = 64 * 1024;

std::string read_request(int fd) {
  const auto deadline = Clock::now() + request_time;
  std::string bytes;
  while (!is_whole_hook_request(bytes) && bytes.size() <= hook_request_limit) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd entry{fd, POLLIN, 0};
    if (left <= 0) return bytes;
    if (::poll(&entry, 1, static_cast<int>(left)) <= 0) continue;
    char buffer[4096];
    const ssize_t got = ::read(fd, buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return bytes;
    bytes.append(buffer, static_cast<std::size_t>(got));
  }
  return bytes;
}

std::string fact(const HookRequest& request, std::string_view name) {
  for (const std::string& one : request.facts) {
    if (one.size() > name.size() && one.compare(0, name.size(), name) == 0 &&
        one[name.size()] == '=') {
      return one.substr(name.size() + 1);
    }
  }
  return "";
}

/// `asker`: when the daemon's end is closed, nobody waits for the outcome and the hook is ended.
HookOutcome run(const std::vector<std::string>& command, const HookRequest& request, int asker) {
  base::ProcessRequest process;
  process.argv = command;
  process.directory = "/";
  process.environment = {"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8"};
  process.environment.insert(process.environment.end(), request.facts.begin(), request.facts.end());
  process.captures = {{1, hook_output_limit}, {2, hook_output_limit}};
  process.deadline = request.limit;
  process.cancel = asker;
  const base::ProcessResult result = base::run_process(process);
  HookOutcome outcome;
  outcome.exit_code = result.exit_code;
  outcome.signal = result.signal;
  outcome.timed_out = result.timed_out;
  // What went wrong is more often said on standard error.
  const std::string& errors = result.captured.at(1);
  outcome.output = errors.empty() ? result.captured.at(0) : errors;
  return outcome;
}

HookOutcome refusal(const std::string& sentence) {
  HookOutcome outcome;
  outcome.refused = sentence;
  return outcome;
}

HookOutcome answer(const std::string& bytes, const std::string& configuration, int asker) {
  const auto request = decode_hook_request(bytes);
  if (!request) return refusal("sallyport-hook was sent something that is no request");
  try {
    HookOutcome outcome = run(read_hook_command(configuration), *request, asker);
    base::log_info("hook.ended",
                   {{"file", fact(*request, "SALLYPORT_FILE_ID")},
                    {"partner", fact(*request, "SALLYPORT_PARTNER")},
                    {"exit_code", outcome.exit_code.value_or(-1)},
                    {"signal", outcome.signal}},
                   "The hook of file {} {}", fact(*request, "SALLYPORT_FILE_ID"),
                   outcome.timed_out     ? "was killed: its time was over"
                   : outcome.succeeded() ? "has run"
                                         : "has failed");
    return outcome;
  } catch (const base::Error& error) {
    base::log_error("hook.refused", {}, "{}", error.what());
    return refusal(error.what());
  }
}

}  // namespace

std::vector<std::string> read_hook_command(const std::string& path) {
  const base::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) {
    throw base::SystemError(errno, "No hook runs: open " + path +
                                       ", which names the program and its arguments, one a line");
  }
  struct ::stat facts {};
  if (::fstat(fd.get(), &facts) != 0) throw base::SystemError(errno, "look at " + path);
  if (!S_ISREG(facts.st_mode) || (facts.st_uid != 0 && facts.st_uid != ::geteuid()) ||
      (facts.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    throw base::Error("No hook runs: " + path +
                      " must be a file of root's that nobody else can write");
  }
  std::vector<std::string> command;
  std::istringstream lines(base::read_file(path, configuration_limit));
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line.front() == '#') continue;
    if (base::has_control(line)) {
      throw base::Error("No hook runs: " + path + " has control characters");
    }
    command.push_back(line);
  }
  if (command.empty()) {
    throw base::Error("No hook runs: " + path +
                      " is empty. Write the program and its arguments into it, one a line");
  }
  if (command.front().front() != '/') {
    throw base::Error("No hook runs: the first line of " + path +
                      " must be the absolute path of a program");
  }
  return command;
}

void serve_hook(int in, int out, const std::string& configuration) {
  const std::string bytes = encode(answer(read_request(in), configuration, in));
  try {
    base::write_all(out, bytes, "the answer to the daemon");
  } catch (const base::Error& error) {
    // It does not know how the hook ended and asks for it again.
    base::log_warning("hook.unheard", {}, "{}", error.what());
  }
}

int run_hook_service(int argc, const char* const* argv) {
  std::string configuration = default_configuration;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--config" && i + 1 < argc) {
      configuration = argv[++i];
    } else if (word == "--version") {
      std::puts("sallyport-hook " SALLYPORT_VERSION);
      return 0;
    } else {
      const bool help = word == "--help" || word == "-h";
      std::fprintf(help ? stdout : stderr,
                   "usage: sallyport-hook [--config FILE]\n"
                   "Runs the program that FILE names (%s; one word a line) for a file that\n"
                   "sallyportd has delivered. Started by sallyport-hook.socket, with the "
                   "connection as\n"
                   "its standard input and output.\n",
                   default_configuration);
      return help ? 0 : 2;
    }
  }
  base::init_log("sallyport-hook", base::LogFormat::automatic, base::Severity::info);
  // A daemon that has gone is a line in the log, not a death.
  ::signal(SIGPIPE, SIG_IGN);
  serve_hook(STDIN_FILENO, STDOUT_FILENO, configuration);
  return 0;
}

}  // namespace sallyport::daemon

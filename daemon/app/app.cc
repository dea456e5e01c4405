#include "daemon/app/app.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/file_io.h"
#include "base/log.h"
#include "daemon/app/notify_manager.h"
#include "daemon/app/parts.h"

namespace sallyport::daemon {
namespace {

using std::chrono::milliseconds;

// A thread that has not gone round for so long hangs: the service manager restarts us.
constexpr std::chrono::seconds longest_silence{20};
constexpr milliseconds idle_wait{10'000};

class SignalFd {
 public:
  SignalFd() {
    sigset_t set;
    ::sigemptyset(&set);
    for (const int one : {SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&set, one);
    // Inherited by every thread: only this descriptor takes them.
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
    fd_.reset(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!fd_) throw base::SystemError(errno, "watch for signals");
  }
  [[nodiscard]] int fd() const { return fd_.get(); }
  /// The next signal that has come, or 0.
  [[nodiscard]] int next() {
    signalfd_siginfo info{};
    return ::read(fd_.get(), &info, sizeof(info)) == sizeof(info) ? static_cast<int>(info.ssi_signo)
                                                                  : 0;
  }

 private:
  base::UniqueFd fd_;
};

std::string status_line(Parts& parts) {
  const auto conditions = parts.health.list();
  if (conditions.empty()) return "Running";
  std::string line = conditions.front().sentence;
  if (conditions.size() > 1) line += fmt::format(" (and {} more)", conditions.size() - 1);
  return line;
}

bool is_alive(Parts& parts) {
  const auto now = parts.clock.monotonic();
  return now - parts.scheduler.last_alive() < longest_silence &&
         now - parts.server->last_alive() < longest_silence;
}

// Until SIGTERM or SIGINT.
void wait_for_the_end(Parts& parts, SignalFd& signals, const base::UniqueFd& health_changed) {
  const auto watchdog = watchdog_interval();
  for (;;) {
    std::array<pollfd, 2> entries{{{signals.fd(), POLLIN, 0}, {health_changed.get(), POLLIN, 0}}};
    const auto wait = watchdog ? std::min(*watchdog, idle_wait) : idle_wait;
    ::poll(entries.data(), entries.size(), static_cast<int>(wait.count()));
    if (watchdog && is_alive(parts)) tell_alive();
    std::uint64_t count = 0;
    if (::read(health_changed.get(), &count, sizeof(count)) == sizeof(count)) {
      tell_status(status_line(parts));
    }
    for (int signal = signals.next(); signal != 0; signal = signals.next()) {
      if (signal != SIGHUP) return;
      tell_reloading();
      parts.reload();
      tell_ready(status_line(parts));
    }
  }
}

}  // namespace

int run_app(const Launch& launch, Config config) {
  ::umask(0007);
  SignalFd signals;
  const base::UniqueFd health_changed(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!health_changed) throw base::SystemError(errno, "make an event descriptor");

  Parts parts(launch, std::move(config));
  parts.health.on_change([&health_changed] {
    const std::uint64_t one = 1;
    static_cast<void>(!::write(health_changed.get(), &one, sizeof(one)));
  });
  parts.start();
  if (!launch.http_port_file.empty()) {
    base::write_file_durably(launch.http_port_file, std::to_string(parts.server->port()) + "\n",
                             0644);
  }
  base::log_notice("daemon.started", {{"version", SALLYPORT_VERSION}}, "sallyportd {} has started",
                   SALLYPORT_VERSION);
  tell_ready(status_line(parts));
  wait_for_the_end(parts, signals, health_changed);
  tell_stopping();
  base::log_notice("daemon.stopping", {}, "sallyportd is stopping");
  parts.stop();
  base::log_notice("daemon.stopped", {}, "sallyportd has stopped");
  return daemon_ok;
}

}  // namespace sallyport::daemon

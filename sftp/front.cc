#include "sftp/front.h"

#include <fcntl.h>
#include <libssh/libssh.h>
#include <libssh/server.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <map>
#include <memory>
#include <optional>

#include "base/bytes.h"
#include "base/c_handle.h"
#include "base/error.h"
#include "base/file_io.h"
#include "base/log.h"
#include "sftp/addresses.h"
#include "sftp/connection.h"
#include "sftp/control.h"
#include "sftp/host_keys.h"
#include "sftp/refusal.h"
#include "sftp/sandbox.h"

namespace sallyport::sftp {
namespace {

using SteadyClock = std::chrono::steady_clock;
using SshBind = base::CHandle<ssh_bind_struct, ssh_bind_free>;

constexpr int child_peer = 3;
constexpr int child_parent = 4;
constexpr int child_root = 5;

HostKeys load_host_keys(const std::filesystem::path& directory) {
  HostKeys::end_exchange(directory);
  return HostKeys(directory);
}

class Front {
 public:
  explicit Front(const FrontOptions& options)
      : options_(options),
        sandbox_(options.partners_root, options.allow_weak_sandbox),
        host_keys_(load_host_keys(options.host_keys)),
        bind_(make_bind(host_keys_)) {
    if (!sandbox_.missing().empty()) {
      base::log_warning("sftp.weak_sandbox", {{"missing", sandbox_.missing()}},
                        "sessions run without {}, as --allow-weak-sandbox says",
                        sandbox_.missing());
    }
    block_signals();
    open_listeners();
    ControlHello hello;
    hello.process = static_cast<std::uint32_t>(::getpid());
    hello.program_version = SALLYPORT_VERSION;
    for (const auto& socket : listeners_) hello.listening.push_back(local_address(socket.get()));
    hello.host_keys = host_keys_.list();
    control_.emplace(options.broker, std::move(hello));
  }

  void run() {
    ready();
    while (!stopping_) step(true);
    stop();
  }

 private:
  struct Child {
    pid_t process = -1;
    std::string network;
    base::UniqueFd pipe;
    bool logged_in = false;
  };

  void block_signals() {
    sigset_t set;
    ::sigemptyset(&set);
    for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGCHLD}) ::sigaddset(&set, number);
    ::sigprocmask(SIG_BLOCK, &set, nullptr);
    signals_.reset(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!signals_) throw base::SystemError(errno, "create a signalfd");
    ::signal(SIGPIPE, SIG_IGN);
    // A session that was taken over may have a descriptor of its own raise it in us.
    ::signal(SIGIO, SIG_IGN);
  }

  void open_listeners() {
    const int passed = sd_listen_fds(1);
    for (int i = 0; i < passed; ++i) {
      listeners_.emplace_back(SD_LISTEN_FDS_START + i);
      ::fcntl(SD_LISTEN_FDS_START + i, F_SETFL, O_NONBLOCK);
    }
    if (!listeners_.empty()) return;
    for (const std::string& where : options_.listen) {
      for (auto& socket : listen_on(where)) listeners_.push_back(std::move(socket));
    }
  }

  void ready() {
    std::string places;
    for (const auto& socket : listeners_)
      places += (places.empty() ? "" : ", ") + local_address(socket.get());
    if (!options_.port_file.empty()) {
      base::write_file_durably(options_.port_file,
                               std::to_string(local_port(listeners_.front().get())) + "\n", 0644);
    }
    base::log_notice("sftp.started", {{"listening", places}}, "listening on {}", places);
    sd_notifyf(0, "READY=1\nSTATUS=Listening on %s", places.c_str());
    std::uint64_t microseconds = 0;
    if (sd_watchdog_enabled(0, &microseconds) > 0)
      watchdog_ = std::chrono::microseconds(microseconds) / 3;
  }

  // One round: waits for anything, or for `most`, and handles it.
  void step(bool accepting) {
    std::vector<pollfd> entries;
    entries.push_back({signals_.get(), POLLIN, 0});
    entries.push_back({control_->fd(), POLLIN, 0});
    const std::size_t first_listener = entries.size();
    if (accepting) {
      for (const auto& socket : listeners_) entries.push_back({socket.get(), POLLIN, 0});
    }
    const std::size_t first_child = entries.size();
    for (const auto& [process, child] : children_) entries.push_back({child.pipe.get(), POLLIN, 0});
    auto timeout = std::min(control_->next_try(), next_watchdog());
    if (!refusals_.empty()) timeout = std::min(timeout, std::chrono::milliseconds{500});
    const int count = ::poll(entries.data(), entries.size(), static_cast<int>(timeout.count()));
    if (count < 0 && errno != EINTR) throw base::SystemError(errno, "wait for connections");
    for (std::size_t i = first_child; count > 0 && i < entries.size(); ++i) {
      if (entries[i].revents != 0) child_spoke(entries[i].fd);
    }
    if (count > 0 && entries[0].revents != 0) handle_signals();
    control_->handle();
    end_overdue();
    for (std::size_t i = first_listener; count > 0 && i < first_child; ++i) {
      if (entries[i].revents != 0) accept_some(entries[i].fd);
    }
    refusals_.close_old();
    feed_watchdog();
  }

  std::chrono::milliseconds next_watchdog() const {
    if (watchdog_.count() == 0) return std::chrono::milliseconds{60000};
    return std::chrono::duration_cast<std::chrono::milliseconds>(watchdog_);
  }
  void feed_watchdog() {
    if (watchdog_.count() == 0) return;
    const auto now = SteadyClock::now();
    if (now - fed_ < watchdog_ / 2) return;
    fed_ = now;
    sd_notify(0, "WATCHDOG=1");
  }

  void child_spoke(int pipe) {
    char byte = 0;
    const ssize_t count = ::read(pipe, &byte, 1);
    for (auto& [process, child] : children_) {
      if (child.pipe.get() != pipe) continue;
      if (count == 1 && !child.logged_in) {
        child.logged_in = true;
        forget_unauthenticated(child.network);
      }
      // It has no more to say, whatever it writes. Its end is handled with SIGCHLD; poll() ignores
      // what is negative.
      child.pipe.reset();
      return;
    }
  }

  void forget_unauthenticated(const std::string& network) {
    const auto it = unauthenticated_.find(network);
    if (it != unauthenticated_.end() && --it->second == 0) unauthenticated_.erase(it);
  }

  void handle_signals() {
    signalfd_siginfo info{};
    while (::read(signals_.get(), &info, sizeof(info)) == static_cast<ssize_t>(sizeof(info))) {
      if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT) stopping_ = true;
      if (info.ssi_signo == SIGCHLD) reap();
    }
  }

  void reap() {
    int status = 0;
    for (pid_t process = 0; (process = ::waitpid(-1, &status, WNOHANG)) > 0;) {
      const auto it = children_.find(process);
      if (it == children_.end()) continue;
      if (!it->second.logged_in) {
        forget_unauthenticated(it->second.network);
        control_->count_unfinished(it->second.network);
      }
      if (WIFSIGNALED(status)) {
        base::log_error(
            "sftp.session_died", {{"network", it->second.network}, {"signal", WTERMSIG(status)}},
            "a session of {} was ended by signal {}{}", it->second.network, WTERMSIG(status),
            WTERMSIG(status) == SIGSYS ? ": it made a system call that sessions never make" : "");
      } else if (it->second.logged_in && WEXITSTATUS(status) != 0) {
        base::log_warning("sftp.session_failed", {{"network", it->second.network}},
                          "a session of {} ended before it could tell what it had under way",
                          it->second.network);
      }
      children_.erase(it);
    }
  }

  // A session leaves when it is told to; one that was taken over need not, nor one that hangs.
  void end_overdue() {
    for (const std::uint32_t process : control_->overdue()) {
      const auto it = children_.find(static_cast<pid_t>(process));
      if (it == children_.end()) continue;
      base::log_warning("sftp.session_overdue", {{"network", it->second.network}},
                        "a session of {} should have left and did not: it is ended",
                        it->second.network);
      ::kill(it->first, SIGKILL);
    }
  }

  void accept_some(int listener) {
    // A burst must not keep signals and the daemon waiting.
    for (int i = 0; i < 32; ++i) {
      sockaddr_storage address{};
      socklen_t length = sizeof(address);
      base::UniqueFd peer(
          ::accept4(listener, reinterpret_cast<sockaddr*>(&address), &length, SOCK_CLOEXEC));
      if (!peer) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) {
          base::log_error("sftp.accept", {{"error", errno}}, "cannot accept a connection: {}",
                          std::strerror(errno));
          ::poll(nullptr, 0, 50);  // or this would be a busy loop
        }
        return;
      }
      const PeerAddress who = describe_address(address);
      if (const char* reason = control_->refuses(who, children_.size(), unauthenticated_)) {
        refusals_.refuse(std::move(peer), reason);
        control_->count(who.network, reason);
        continue;
      }
      start_session(std::move(peer), who);
    }
  }

  void start_session(base::UniqueFd peer, const PeerAddress& who) {
    int ends[2] = {-1, -1};
    if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return;
    base::UniqueFd ours(ends[0]);
    base::UniqueFd theirs(ends[1]);
    const pid_t process = ::fork();
    if (process < 0) {
      base::log_error("sftp.fork", {{"error", errno}}, "cannot start a session: {}",
                      std::strerror(errno));
      return;
    }
    if (process == 0) run_child(peer.get(), theirs.get(), who);
    ++unauthenticated_[who.network];
    children_.emplace(process, Child{process, who.network, std::move(ours), false});
  }

  [[noreturn]] void run_child(int peer, int parent, const PeerAddress& who) {
    // A child holds its peer, the pipe and the partners' root; not the listeners, the other
    // sessions' pipes or the log's socket.
    const int from[] = {::fcntl(peer, F_DUPFD_CLOEXEC, 64), ::fcntl(parent, F_DUPFD_CLOEXEC, 64),
                        ::fcntl(sandbox_.partners_root(), F_DUPFD_CLOEXEC, 64)};
    const int to[] = {child_peer, child_parent, child_root};
    for (int i = 0; i < 3; ++i) {
      if (from[i] < 0 || ::dup3(from[i], to[i], O_CLOEXEC) < 0) ::_exit(1);
    }
    if (::syscall(SYS_close_range, child_root + 1, ~0U, 0) != 0) ::_exit(1);
    sandbox_.moved_root(child_root);
    ConnectionSetup setup;
    setup.peer.reset(child_peer);
    setup.parent.reset(child_parent);
    setup.address = who.text;
    setup.port = who.port;
    setup.broker_path = options_.broker;
    setup.config = control_->config();
    setup.bind = bind_.get();
    setup.sandbox = &sandbox_;
    ::_exit(run_connection(std::move(setup)));
  }

  void stop() {
    sd_notify(0, "STOPPING=1\nSTATUS=Waiting for sessions to end");
    base::log_notice("sftp.stopping", {{"sessions", children_.size()}},
                     "stopping; {} sessions are open", children_.size());
    listeners_.clear();
    const auto begin = SteadyClock::now();
    const auto drain = std::chrono::seconds(control_->config().drain_seconds);
    bool told = false;
    bool killed = false;
    while (!children_.empty()) {
      const auto gone = SteadyClock::now() - begin;
      if (gone >= drain && !told) told = signal_all(SIGTERM);
      if (gone >= drain + std::chrono::seconds(5) && !killed) killed = signal_all(SIGKILL);
      step_while_stopping();
    }
    base::log_notice("sftp.stopped", {}, "stopped");
  }

  bool signal_all(int number) {
    for (const auto& [process, child] : children_) ::kill(process, number);
    return true;
  }

  void step_while_stopping() {
    pollfd entry{signals_.get(), POLLIN, 0};
    (void)::poll(&entry, 1, 200);
    handle_signals();
    // Not only when told: of a session that a debugger was at, nobody may have told.
    reap();
    feed_watchdog();
  }

  const FrontOptions options_;
  SandboxPlan sandbox_;
  HostKeys host_keys_;
  SshBind bind_;
  base::UniqueFd signals_;
  std::vector<base::UniqueFd> listeners_;
  std::optional<Control> control_;
  Refusals refusals_;
  std::map<pid_t, Child> children_;
  std::map<std::string, std::uint32_t, std::less<>> unauthenticated_;
  std::chrono::microseconds watchdog_{0};
  SteadyClock::time_point fed_{};
  bool stopping_ = false;
};

}  // namespace

void run_front(const FrontOptions& options) {
  if (ssh_init() != SSH_OK) throw base::Error("libssh could not be initialised.");
  // What the libraries load or open at first use is loaded here: a session can open nothing.
  (void)base::random_bytes(32);
  (void)base::sha256("");
  Front front(options);
  front.run();
}

}  // namespace sallyport::sftp

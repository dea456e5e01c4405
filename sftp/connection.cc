#include "sftp/connection.h"

#include <fcntl.h>
#include <libssh/callbacks.h>
#include <libssh/libssh.h>
#include <libssh/server.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>
#include <optional>
#include <vector>

#include "base/c_handle.h"
#include "sftp/channel.h"
#include "sftp/login.h"
#include "sftp/session.h"

namespace sallyport::sftp {
namespace {

using SteadyClock = std::chrono::steady_clock;
using SshSession = base::CHandle<ssh_session_struct, ssh_free>;
using SshEvent = base::CHandle<ssh_event_struct, ssh_event_free>;

// What signal handlers may touch. A session blocked in send(2) to a peer that does not read must
// still end when the daemon says so, when its login grace is over or when the program stops: the
// handlers shut the peer's socket down, which makes every call on it return.
volatile sig_atomic_t peer_socket = -1;
volatile sig_atomic_t broker_socket = -1;
volatile sig_atomic_t grace_over = 0;
volatile sig_atomic_t stopped = 0;

void on_signal(int number) {
  const int error = errno;
  if (number == SIGIO) {
    pollfd entry{broker_socket, 0, 0};
    if (::poll(&entry, 1, 0) == 1 && (entry.revents & POLLHUP) != 0)
      ::shutdown(peer_socket, SHUT_RDWR);
  } else {
    if (number == SIGALRM) grace_over = 1;
    if (number == SIGTERM) stopped = 1;
    ::shutdown(peer_socket, SHUT_RDWR);
  }
  errno = error;
}

void set_alarm(std::uint32_t seconds) {
  itimerval timer{};
  timer.it_value.tv_sec = static_cast<time_t>(seconds);
  ::setitimer(ITIMER_REAL, &timer, nullptr);
}

class Connection {
 public:
  explicit Connection(ConnectionSetup setup) : setup_(std::move(setup)) {}

  int run() {
    // Partners get the modes that they ask for; the folder above theirs is what keeps others out.
    ::umask(0);
    prepare_socket();
    catch_signals();
    connect_broker();
    setup_.sandbox->enter_before_login();
    set_alarm(setup_.config.login_grace_seconds);

    ssh_.reset(ssh_new());
    if (!ssh_ || ssh_bind_accept_fd(setup_.bind, ssh_.get(), setup_.peer.get()) != SSH_OK) return 1;
    // From here on libssh closes it.
    (void)setup_.peer.release();
    if (ssh_handle_key_exchange(ssh_.get()) != SSH_OK) return gone_before_login();
    if (!log_in()) return gone_before_login();
    set_alarm(0);
    const char byte = 'A';
    if (::write(setup_.parent.get(), &byte, 1) != 1) return 1;
    serve();
    return 0;
  }

 private:
  void prepare_socket() {
    const int on = 1;
    const int fd = setup_.peer.get();
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    // libssh needs a blocking descriptor: to it, EAGAIN is a broken connection.
    ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    peer_socket = fd;
  }

  void catch_signals() {
    struct sigaction action {};
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    for (const int number : {SIGALRM, SIGTERM, SIGIO}) ::sigaction(number, &action, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
    ::signal(SIGINT, SIG_DFL);
    ::signal(SIGHUP, SIG_IGN);
    ::signal(SIGCHLD, SIG_DFL);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
  }

  void connect_broker() {
    try {
      broker_.emplace(setup_.broker_path);
      broker_socket = broker_->fd();
    } catch (const base::Error&) {
      // The peer is told once it can be: after the key exchange.
    }
  }

  bool log_in() {
    if (!broker_) {
      disconnect("The service is temporarily unavailable, please try again later");
      return false;
    }
    LoginSetup login;
    login.address = setup_.address;
    login.port = setup_.port;
    login.max_attempts = setup_.config.max_attempts;
    login.banner = setup_.config.login_banner;
    login.enter_partner = [this](base::UniqueFd directory, LoginAnswer answer) {
      setup_.sandbox->enter_after_login(directory.get());
      context_.emplace(*broker_, std::move(directory), std::move(answer));
    };
    login.open_channel = [this]() -> ssh_channel { return open_channel(); };
    login_.emplace(ssh_.get(), *broker_, std::move(login));
    event_.reset(ssh_event_new());
    if (!event_ || ssh_event_add_session(event_.get(), ssh_.get()) != SSH_OK) return false;
    while (!login_->over()) {
      if (ssh_event_dopoll(event_.get(), 1000) == SSH_ERROR || !ssh_is_connected(ssh_.get())) break;
      if (broker_->ended()) break;
    }
    if (login_->logged_in()) return true;
    const std::string why = broker_->ended()
                                ? "The service is temporarily unavailable, please try again later"
                                : login_->why_over();
    if (!why.empty()) disconnect(why);
    return false;
  }

  int gone_before_login() {
    if (!broker_) return 0;
    try {
      if (!login_) return 0;  // never came as far as a user name
      LoginFailure failure;
      failure.user = login_->user();
      failure.reason = grace_over != 0 ? "login_grace" : login_->reason();
      if (!failure.reason.empty()) broker_->send(failure);
    } catch (const BrokerError&) {
      // The daemon sees the connection end.
    }
    return 0;
  }

  ssh_channel open_channel() {
    if (!context_ || channels_.size() >= context_->login.limits.channels) return nullptr;
    ssh_channel channel = ssh_channel_new(ssh_.get());
    if (channel == nullptr) return nullptr;
    channels_.push_back(std::make_unique<Channel>(channel, *context_, activity_));
    return channel;
  }

  void serve() {
    started_ = SteadyClock::now();
    activity_.last = started_;
    const int flags = ::fcntl(broker_->fd(), F_GETFL);
    ::fcntl(broker_->fd(), F_SETOWN, ::getpid());
    ::fcntl(broker_->fd(), F_SETFL, flags | O_ASYNC);
    ssh_event_add_fd(
        event_.get(), broker_->fd(), POLLIN, [](socket_t, int, void*) { return 0; }, nullptr);
    std::string reason = "closed";
    try {
      reason = loop();
    } catch (const BrokerError&) {
      reason = "daemon";
    }
    if (broker_->ended()) {
      disconnect(broker_->end_sentence().empty() ? "The service is temporarily unavailable"
                                                 : broker_->end_sentence());
    }
    for (const auto& channel : channels_) channel->finish();
    say_goodbye(reason);
    if (ssh_is_connected(ssh_.get())) ssh_disconnect(ssh_.get());
  }

  std::string loop() {
    const auto idle_limit = std::chrono::seconds(context_->login.limits.idle_seconds);
    while (true) {
      bool busy = false;
      for (const auto& channel : channels_) busy = channel->pump() || busy;
      close_finished_channels();
      const auto now = SteadyClock::now();
      if (stopped != 0) {
        return "stopped";
      }
      if (activity_.failed) throw BrokerError("The daemon has ended this session.");
      const auto throttled = context_->throttle.wait(now);
      if (throttled.count() > 0) {
        // Not reading is what slows the peer down.
        wait_for_daemon(std::min(throttled, std::chrono::milliseconds{500}));
        if (broker_->ended()) return "daemon";
        continue;
      }
      const auto idle =
          std::chrono::duration_cast<std::chrono::milliseconds>(activity_.last + idle_limit - now);
      if (idle.count() <= 0) {
        disconnect("The session was idle for too long");
        return "idle";
      }
      const int timeout =
          busy ? 0 : static_cast<int>(std::min<std::int64_t>(idle.count() + 1, 3600 * 1000));
      if (ssh_event_dopoll(event_.get(), timeout) == SSH_ERROR) return "closed";
      if (!ssh_is_connected(ssh_.get())) return "closed";
      if (timeout != 0 && broker_->ended()) return "daemon";
    }
  }

  void wait_for_daemon(std::chrono::milliseconds time) {
    pollfd entry{broker_->fd(), POLLIN, 0};
    (void)::poll(&entry, 1, static_cast<int>(time.count()));
  }

  void close_finished_channels() {
    std::erase_if(channels_,
                  [](const std::unique_ptr<Channel>& channel) { return channel->closed(); });
  }

  void say_goodbye(const std::string& reason) {
    try {
      context_->quota.report();
      const Counters& counters = context_->counters;
      SessionEnd end;
      end.reason = reason;
      end.bytes_received = counters.bytes_received;
      end.bytes_sent = counters.bytes_sent;
      end.files_received = counters.files_received;
      end.files_sent = counters.files_sent;
      end.duration_ms = static_cast<std::uint64_t>(
          std::chrono::duration_cast<std::chrono::milliseconds>(SteadyClock::now() - started_)
              .count());
      broker_->send(end);
    } catch (const BrokerError&) {
      // The daemon ended the session and knows why.
    }
  }

  void disconnect(const std::string& sentence) {
    if (!ssh_ || !ssh_is_connected(ssh_.get())) return;
    ssh_session_set_disconnect_message(ssh_.get(), sentence.c_str());
    ssh_disconnect(ssh_.get());
  }

  ConnectionSetup setup_;
  std::optional<BrokerClient> broker_;
  std::optional<SessionContext> context_;
  SshSession ssh_;
  std::optional<Login> login_;
  SshEvent event_;
  Activity activity_;
  std::vector<std::unique_ptr<Channel>> channels_;
  SteadyClock::time_point started_;
};

}  // namespace

int run_connection(ConnectionSetup setup) noexcept {
  try {
    // Never destroyed: the process ends with it, and the kernel is faster at cleaning up.
    auto* connection = new Connection(std::move(setup));
    return connection->run();
  } catch (const std::exception&) {
    return 1;
  }
}

}  // namespace sallyport::sftp

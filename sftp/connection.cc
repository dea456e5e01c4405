#include "sftp/connection.h"

#include <fcntl.h>
#include <libssh/callbacks.h>
#include <libssh/libssh.h>
#include <libssh/server.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/c_handle.h"
#include "sftp/awake.h"
#include "sftp/channel.h"
#include "sftp/hash_thread.h"
#include "sftp/interrupt.h"
#include "sftp/login.h"
#include "sftp/message_keys.h"
#include "sftp/padding.h"
#include "sftp/peer_socket.h"
#include "sftp/session.h"
#include "sftp/unanswered.h"

namespace sallyport::sftp {
namespace {

using SteadyClock = std::chrono::steady_clock;
using SshSession = base::CHandle<ssh_session_struct, ssh_free>;
// A last word is not worth more waiting than this.
constexpr std::uint32_t goodbye_seconds = 2;
// Who comes while the daemon is being restarted (RestartSec=2 of its unit) waits for it and notices
// nothing; who comes while it is away for longer is told so.
constexpr std::chrono::seconds daemon_restarts_within{5};
constexpr std::chrono::milliseconds try_daemon_every{200};
// Where two processors are all there is, a local client, its ssh and the session have enough for
// both: hashing what has just been written, while it is in the cache, costs less than reading it
// again elsewhere (1 GiB into /Incoming: 3.0 s against 3.6).
constexpr int processors_for_a_hash_thread = 4;
constexpr std::uint64_t libssh_read_size = 4096;
// A client that waits for each answer asks its next question within a few dozen microseconds. To
// be put to sleep and woken takes about as long, so for that time it is waited for awake: small
// files come and go half as fast again (tests/bench/sftp_bench). A peer that is slower than this
// is waited for asleep, as is one that sends or takes more than small talk: it is in no hurry.
constexpr std::chrono::microseconds awake_for{200};
constexpr std::uint64_t small_talk = 4096;
// However busy a peer is, its idle time is looked at: it may send nothing that counts.
constexpr std::uint32_t rounds_a_look = 256;

// Those that this process may use, which a service manager may have limited.
int processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return ::sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
}

using SshEvent = base::CHandle<ssh_event_struct, ssh_event_free>;

class Connection {
 public:
  explicit Connection(ConnectionSetup setup) : setup_(std::move(setup)) {}

  int run() {
    // Partners get the modes that they ask for; the folder above theirs is what keeps others out.
    ::umask(0);
    nap_exactly();
    prepare_socket();
    peer_copy_.reset(::fcntl(setup_.peer.get(), F_DUPFD_CLOEXEC, 3));
    catch_signals();
    set_grace(setup_.config.login_grace_seconds);
    connect_broker();
    if (processors() >= processors_for_a_hash_thread)
      hash_thread_.emplace([this] { setup_.sandbox->enter_hash_thread(); });
    setup_.sandbox->enter_before_login();

    ssh_.reset(ssh_new());
    if (!ssh_ || ssh_bind_accept_fd(setup_.bind, ssh_.get(), setup_.peer.get()) != SSH_OK) return 1;
    // From here on libssh closes it.
    use_peer_socket(setup_.peer.release());
    keep_message_keys();
    // Data of a stranger's choice beside our own, compressed together, tells about our own; and a
    // decompressor is one more thing to attack. ("no" would only mean: not at first.)
    for (const auto option : {SSH_OPTIONS_COMPRESSION_C_S, SSH_OPTIONS_COMPRESSION_S_C}) {
      if (ssh_options_set(ssh_.get(), option, "none") != SSH_OK) return 1;
    }
    // Before the key exchange: PuTTY and its kin send their first request together with its end.
    prepare_login();
    if (ssh_handle_key_exchange(ssh_.get()) != SSH_OK) return gone_before_login();
    key_exchange_done_ = true;
    leave_time_for_a_last_word(goodbye_seconds);
    // Nothing waits inside of libssh, where neither the daemon nor the clock is listened to.
    ssh_set_blocking(ssh_.get(), 0);
    if (!log_in()) return gone_before_login();
    set_grace(0);
    keep_padding();
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
  }

  void catch_signals() {
    catch_interrupts(peer_copy_.get());
    ::signal(SIGPIPE, SIG_IGN);
    ::signal(SIGINT, SIG_DFL);
    ::signal(SIGHUP, SIG_IGN);
    ::signal(SIGCHLD, SIG_DFL);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
  }

  void connect_broker() {
    const auto end = SteadyClock::now() + daemon_restarts_within;
    while (!broker_ && !told_to_stop() && !grace_is_over()) {
      try {
        broker_.emplace(setup_.broker_path);
      } catch (const base::Error&) {
        // The peer is told once it can be: after the key exchange.
        if (SteadyClock::now() >= end) return;
        (void)::poll(nullptr, 0, static_cast<int>(try_daemon_every.count()));
      }
    }
  }

  void prepare_login() {
    LoginSetup login;
    login.address = setup_.address;
    login.port = setup_.port;
    login.max_attempts = setup_.config.max_attempts;
    login.banner = setup_.config.login_banner;
    login.enter_partner = [this](base::UniqueFd directory, LoginAnswer answer) {
      setup_.sandbox->enter_after_login(directory.get());
      context_.emplace(*broker_, std::move(directory), std::move(answer),
                       hash_thread_ ? &*hash_thread_ : nullptr);
      context_->peer_gone = [this] {
        pollfd entry{peer_copy_.get(), POLLRDHUP, 0};
        return ::poll(&entry, 1, 0) == 1 && entry.revents != 0;
      };
    };
    login.open_channel = [this]() -> ssh_channel { return open_channel(); };
    login_.emplace(ssh_.get(), broker_ ? &*broker_ : nullptr, std::move(login));
  }

  bool log_in() {
    event_.reset(ssh_event_new());
    if (!event_ || ssh_event_add_session(event_.get(), ssh_.get()) != SSH_OK) return false;
    login_requests_.emplace(ssh_.get());
    while (!login_->over() && !grace_is_over()) {
      if (ssh_event_dopoll(event_.get(), 1000) == SSH_ERROR || gone()) break;
      if (login_requests_->any())
        login_->unanswered(login_requests_->user(), login_requests_->unknown_key());
      login_->count_requests(login_requests_->seen());
      if (broker_ && broker_->ended()) break;
    }
    if (login_->logged_in()) {
      login_requests_.reset();
      return true;
    }
    std::string why = login_->why_over();
    // A peer that stays after it was turned away makes the time for the last word run out, too.
    late_ = why.empty() && grace_is_over();
    if (late_) why = "You took too long to log in";
    if (broker_ && broker_->ended())
      why = "The service is temporarily unavailable, please try again later";
    if (!why.empty()) disconnect(why);
    return false;
  }

  int gone_before_login() {
    if (!broker_) return 0;
    try {
      if (!key_exchange_done_) return 0;  // never came as far as a user name
      LoginFailure failure;
      failure.user = login_->user();
      failure.reason = late_ ? "login_grace" : login_->reason();
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
    ssh_event_add_fd(
        event_.get(), broker_->fd(), POLLIN,
        [](socket_t, int, void* spoke) {
          *static_cast<bool*>(spoke) = true;
          return 0;
        },
        &daemon_spoke_);
    context_->quota.count_held_by([this] {
      std::vector<HeldFile> held;
      Session::Files seen;
      for (const auto& channel : channels_) channel->add_held(held, seen);
      return held;
    });
    context_->leave = [this] {
      for (const auto& channel : channels_) channel->finish();
      say_goodbye("failed");
      ::_exit(0);
    };
    std::string reason = "closed";
    try {
      reason = loop();
    } catch (const BrokerError&) {
      reason = "daemon";
    } catch (const std::exception&) {
      reason = "failed";
    }
    // First what others wait for: the peer may take its time to the last.
    for (const auto& channel : channels_) channel->finish();
    say_goodbye(reason);
    if (const std::string sentence = last_word(reason); !sentence.empty()) {
      disconnect(sentence);
    } else if (ssh_is_connected(ssh_.get())) {
      set_grace(goodbye_seconds);
      close_gently();
    }
  }

  [[nodiscard]] std::string last_word(const std::string& reason) {
    if (reason == "idle") return "The session was idle for too long";
    if (reason == "flooded") return "You sent more than the window of a channel holds";
    if (!broker_->ended()) return {};
    return broker_->end_sentence().empty() ? "The service is temporarily unavailable"
                                           : broker_->end_sentence();
  }

  std::string loop() {
    // libssh takes 4 KiB a round. While it gets them in full more is there, and neither the clock
    // has to be asked, nor poll() to watch it: what they cost is felt at that pace.
    ssh_set_counters(ssh_.get(), &socket_bytes_, nullptr);
    bool streaming = false;
    for (std::uint32_t round = 1;; ++round) {
      bool busy = false;
      const bool let_through = !context_->throttle.exhausted();
      for (const auto& channel : channels_) busy = channel->pump() || busy;
      context_->after_answers();
      // Asked again while that was told.
      busy = busy || context_->quota.owes_report();
      close_finished_channels();
      if (let_through && context_->throttle.exhausted()) take_turns();
      if (told_to_stop()) return "stopped";
      if (activity_.flooded) return "flooded";
      if (activity_.failed) throw BrokerError("The daemon has ended this session.");
      int timeout = 0;
      if (!streaming) {
        // An answer that could not be sent has made libssh forget the socket: poll() would wait for
        // the daemon alone.
        if (gone()) return "closed";
        const auto now = SteadyClock::now();
        if (activity_.seen || takes_output()) activity_.last = now;
        activity_.seen = false;
        // Meanwhile requests are left where they are; all else goes on, and a hang-up is seen.
        const bool exhausted = context_->throttle.exhausted();
        const auto throttled = context_->throttle.wait(now);
        if (exhausted) activity_.last = now;
        const auto idle = idle_left(now);
        if (idle.count() <= 0) return "idle";
        if (!busy) {
          if (const auto pause = pause_of_peers(); pause.count() > 0) wait_for_daemon(pause);
          const auto longest = exhausted ? throttled : idle;
          timeout = static_cast<int>(std::min<std::int64_t>(longest.count() + 1, 3600 * 1000));
          timeout = std::min(timeout, tell_of_freed(now, timeout));
          wait_awake(now);
        }
      }
      const std::uint64_t before = socket_bytes_.in_bytes;
      if (ssh_event_dopoll(event_.get(), timeout) == SSH_ERROR || gone()) return "closed";
      const std::uint64_t came = socket_bytes_.in_bytes - before;
      if (timeout != 0 && !prompt_) prompt_ = SteadyClock::now() < awake_until_;
      streaming =
          came == libssh_read_size && round % rounds_a_look != 0 && !context_->throttle.limits();
      // Asked of the socket only when there is something to hear: a call a packet is a call too
      // many.
      if (std::exchange(daemon_spoke_, false) && broker_->ended()) return "daemon";
    }
  }

  // What comes of it, another query say, is looked at in the next round.
  int tell_of_freed(SteadyClock::time_point now, int timeout) {
    const auto in = context_->quota.tells_in(now);
    if (!in) return timeout;
    if (in->count() > 0) return static_cast<int>(in->count());
    context_->quota.report_all();
    return 0;
  }

  // Who was first when the bandwidth was let through is last the next time.
  void take_turns() {
    if (channels_.size() > 1)
      std::rotate(channels_.begin(), channels_.begin() + 1, channels_.end());
  }

  // Who is sent a large answer over a slow line has nothing to ask meanwhile.
  [[nodiscard]] bool takes_output() {
    const bool took = socket_bytes_.out_bytes != std::exchange(out_bytes_, socket_bytes_.out_bytes);
    return took && output_waits(ssh_.get());
  }

  void wait_awake(SteadyClock::time_point now) {
    awake_until_ = now + awake_for;
    const std::uint64_t bytes = socket_bytes_.in_bytes + socket_bytes_.out_bytes;
    recent_bytes_ = recent_bytes_ / 2 + bytes - std::exchange(bytes_at_last_wait_, bytes);
    if (!prompt_ || recent_bytes_ > small_talk) return;
    prompt_ = read_ahead_by(awake_until_);
  }

  [[nodiscard]] std::chrono::milliseconds idle_left(SteadyClock::time_point now) const {
    const auto limit = std::chrono::seconds(context_->login.limits.idle_seconds);
    return std::chrono::duration_cast<std::chrono::milliseconds>(activity_.last + limit - now);
  }

  // After a message that must not come now libssh is deaf, but does not hang up.
  [[nodiscard]] bool gone() const {
    return !ssh_is_connected(ssh_.get()) ||
           (ssh_get_status(ssh_.get()) & (SSH_CLOSED | SSH_CLOSED_ERROR)) != 0;
  }

  [[nodiscard]] std::chrono::microseconds pause_of_peers() const {
    // With several, one may have time while another waits for an answer.
    if (channels_.size() != 1) return {};
    return channels_.front()->peer_is_busy_for();
  }

  void wait_for_daemon(std::chrono::microseconds time) {
    pollfd entry{broker_->fd(), POLLIN, 0};
    const timespec limit{time.count() / 1'000'000, time.count() % 1'000'000 * 1000};
    (void)::ppoll(&entry, 1, &limit, nullptr);
  }

  void close_finished_channels() {
    std::erase_if(channels_,
                  [](const std::unique_ptr<Channel>& channel) { return channel->closed(); });
  }

  void say_goodbye(const std::string& reason) {
    try {
      context_->quota.report_all();
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
    set_grace(goodbye_seconds);
    // libssh writes only after it has seen that the socket takes something, and ssh_disconnect()
    // does not wait for that. Looking would read, too, and answer what has come: so it is told, and
    // sending waits, for no longer than the grace.
    ssh_set_fd_towrite(ssh_.get());
    wait_for_peer_to_take();
    ssh_session_set_disconnect_message(ssh_.get(), sentence.c_str());
    close_gently();
  }

  // ssh_disconnect() closes at once, and with bytes of the peer's unread that is a reset, which
  // loses what we said last. A second descriptor of the socket keeps it open until the peer has
  // gone.
  void close_gently() {
    ssh_disconnect(ssh_.get());
    ::shutdown(peer_copy_.get(), SHUT_WR);
    char drain[4096];
    while (::recv(peer_copy_.get(), drain, sizeof(drain), 0) > 0) {
    }
  }

  ConnectionSetup setup_;
  base::UniqueFd peer_copy_;
  std::optional<BrokerClient> broker_;
  std::optional<HashThread> hash_thread_;
  std::optional<SessionContext> context_;
  SshSession ssh_;
  std::optional<Login> login_;
  std::optional<UnansweredRequests> login_requests_;  ///< until the login
  bool key_exchange_done_ = false;
  bool late_ = false;  ///< the login grace was over before the login was
  SshEvent event_;
  ssh_counter_struct socket_bytes_{};
  Activity activity_;
  bool daemon_spoke_ = false;
  bool prompt_ = true;  ///< the peer's last wait was a short one
  SteadyClock::time_point awake_until_;
  std::uint64_t out_bytes_ = 0;
  std::uint64_t bytes_at_last_wait_ = 0;
  std::uint64_t recent_bytes_ = 0;  ///< of the last waits, an older one counts half
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

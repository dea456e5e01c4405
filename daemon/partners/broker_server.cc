#include "daemon/partners/broker_server.h"

#include <poll.h>
#include <pwd.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/log.h"
#include "daemon/net/ip.h"
#include "daemon/partners/broker_impl.h"

namespace sallyport::daemon {
namespace {

// One that leads and two at work are what a machine of few cores can use.
constexpr unsigned loop_threads = 3;
constexpr std::size_t bans_a_packet = 500;

uid_t user_id(const std::string& name) {
  const passwd* found = ::getpwnam(name.c_str());
  if (found == nullptr) {
    throw base::Error(fmt::format(
        "There is no user '{}' for the SFTP front: create it, or set gateway.front_user.", name));
  }
  return found->pw_uid;
}

// A socket that somebody listens on is not ours to replace.
void refuse_live_socket(const std::string& path) {
  const base::UniqueFd probe(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (!probe || path.size() >= sizeof(address.sun_path)) return;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
    throw base::Error(
        fmt::format("Another daemon listens on {}: stop it, or set gateway.broker_socket.", path));
  }
}

}  // namespace

std::string for_log(std::string_view text) {
  std::string clean;
  for (const char c : text.substr(0, 64)) {
    const bool plain = c >= ' ' && c < 0x7f && c != '"' && c != '\'' && c != '\\';
    clean += plain ? c : '?';
  }
  return clean;
}

BrokerServer::BrokerServer(const BrokerParts& parts) : impl_(std::make_unique<Impl>(parts)) {}
BrokerServer::~BrokerServer() = default;
void BrokerServer::start() {
  impl_->start();
}
void BrokerServer::stop() {
  impl_->stop();
}
void BrokerServer::end_sessions(std::string_view partner, std::string_view fingerprint,
                                const std::string& sentence) {
  impl_->end_sessions(partner, fingerprint, sentence);
}
void BrokerServer::review_sessions(const std::string& partner) {
  impl_->review_sessions(partner);
}
std::vector<SessionControl::Session> BrokerServer::sessions() {
  return impl_->sessions();
}
BrokerServer::Front BrokerServer::front() {
  return impl_->front();
}
void BrokerServer::send_limits() {
  impl_->send_limits();
}

BrokerServer::Impl::Impl(const BrokerParts& parts)
    : parts_(parts), usage_([this](const std::string& partner) { return measure(partner); }) {}

BrokerServer::Impl::~Impl() {
  stop();
}

void BrokerServer::Impl::start() {
  const auto config = parts_.config.get();
  // Our own user is not the front's: gpg runs as it too, on what strangers send.
  user_ = config->gateway.front_user.empty() ? ::geteuid() : user_id(config->gateway.front_user);
  socket_path_ = config->gateway.broker_socket;
  epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
  poked_.reset(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!epoll_ || !poked_) throw base::SystemError(errno, "create the broker's event loop");
  refuse_live_socket(socket_path_);
  listener_ = sftp::listen_at(socket_path_);
  for (const int fd : {listener_.get(), poked_.get()}) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
      throw base::SystemError(errno, "watch the broker socket");
    }
  }
  static_cast<void>(dummy_password_hash());  // made now, not during the first failed login
  audit_ = std::make_unique<AuditWriter>(parts_.store, parts_.health);
  workers_ = std::make_unique<WorkerPool>(std::max(4U, 2 * std::thread::hardware_concurrency()));
  passwords_ = std::make_unique<PasswordQueue>(2);
  parts_.bans.on_change([this](const store::Ban& ban) { tell_ban(ban); });
  // Before the first session of ours can exist.
  auto left = left_sessions();
  recovery_ =
      std::thread([this, left = std::move(left)]() mutable { recover_left(std::move(left)); });
  overdue_ = std::thread([this] { end_overdue(); });
  if (config->store.shared) other_nodes_ = std::thread([this] { watch_other_nodes(); });
  free_loops_ = loop_threads;
  for (unsigned i = 0; i < loop_threads; ++i) loops_.emplace_back([this] { run(); });
}

void BrokerServer::Impl::stop() {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return;
    stopping_ = true;
    for (const auto& entry : connections_) {
      if (!entry.second->control) {
        end_connection(*entry.second, "The service is being restarted, please connect again.");
      }
    }
  }
  changed_.notify_all();
  poke();
  for (std::thread& loop : loops_) loop.join();
  loops_.clear();
  if (recovery_.joinable()) recovery_.join();
  if (overdue_.joinable()) overdue_.join();
  if (other_nodes_.joinable()) other_nodes_.join();
  if (passwords_) passwords_->stop();
  hear_out();
  if (workers_) workers_->stop();
  if (audit_) audit_->stop();
  if (listener_) {
    listener_.reset();
    ::unlink(socket_path_.c_str());
  }
  const std::lock_guard lock(mutex_);
  with_events_.clear();
  connections_.clear();
}

void BrokerServer::Impl::dispatch(const ConnectionPtr& connection, sftp::Envelope envelope) {
  const std::uint32_t id = envelope.id;
  auto& message = envelope.message;
  bool logged_in = false;
  {
    const std::lock_guard lock(mutex_);
    // A peer may have had its OK since it was told to go.
    if (connection->gone) return;
    // What has happened has happened.
    const bool is_report = std::holds_alternative<sftp::UploadDone>(message) ||
                           (std::holds_alternative<sftp::FileEvent>(message) && id == 0);
    if (connection->ending && !is_report) return;
    logged_in = connection->logged_in;
  }
  if (auto* hello = std::get_if<sftp::SessionHello>(&message)) {
    on_hello(connection, std::move(*hello));
    return;
  }
  if (auto* query = std::get_if<sftp::LoginQuery>(&message)) {
    if (!connection->greeted) return out_of_order(connection, "a login before its greeting");
    if (!logged_in) on_login(connection, id, std::move(*query));
    return;
  }
  if (const auto* failure = std::get_if<sftp::LoginFailure>(&message)) {
    if (!logged_in) on_failure(connection, *failure);
    return;
  }
  if (std::holds_alternative<sftp::ControlHello>(message) ||
      std::holds_alternative<sftp::RefusalCount>(message)) {
    on_control(connection, message);
    return;
  }
  if (!logged_in) return out_of_order(connection, "a report on files before its login");
  if (const auto* done = std::get_if<sftp::UploadDone>(&message)) {
    on_done(connection, *done);
  } else if (auto* event = std::get_if<sftp::FileEvent>(&message)) {
    // What is not answered is heard by the audit, which takes it at once, and asks no store. What
    // is under way of this connection has been audited, or is waited for by its session.
    if (id == 0) return on_event(connection, id, *event);
    in_background(connection, [this, connection, id, event = std::move(*event)] {
      on_event(connection, id, event);
    });
  } else if (const auto* report = std::get_if<sftp::UsageReport>(&message)) {
    in_background(connection,
                  [this, connection, id, report = *report] { on_usage(connection, id, report); });
  } else if (const auto* taken = std::get_if<sftp::TakenQuery>(&message)) {
    on_taken(connection, id, *taken);
  } else if (auto* end = std::get_if<sftp::SessionEnd>(&message)) {
    in_background(connection,
                  [this, connection, end = std::move(*end)] { on_end(connection, end); });
  } else {
    out_of_order(connection, "a message that only we may send");
  }
}

void BrokerServer::Impl::out_of_order(const ConnectionPtr& connection, std::string_view what) {
  base::log_warning("broker.order", {}, "A process of the SFTP front sent {}: it is cut off", what);
  connection->cut_off = true;
  closed(connection);
}

// An address counts failures, bans and is compared with allow-lists: what is none is no session's.
void BrokerServer::Impl::on_hello(const ConnectionPtr& connection, sftp::SessionHello hello) {
  const auto address = IpAddress::parse(hello.address);
  if (!address) return out_of_order(connection, "a greeting without an address");
  const std::lock_guard lock(mutex_);
  if (connection->greeted || connection->control) return;
  hello.address = address->to_string();
  connection->hello = std::move(hello);
  connection->greeted = true;
}

// The front's parent alone has the control connection. Sessions talk to strangers: one that was
// taken over must not give out host keys that partners are then told to trust.
bool BrokerServer::Impl::may_be_control(const ConnectionPtr& connection) {
  const std::lock_guard lock(mutex_);
  if (connection->control || connection->greeted) return false;
  return std::none_of(connections_.begin(), connections_.end(), [](const auto& entry) {
    if (!entry.second->control) return false;
    // The parent may have died and come back before we saw its end.
    pollfd state{entry.first, 0, 0};
    return ::poll(&state, 1, 0) != 1 || (state.revents & POLLHUP) == 0;
  });
}

void BrokerServer::Impl::on_control(const ConnectionPtr& connection, const sftp::Message& message) {
  if (const auto* refused = std::get_if<sftp::RefusalCount>(&message)) {
    if (!connection->control) return out_of_order(connection, "what only its parent may send");
    if (refused->reason == "no_login") {
      workers_->submit([this, network = refused->network, count = refused->count] {
        parts_.bans.unfinished(network, count);
      });
      return;
    }
    base::log_info("sftp.refused",
                   {{"address", for_log(refused->network)},
                    {"reason", for_log(refused->reason)},
                    {"count", refused->count}},
                   "{} connections from {} were refused: {}", refused->count,
                   for_log(refused->network), for_log(refused->reason));
    const auto rows = refusal_rows_.add(for_log(refused->network), for_log(refused->reason),
                                        refused->count, parts_.clock.now());
    if (rows == 0) return;
    store::SessionEvent event;
    event.at = parts_.clock.now();
    event.event = "turned_away";
    event.address = for_log(refused->network);
    event.detail = fmt::format("{}: {} connections", for_log(refused->reason), rows);
    audit_->add(std::move(event));
    return;
  }
  const auto& hello = std::get<sftp::ControlHello>(message);
  if (!may_be_control(connection)) return out_of_order(connection, "what only its parent may send");
  {
    const std::lock_guard lock(mutex_);
    connection->control = true;
    front_.connected = true;
    front_.listening = hello.listening;
    front_.host_keys = hello.host_keys;
  }
  base::log_info("broker.front", {{"pid", hello.process}}, "The SFTP front is connected");
  bool sent = sftp::send_message(connection->fd.get(), 0, front_config());
  const std::vector<sftp::Ban> bans = real_time_bans();
  sftp::BanUpdate update;
  update.reset = true;
  for (const sftp::Ban& ban : bans) {
    update.bans.push_back(ban);
    if (update.bans.size() < bans_a_packet) continue;
    sent = sent && sftp::send_message(connection->fd.get(), 0, update);
    update = {};
  }
  if (update.reset || !update.bans.empty()) {
    sent = sent && sftp::send_message(connection->fd.get(), 0, update);
  }
  if (!sent) closed(connection);
}

sftp::FrontConfig BrokerServer::Impl::front_config() const {
  const auto config = parts_.config.get();
  sftp::FrontConfig front;
  front.login_grace_seconds = static_cast<std::uint32_t>(config->gateway.login_grace.count());
  front.max_attempts = config->gateway.max_attempts;
  front.max_connections = config->gateway.max_connections;
  front.max_unauthenticated_per_address = config->gateway.max_unauthenticated_per_address;
  front.drain_seconds = static_cast<std::uint32_t>(config->gateway.drain.count());
  front.login_banner = config->gateway.login_banner;
  return front;
}

// The front lives by the machine's clock, which a test may have moved ours against.
std::vector<sftp::Ban> BrokerServer::Impl::real_time_bans() {
  std::vector<sftp::Ban> bans;
  const auto real = std::chrono::floor<base::Seconds>(std::chrono::system_clock::now());
  for (const store::Ban& ban : parts_.bans.list()) {
    bans.push_back({ban.address, base::to_unix(real + (ban.until - parts_.clock.now()))});
  }
  return bans;
}

void BrokerServer::Impl::tell_ban(const store::Ban& ban) {
  const auto left = ban.until - parts_.clock.now();
  const auto real = std::chrono::floor<base::Seconds>(std::chrono::system_clock::now());
  sftp::BanUpdate update;
  update.bans.push_back({ban.address, left > base::Seconds{0} ? base::to_unix(real + left) : 0});
  const std::lock_guard lock(mutex_);
  for (const auto& entry : connections_) {
    if (entry.second->control) {
      static_cast<void>(sftp::send_message(entry.second->fd.get(), 0, update));
    }
  }
}

void BrokerServer::Impl::send_limits() {
  const sftp::FrontConfig limits = front_config();
  const std::lock_guard lock(mutex_);
  for (const auto& entry : connections_) {
    if (entry.second->control) {
      static_cast<void>(sftp::send_message(entry.second->fd.get(), 0, limits));
    }
  }
}

// Under the mutex. The session closes its end when it has left; only then is it cleaned up after.
void BrokerServer::Impl::end_connection(BrokerConnection& connection, const std::string& sentence) {
  if (connection.ending) return;
  connection.ending = true;
  static_cast<void>(sftp::send_message(connection.fd.get(), 0, sftp::SessionClose{sentence}));
  ::shutdown(connection.fd.get(), SHUT_WR);
  see_out(connection);
}

void BrokerServer::Impl::end_sessions(std::string_view partner, std::string_view fingerprint,
                                      const std::string& sentence) {
  const std::lock_guard lock(mutex_);
  for (const auto& entry : connections_) {
    BrokerConnection& connection = *entry.second;
    if (!connection.logged_in || connection.peer.partner != partner) continue;
    if (!fingerprint.empty() && connection.peer.fingerprint != fingerprint) continue;
    end_connection(connection, sentence);
  }
}

std::vector<SessionControl::Session> BrokerServer::Impl::sessions() {
  std::vector<Session> all;
  const std::lock_guard lock(mutex_);
  for (const auto& entry : connections_) {
    const BrokerConnection& connection = *entry.second;
    if (!connection.logged_in) continue;
    all.push_back({connection.peer.partner, connection.peer.address, connection.peer.banner,
                   connection.peer.fingerprint, connection.since});
  }
  return all;
}

BrokerServer::Front BrokerServer::Impl::front() {
  const std::lock_guard lock(mutex_);
  return front_;
}

}  // namespace sallyport::daemon

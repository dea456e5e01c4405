// The broker's threads: who waits for events, who works on what came, and in which order.
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "base/log.h"
#include "daemon/partners/broker_impl.h"

namespace sallyport::daemon {
namespace {

constexpr unsigned most_inflight = 32;
// Events are looked for so often at most: a thousand a second then come in twenty readings.
constexpr std::chrono::milliseconds rest_of_events{50};
constexpr unsigned events_a_turn = 64;
// More than a connection's socket holds.
constexpr unsigned most_last_words = 1000;
// Bytes, with what the kernel needs for each: several hundred events.
constexpr int waiting_events = 512 * 1024;

// What the leading thread is going to work on when it has handed the lead on.
thread_local std::function<void()>* next_job = nullptr;

}  // namespace

void BrokerServer::Impl::poke() noexcept {
  const std::uint64_t one = 1;
  static_cast<void>(!::write(poked_.get(), &one, sizeof(one)));
}

void BrokerServer::Impl::run() {
  for (;;) {
    std::function<void()> job;
    {
      const std::lock_guard lead_lock(lead_);
      next_job = &job;
      // To hand the lead on wakes another thread: only for a job.
      bool goes_on = true;
      while (goes_on && !job) goes_on = lead();
      next_job = nullptr;
      if (!goes_on && !job) return;
    }
    job();
    ++free_loops_;
  }
}

bool BrokerServer::Impl::lead() {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return false;
  }
  std::array<epoll_event, 128> events{};
  const int count =
      ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), rest_ms());
  if (count < 0 && errno != EINTR) {
    base::log_error("broker.loop", {}, "Waiting for the SFTP front failed: {}",
                    std::strerror(errno));
    return false;
  }
  std::vector<ConnectionPtr> reporting;
  for (int i = 0; i < count; ++i) {
    const int fd = events[static_cast<std::size_t>(i)].data.fd;
    if (fd == listener_.get()) {
      accept_all();
      continue;
    }
    if (fd == poked_.get()) {
      resume_paused();
      continue;
    }
    ConnectionPtr connection;
    {
      const std::lock_guard lock(mutex_);
      if (const auto it = connections_.find(fd); it != connections_.end()) {
        connection = it->second;
      } else if (const auto its = with_events_.find(fd); its != with_events_.end()) {
        reporting.push_back(its->second);
      }
    }
    if (connection) read(connection);
  }
  for (const ConnectionPtr& connection : reporting) {
    // Somebody waits for the job that this thread has: the next to lead sees to it.
    if (next_job != nullptr && *next_job) {
      resting_.push_back({std::chrono::steady_clock::now(), connection});
    } else {
      on_events(connection);
    }
  }
  watch_rested_events();
  return true;
}

int BrokerServer::Impl::rest_ms() const {
  if (resting_.empty()) return -1;
  const auto left = resting_.front().until - std::chrono::steady_clock::now();
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
  return static_cast<int>(std::clamp<std::int64_t>(ms, 0, rest_of_events.count()));
}

void BrokerServer::Impl::on_events(const ConnectionPtr& connection) {
  unsigned most = events_a_turn;
  const bool more = read_events(connection, connection->received + 1, most);
  const auto rest = more ? std::chrono::milliseconds{0} : rest_of_events;
  resting_.push_back({std::chrono::steady_clock::now() + rest, connection});
}

void BrokerServer::Impl::watch_rested_events() {
  const auto now = std::chrono::steady_clock::now();
  // One that had more than a turn's worth stands behind others that rest: it is watched at once.
  std::erase_if(resting_, [this, now](const Rest& rest) {
    if (rest.until > now) return false;
    const std::lock_guard lock(mutex_);
    if (rest.connection->gone || !rest.connection->events) return true;
    epoll_event event{};
    event.events = EPOLLIN | EPOLLONESHOT;
    event.data.fd = rest.connection->events.get();
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, rest.connection->events.get(), &event);
    return true;
  });
}

bool BrokerServer::Impl::read_events(const ConnectionPtr& connection, std::uint64_t before,
                                     unsigned& most) {
  int fd = -1;
  {
    const std::lock_guard lock(mutex_);
    if (!connection->events || connection->gone) return false;
    fd = connection->events.get();
  }
  for (; most > 0; --most) {
    auto received = connection->early ? std::move(*std::exchange(connection->early, std::nullopt))
                                      : sftp::receive_message(fd, MSG_DONTWAIT);
    if (received.what == sftp::Received::What::nothing) return false;
    if (received.what == sftp::Received::What::closed) {
      end_events(connection);
      return false;
    }
    const auto* event = std::get_if<sftp::FileEvent>(&received.envelope.message);
    if (received.what != sftp::Received::What::message || event == nullptr ||
        received.envelope.id != 0 || received.descriptor) {
      out_of_order(connection, "what is no event to its socket of events");
      return false;
    }
    if (event->after >= before) {
      connection->early = std::move(received);
      return false;
    }
    handle(connection, std::move(received.envelope));
  }
  return true;
}

void BrokerServer::Impl::end_events(const ConnectionPtr& connection) {
  const std::lock_guard lock(mutex_);
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, connection->events.get(), nullptr);
  with_events_.erase(connection->events.get());
  connection->events.reset();
}

void BrokerServer::Impl::offer_events(const ConnectionPtr& connection) {
  int pair[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) return;
  base::UniqueFd ours(pair[0]);
  const base::UniqueFd theirs(pair[1]);
  ::setsockopt(theirs.get(), SOL_SOCKET, SO_SNDBUF, &waiting_events, sizeof(waiting_events));
  {
    const std::lock_guard lock(mutex_);
    epoll_event event{};
    event.events = EPOLLIN | EPOLLONESHOT;
    event.data.fd = ours.get();
    if (stopping_ || connection->gone ||
        ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, ours.get(), &event) != 0)
      return;  // all goes over the connection then
    with_events_[ours.get()] = connection;
    connection->events = std::move(ours);
  }
  static_cast<void>(
      sftp::send_message(connection->fd.get(), 0, sftp::EventsSocket{}, theirs.get()));
}

void BrokerServer::Impl::handle(const ConnectionPtr& connection, sftp::Envelope envelope) {
  try {
    dispatch(connection, std::move(envelope));
  } catch (const std::exception& error) {
    base::log_error("broker.failed", {}, "A message of the SFTP front was not worked on: {}",
                    error.what());
    // Its end is seen by who reads it, after what else it has said.
    connection->cut_off = true;
    ::shutdown(connection->fd.get(), SHUT_RDWR);
  }
}

void BrokerServer::Impl::resume_paused() {
  std::uint64_t ignored = 0;
  static_cast<void>(!::read(poked_.get(), &ignored, sizeof(ignored)));
  std::vector<ConnectionPtr> resumed;
  {
    const std::lock_guard lock(mutex_);
    resumed.swap(to_resume_);
  }
  for (const ConnectionPtr& connection : resumed) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = connection->fd.get();
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, connection->fd.get(), &event);
  }
}

void BrokerServer::Impl::accept_all() {
  for (;;) {
    base::UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd) {
      if (errno == EMFILE || errno == ENFILE) {
        base::log_error("broker.accept", {}, "Out of file descriptors: raise LimitNOFILE");
        // The listener stays readable; waiting a moment keeps this from spinning.
        std::this_thread::sleep_for(std::chrono::milliseconds{50});
      }
      return;
    }
    const auto user = sftp::peer_user(fd.get());
    if (!user || *user != user_) {
      base::log_warning("broker.refused", {{"uid", user ? static_cast<std::int64_t>(*user) : -1}},
                        "Refused a connection to the broker socket by uid {}: only "
                        "gateway.front_user may use it",
                        user ? static_cast<std::int64_t>(*user) : -1);
      continue;
    }
    auto connection = std::make_shared<BrokerConnection>();
    connection->process = sftp::peer_process(fd.get());
    const int number = fd.get();
    connection->fd = std::move(fd);
    {
      const std::lock_guard lock(mutex_);
      connections_[number] = connection;
    }
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = number;
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, number, &event) != 0) closed(connection);
  }
}

void BrokerServer::Impl::read(const ConnectionPtr& connection) {
  // A few at a time, so that a busy session does not keep others waiting.
  unsigned events = events_a_turn;
  unsigned late = all_events;
  for (int turn = 0; turn < 8; ++turn) {
    const std::uint64_t next = connection->received + 1;
    // What there is more of comes with the next turn, and the message after it.
    if ((turn == 0 || connection->early) && read_events(connection, next, events)) return;
    sftp::Received received = sftp::receive_message(connection->fd.get());
    if (received.what == sftp::Received::What::nothing) break;
    if (received.what == sftp::Received::What::message) {
      // All that was sent before it is there now.
      read_events(connection, next, late);
      ++connection->received;
      handle(connection, std::move(received.envelope));
    } else {
      if (received.what == sftp::Received::What::malformed) {
        base::log_error("broker.malformed", {},
                        "The SFTP front sent what is no message: are both programs of one "
                        "version? Its connection is closed.");
        connection->cut_off = true;
      }
      unsigned all = all_events;
      read_events(connection, no_message, all);
      closed(connection);
      return;
    }
    const std::lock_guard lock(mutex_);
    if (connection->paused) break;
  }
  if (connection->early) read_events(connection, connection->received + 1, late);
}

void BrokerServer::Impl::hear_out() {
  std::vector<ConnectionPtr> sessions;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& entry : connections_) {
      if (!entry.second->control) sessions.push_back(entry.second);
    }
  }
  for (const ConnectionPtr& connection : sessions) {
    unsigned events = all_events;
    for (unsigned turn = 0; turn < most_last_words; ++turn) {
      sftp::Received received = sftp::receive_message(connection->fd.get());
      if (received.what != sftp::Received::What::message) break;
      read_events(connection, connection->received + 1, events);
      ++connection->received;
      handle(connection, std::move(received.envelope));
    }
    read_events(connection, no_message, events);
  }
  resting_.clear();
}

void BrokerServer::Impl::closed(const ConnectionPtr& connection) {
  bool logged_in = false;
  {
    const std::lock_guard lock(mutex_);
    const auto found = connections_.find(connection->fd.get());
    if (found == connections_.end() || found->second != connection) return;
    connections_.erase(found);
    if (connection->events) {
      ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, connection->events.get(), nullptr);
      with_events_.erase(connection->events.get());
    }
    connection->gone = true;
    if (connection->control) front_ = Front{};
    logged_in = connection->logged_in;
    if (logged_in) see_out(*connection);
  }
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, connection->fd.get(), nullptr);
  ::shutdown(connection->fd.get(), SHUT_RDWR);
  if (!logged_in) return;
  usage_.forget(connection->peer.partner, connection->session_id);
  parts_.journal.session_ended(connection->session_id, connection->cut_off);
  workers_->submit([this, connection] {
    recover(connection->peer.partner, connection->session_id, connection->peer);
  });
}

void BrokerServer::Impl::in_background(const ConnectionPtr& connection, std::function<void()> job) {
  if (connection->inflight.fetch_add(1) + 1 >= most_inflight) {
    const std::lock_guard lock(mutex_);
    if (!connection->paused) {
      connection->paused = true;
      epoll_event event{};
      event.events = 0;
      event.data.fd = connection->fd.get();
      ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, connection->fd.get(), &event);
    }
  }
  {
    const std::lock_guard lock(mutex_);
    connection->jobs.push_back(std::move(job));
    if (std::exchange(connection->working, true)) return;
  }
  auto work = [this, connection] { work_on(connection); };
  // Somebody has to be left to lead.
  if (next_job != nullptr && !*next_job && free_loops_ > 1) {
    --free_loops_;
    *next_job = std::move(work);
  } else {
    workers_->submit(std::move(work));
  }
}

void BrokerServer::Impl::work_on(const ConnectionPtr& connection) {
  for (;;) {
    std::function<void()> job;
    {
      const std::lock_guard lock(mutex_);
      if (connection->jobs.empty()) {
        connection->working = false;
        return;
      }
      job = std::move(connection->jobs.front());
      connection->jobs.pop_front();
    }
    try {
      job();
    } catch (const std::exception& error) {
      base::log_error("broker.failed", {}, "A message of the SFTP front was not worked on: {}",
                      error.what());
    }
    job_done(connection);
  }
}

void BrokerServer::Impl::job_done(const ConnectionPtr& connection) {
  if (connection->inflight.fetch_sub(1) - 1 > most_inflight / 2) return;
  {
    const std::lock_guard lock(mutex_);
    if (!connection->paused) return;
    connection->paused = false;
    to_resume_.push_back(connection);
  }
  poke();
}

void BrokerServer::Impl::answer(const ConnectionPtr& connection, std::uint32_t id,
                                const sftp::Message& message, int descriptor) {
  if (id == 0) return;
  if (!sftp::send_message(connection->fd.get(), id, message, descriptor)) {
    // Gone, or so slow that its socket is full: the loop sees the end of it.
    ::shutdown(connection->fd.get(), SHUT_RDWR);
  }
}

}  // namespace sallyport::daemon

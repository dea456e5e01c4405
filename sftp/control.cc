#include "sftp/control.h"

#include <fcntl.h>

#include <algorithm>
#include <ctime>
#include <utility>

#include "base/log.h"

namespace sallyport::sftp {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds retry_every{1000};
constexpr std::chrono::seconds tell_refusals_every{10};
// A flood of addresses must not make the parent grow.
constexpr std::size_t most_refusals = 1000;

// Soon enough that a flood of connections is not worth it.
constexpr std::uint32_t tell_at_once = 100;

constexpr const char* banned =
    "Too many failed logins or connections from your address, please try again later";
constexpr const char* too_many = "Too many connections, please try again later";
constexpr const char* too_many_from_address =
    "Too many connections from your address that have not logged in";

}  // namespace

Control::Control(std::string broker_path, ControlHello hello)
    : path_(std::move(broker_path)), hello_(std::move(hello)) {
  connect();
}

std::chrono::milliseconds Control::next_try() const {
  if (!socket_) {
    const auto gone =
        std::chrono::duration_cast<std::chrono::milliseconds>(SteadyClock::now() - tried_);
    return std::max(retry_every - gone, std::chrono::milliseconds{1});
  }
  return refusals_.empty()
             ? std::chrono::milliseconds{60000}
             : std::chrono::duration_cast<std::chrono::milliseconds>(tell_refusals_every);
}

void Control::connect() {
  tried_ = SteadyClock::now();
  try {
    BrokerClient client(path_);
    client.send(hello_);
    socket_.reset(::fcntl(client.fd(), F_DUPFD_CLOEXEC, 3));
    ::fcntl(socket_.get(), F_SETFL, O_NONBLOCK);
    base::log_info("sftp.broker", {{"path", path_}}, "connected to the daemon at {}", path_);
    away_logged_ = false;
  } catch (const base::Error& error) {
    socket_.reset();
    if (!away_logged_) {
      base::log_warning("sftp.broker_away", {{"path", path_}},
                        "{}; nobody can log in until it is, and it is tried every second",
                        error.what());
    }
    away_logged_ = true;
  }
}

void Control::handle() {
  while (socket_) {
    Received received = receive_message(socket_.get());
    if (received.what == Received::What::nothing) break;
    if (received.what == Received::What::message) {
      take(received.envelope.message);
      continue;
    }
    if (received.what == Received::What::malformed) {
      base::log_error("sftp.broker_malformed", {},
                      "the daemon sent what this program does not understand: {}",
                      "both must come from one build");
    }
    socket_.reset();
  }
  if (!socket_ && SteadyClock::now() - tried_ >= retry_every) connect();
  send_refusals();
}

void Control::take(const Message& message) {
  if (const auto* config = std::get_if<FrontConfig>(&message)) {
    config_ = *config;
  } else if (const auto* update = std::get_if<BanUpdate>(&message)) {
    if (update->reset) bans_.clear();
    for (const Ban& ban : update->bans) {
      if (ban.until == 0) {
        bans_.erase(ban.network);
      } else {
        bans_[ban.network] = ban.until;
      }
    }
  } else if (const auto* end = std::get_if<EndProcess>(&message)) {
    overdue_.push_back(end->process);
  }
}

const char* Control::refuses(
    const PeerAddress& who, std::size_t sessions,
    const std::map<std::string, std::uint32_t, std::less<>>& unauthenticated) const {
  const auto ban = bans_.find(who.network);
  if (ban != bans_.end() && ban->second > ::time(nullptr)) return banned;
  if (sessions >= config_.max_connections) return too_many;
  const auto count = unauthenticated.find(who.network);
  if (count != unauthenticated.end() && count->second >= config_.max_unauthenticated_per_address) {
    return too_many_from_address;
  }
  return nullptr;
}

void Control::count(const std::string& network, const std::string& reason) {
  const std::pair key{network, reason};
  if (refusals_.size() >= most_refusals && !refusals_.contains(key)) return;
  if (++refusals_[key] == tell_at_once && reason == no_login) told_ = {};
}

void Control::send_refusals() {
  const auto now = SteadyClock::now();
  if (!socket_ || refusals_.empty() || now - told_ < tell_refusals_every) return;
  told_ = now;
  for (const auto& [what, count] : std::exchange(refusals_, {})) {
    const std::string& reason = what.second;
    RefusalCount message;
    message.network = what.first;
    message.reason = reason == banned     ? "banned"
                     : reason == no_login ? no_login
                     : reason == too_many ? "max_connections"
                                          : "max_unauthenticated_per_address";
    message.count = count;
    if (!send_message(socket_.get(), 0, message)) return;
  }
}

}  // namespace sallyport::sftp

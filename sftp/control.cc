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
constexpr std::chrono::seconds tell_every{10};
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
  return refusals_.empty() && unfinished_.empty()
             ? std::chrono::milliseconds{60000}
             : std::chrono::duration_cast<std::chrono::milliseconds>(tell_every);
}

void Control::connect() {
  tried_ = SteadyClock::now();
  try {
    BrokerClient client(path_);
    client.send(hello_);
    socket_.reset(::fcntl(client.fd(), F_DUPFD_CLOEXEC, 3));
    unfinished_.clear();
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
  send_counts();
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

void Control::count(const std::string& network, const char* reason) {
  const std::pair<std::string, std::string> key{network, reason};
  if (refusals_.size() < most_refusals || refusals_.contains(key)) ++refusals_[key];
}

// Without the daemon nobody can log in, and each that tries would look like a flood afterwards.
void Control::count_unfinished(const std::string& network) {
  if (!socket_) return;
  // Strangers from everywhere must not hide the one who comes all the time.
  if (unfinished_.size() >= most_refusals && !unfinished_.contains(network))
    unfinished_.erase(
        std::min_element(unfinished_.begin(), unfinished_.end(),
                         [](const auto& a, const auto& b) { return a.second < b.second; }));
  if (++unfinished_[network] < tell_at_once) return;
  if (tell(network, "no_login", unfinished_[network])) unfinished_.erase(network);
}

bool Control::tell(const std::string& network, const std::string& reason, std::uint32_t count) {
  RefusalCount message;
  message.network = network;
  message.reason = reason;
  message.count = count;
  return send_message(socket_.get(), 0, message);
}

// What the socket does not take now is told the next time.
void Control::send_counts() {
  const auto now = SteadyClock::now();
  if (!socket_ || (refusals_.empty() && unfinished_.empty()) || now - told_ < tell_every) return;
  told_ = now;
  while (!unfinished_.empty()) {
    const auto first = unfinished_.begin();
    if (!tell(first->first, "no_login", first->second)) return;
    unfinished_.erase(first);
  }
  while (!refusals_.empty()) {
    const auto first = refusals_.begin();
    const std::string& reason = first->first.second;
    if (!tell(first->first.first,
              reason == banned     ? "banned"
              : reason == too_many ? "max_connections"
                                   : "max_unauthenticated_per_address",
              first->second))
      return;
    refusals_.erase(first);
  }
}

}  // namespace sallyport::sftp

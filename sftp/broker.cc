#include "sftp/broker.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "sftp/awake.h"

namespace sallyport::sftp {
namespace {

// Most answers come within this time; for a password nobody stays awake.
constexpr std::chrono::microseconds awake_for{200};
constexpr std::size_t most_reports = 16;
constexpr const char* ended_by_daemon = "The daemon has ended the connection of this session.";
// A daemon that reads nothing for so long is as good as gone.
constexpr timeval longest_send{60, 0};

sockaddr_un socket_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    throw base::SystemError(ENAMETOOLONG, "use the broker socket " + path);
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

// Holds the one descriptor that a message may carry. CMSG_SPACE pads that to room for two.
union ControlBuffer {
  cmsghdr header;
  char bytes[CMSG_SPACE(sizeof(int))];
};

// Takes every descriptor that came, or they would stay open for ever. False if it is more than one.
bool take_descriptors(msghdr& header, base::UniqueFd& descriptor) {
  std::size_t count = 0;
  for (cmsghdr* item = CMSG_FIRSTHDR(&header); item != nullptr; item = CMSG_NXTHDR(&header, item)) {
    if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t held = (item->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < held; ++i, ++count) {
      int number = -1;
      std::memcpy(&number, CMSG_DATA(item) + i * sizeof(int), sizeof(int));
      descriptor.reset(number);
    }
  }
  return count <= 1;
}

}  // namespace

bool send_message(int socket, std::uint32_t id, const Message& message, int descriptor) {
  std::string packet = encode(id, message);
  iovec part{packet.data(), packet.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  ControlBuffer control{};
  if (descriptor >= 0) {
    header.msg_control = control.bytes;
    header.msg_controllen = sizeof(control.bytes);
    cmsghdr* item = CMSG_FIRSTHDR(&header);
    item->cmsg_level = SOL_SOCKET;
    item->cmsg_type = SCM_RIGHTS;
    item->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(item), &descriptor, sizeof(int));
  }
  ssize_t sent = 0;
  do {
    sent = ::sendmsg(socket, &header, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  // A password may have been in it.
  ::explicit_bzero(packet.data(), packet.size());
  return sent == static_cast<ssize_t>(packet.size());
}

Received receive_message(int socket, int flags) {
  // Static: a session must not need 64 KiB of fresh stack or heap for each answer.
  thread_local char buffer[broker_max_packet];
  Received received;
  iovec part{buffer, sizeof(buffer)};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  ControlBuffer control{};
  header.msg_control = control.bytes;
  header.msg_controllen = sizeof(control.bytes);
  const auto receive = [&] {
    ssize_t result = 0;
    do {
      result = ::recvmsg(socket, &header, MSG_CMSG_CLOEXEC | flags);
    } while (result < 0 && errno == EINTR);
    return result;
  };
  ssize_t count = receive();
  // Said once, and before what was sent before it, by a peer that ended without having read all.
  if (count < 0 && errno == ECONNRESET) count = receive();
  if (count < 0) {
    received.what = errno == EAGAIN ? Received::What::nothing : Received::What::closed;
    return received;
  }
  const bool at_most_one = take_descriptors(header, received.descriptor);
  if (count == 0) {
    received.what = Received::What::closed;
    return received;
  }
  std::optional<Envelope> envelope;
  if (at_most_one && (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0) {
    envelope = decode({buffer, static_cast<std::size_t>(count)});
  }
  ::explicit_bzero(buffer, static_cast<std::size_t>(count));
  if (!envelope) {
    received.what = Received::What::malformed;
    received.descriptor.reset();
    return received;
  }
  received.what = Received::What::message;
  received.envelope = std::move(*envelope);
  return received;
}

base::UniqueFd listen_at(const std::string& path) {
  const sockaddr_un address = socket_address(path);
  base::UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) throw base::SystemError(errno, "create the broker socket");
  struct stat status {};
  if (::lstat(path.c_str(), &status) == 0) {
    if (!S_ISSOCK(status.st_mode)) {
      throw base::SystemError(EEXIST, "listen at " + path + ", which is no socket: move it away");
    }
    ::unlink(path.c_str());
  }
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      ::chmod(path.c_str(), 0660) != 0 || ::listen(socket.get(), SOMAXCONN) != 0) {
    throw base::SystemError(errno, "listen at " + path);
  }
  return socket;
}

std::optional<uid_t> peer_user(int socket) {
  ucred credentials{};
  socklen_t length = sizeof(credentials);
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0)
    return std::nullopt;
  return credentials.uid;
}

std::uint32_t peer_process(int socket) {
  ucred credentials{};
  socklen_t length = sizeof(credentials);
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) return 0;
  return static_cast<std::uint32_t>(credentials.pid);
}

BrokerClient::BrokerClient(const std::string& path) {
  const sockaddr_un address = socket_address(path);
  // A daemon that takes no connections, with as many in line as its socket holds, answers EAGAIN.
  socket_.reset(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket_) throw base::SystemError(errno, "create a socket for the broker");
  if (::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    throw base::SystemError(errno, "reach the daemon at " + path + " (is sallyportd running?)");
  }
  ::fcntl(socket_.get(), F_SETFL, ::fcntl(socket_.get(), F_GETFL) & ~O_NONBLOCK);
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_SNDTIMEO, &longest_send, sizeof(longest_send));
}

void BrokerClient::report(FileEvent event) {
  reports_.push_back(std::move(event));
  if (reports_.size() >= most_reports) send_reports();
}

void BrokerClient::send_reports() {
  while (!reports_.empty()) {
    FileEvent event = std::move(reports_.front());
    reports_.erase(reports_.begin());
    event.after = posted_;
    if (events_ && send_message(events_.get(), 0, event)) continue;
    // Full, or the daemon has gone, which the connection knows for certain. A daemon that ends this
    // session listens until it has gone.
    send_now(0, event);
  }
}

void BrokerClient::post(std::uint32_t id, const Message& message) {
  send_reports();
  if (ended_) throw BrokerError(ended_by_daemon);
  send_now(id, message);
}

void BrokerClient::send_now(std::uint32_t id, const Message& message) {
  if (!send_message(socket_.get(), id, message)) {
    ended_ = true;
    throw BrokerError(ended_by_daemon);
  }
  ++posted_;
}

std::uint32_t BrokerClient::start(const Message& message) {
  const std::uint32_t id = next_id_;
  next_id_ = next_id_ == std::numeric_limits<std::uint32_t>::max() ? 1 : next_id_ + 1;
  post(id, message);
  return id;
}

bool BrokerClient::accept_unasked(Received& received) {
  switch (received.what) {
    case Received::What::closed:
    case Received::What::malformed:
      ended_ = true;
      return true;
    case Received::What::nothing:
      return true;
    case Received::What::message:
      break;
  }
  if (const auto* close = std::get_if<SessionClose>(&received.envelope.message)) {
    end_sentence_ = close->sentence;
    ended_ = true;
    return true;
  }
  if (std::holds_alternative<EventsSocket>(received.envelope.message)) {
    events_ = std::move(received.descriptor);
    return true;
  }
  if (const auto* query = std::get_if<UsageQuery>(&received.envelope.message)) {
    usage_query_ = query->number;
    return true;
  }
  return false;
}

Received BrokerClient::finish(std::uint32_t id, std::chrono::milliseconds deadline) {
  for (auto it = early_.begin(); it != early_.end(); ++it) {
    if (it->envelope.id == id) {
      Received received = std::move(*it);
      early_.erase(it);
      return received;
    }
  }
  const auto until = std::chrono::steady_clock::now() + deadline;
  (void)readable_by(socket_.get(), std::chrono::steady_clock::now() + awake_for);
  while (!ended_) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        until - std::chrono::steady_clock::now());
    pollfd entry{socket_.get(), POLLIN, 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) throw BrokerError("The daemon did not answer in time.");
    Received received = receive_message(socket_.get());
    if (accept_unasked(received)) continue;
    if (received.envelope.id == id) return received;
    early_.push_back(std::move(received));
  }
  throw BrokerError(ended_by_daemon);
}

bool BrokerClient::ended() {
  while (!ended_) {
    pollfd entry{socket_.get(), POLLIN, 0};
    if (::poll(&entry, 1, 0) <= 0) return false;
    Received received = receive_message(socket_.get());
    if (!accept_unasked(received)) early_.push_back(std::move(received));
  }
  return true;
}

}  // namespace sallyport::sftp

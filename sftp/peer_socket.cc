#include "sftp/peer_socket.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>
#include <utility>

#include "sftp/awake.h"

namespace sallyport::sftp {
namespace {

int peer = -1;
bool patient = false;
// Touched only as far as something comes at once.
char bytes[256 * 1024];
std::size_t taken = 0;
std::size_t filled = 0;
// The socket took the last of what was sent, so it will take more as a rule, and if not, sending
// tells. Believed once, then asked: a poll() that always says so hears nothing else.
bool takes_more = false;
// However much a peer has to say, the other descriptors are heard: so many looks are answered from
// what is known, and then one by the system.
constexpr int most_known = 16;
int known = 0;
// What has come since our last word, which would have acknowledged it. Most clients do not turn
// Nagle's algorithm off until they have logged in, many never: what they say next is held back
// until what they said before is acknowledged, which the system puts off by 40 ms.
std::size_t unacknowledged = 0;
// More than this are bulk data, which the system acknowledges at every second segment.
constexpr std::size_t small_talk = 4096;
// No encrypted packet is shorter: 4 bytes of length, a block, and what authenticates them. Clients
// built on npm's ssh2 write a packet's length by itself, at every request.
constexpr std::size_t least_packet = 32;

void acknowledge() {
  unacknowledged = 0;
  const int on = 1;
  (void)::setsockopt(peer, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
}

// recv() into what is read ahead, which is empty.
ssize_t read_ahead(int flags) {
  const ssize_t count = ::recvfrom(peer, bytes, sizeof(bytes), flags, nullptr, nullptr);
  if (count > 0) {
    taken = 0;
    filled = static_cast<std::size_t>(count);
    unacknowledged += filled;
    if (filled < least_packet) acknowledge();
  }
  return count;
}

ssize_t read_socket(int fd, void* to, std::size_t size, int flags) {
  if (fd != peer || flags != 0) return ::recvfrom(fd, to, size, flags, nullptr, nullptr);
  if (taken == filled) {
    const ssize_t count = read_ahead(0);
    if (count <= 0) return count;
  }
  const std::size_t count = std::min(size, filled - taken);
  std::memcpy(to, bytes + taken, count);
  taken += count;
  return static_cast<ssize_t>(count);
}

// Nothing taken is no error to libssh, which tries again when the socket takes something.
ssize_t write_socket(int fd, const void* data, std::size_t size, int flags) {
  if (fd != peer || patient) return ::sendto(fd, data, size, flags, nullptr, 0);
  const ssize_t count = ::sendto(fd, data, size, flags | MSG_DONTWAIT, nullptr, 0);
  takes_more = count == static_cast<ssize_t>(size);
  if (count > 0) unacknowledged = 0;
  return count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? 0 : count;
}

pollfd* peer_among(std::span<pollfd> entries) {
  const auto ours = std::find_if(entries.begin(), entries.end(),
                                 [](const pollfd& entry) { return entry.fd == peer; });
  return ours == entries.end() ? nullptr : &*ours;
}

// What has been read ahead is there to be read, and who only looks whether the socket takes
// something is told: neither needs a call.
bool knows(pollfd& ours, std::span<pollfd> entries, int timeout) {
  int events = taken != filled ? ours.events & POLLIN : 0;
  if (std::exchange(takes_more, false) && (timeout == 0 || events != 0))
    events |= ours.events & POLLOUT;
  if (events == 0 || ++known > most_known) return false;
  for (pollfd& entry : entries) entry.revents = 0;
  ours.revents = static_cast<short>(events);
  return true;
}

int ask(std::span<pollfd> entries, int timeout) {
  const timespec time{timeout / 1000, timeout % 1000 * 1'000'000L};
  return ::ppoll(entries.data(), entries.size(), timeout < 0 ? nullptr : &time, nullptr);
}

int look(std::span<pollfd> entries, int timeout) {
  // Nothing is touched for who has no peer or asks for others: any thread may.
  pollfd* ours = peer < 0 ? nullptr : peer_among(entries);
  if (ours == nullptr) return ask(entries, timeout);
  if (knows(*ours, entries, timeout)) return 1;
  known = 0;
  const bool lies_here = taken != filled && (ours->events & POLLIN) != 0;
  const bool waits = timeout != 0 && !lies_here;
  if (waits && unacknowledged != 0 && unacknowledged <= small_talk) acknowledge();
  int count = ask(entries, lies_here ? 0 : timeout);
  if (!lies_here || count < 0) return count;
  if (ours->revents == 0) ++count;
  ours->revents |= POLLIN;
  return count;
}

}  // namespace

void use_peer_socket(int socket) noexcept {
  peer = socket;
  patient = takes_more = false;
  taken = filled = unacknowledged = 0;
}

bool read_ahead_by(std::chrono::steady_clock::time_point end) noexcept {
  return taken != filled || awake_until(end, [] {
           const ssize_t count = read_ahead(MSG_DONTWAIT);
           return count >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
         });
}

void wait_for_peer_to_take() noexcept {
  patient = true;
}

}  // namespace sallyport::sftp

// The linker alone is told the names: the C library's headers may define both inline.
extern "C" {

ssize_t sallyport_recv(int fd, void* to, std::size_t size, int flags) __asm__("recv");
ssize_t sallyport_send(int fd, const void* data, size_t size, int flags) __asm__("send");
int sallyport_poll(pollfd* entries, nfds_t count, int timeout) __asm__("poll");

ssize_t sallyport_recv(int fd, void* to, std::size_t size, int flags) {
  return sallyport::sftp::read_socket(fd, to, size, flags);
}

ssize_t sallyport_send(int fd, const void* data, size_t size, int flags) {
  return sallyport::sftp::write_socket(fd, data, size, flags);
}

int sallyport_poll(pollfd* entries, nfds_t count, int timeout) {
  return sallyport::sftp::look({entries, count}, timeout);
}

}  // extern "C"

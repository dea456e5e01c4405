#include "sftp/peer_socket.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>

namespace sallyport::sftp {
namespace {

int peer = -1;
bool patient = false;
// Touched only as far as something comes at once.
char bytes[256 * 1024];
std::size_t taken = 0;
std::size_t filled = 0;

ssize_t read_socket(int fd, void* to, std::size_t size, int flags) {
  if (fd != peer || flags != 0) return ::recvfrom(fd, to, size, flags, nullptr, nullptr);
  if (taken == filled) {
    const ssize_t count = ::recvfrom(fd, bytes, sizeof(bytes), 0, nullptr, nullptr);
    if (count <= 0) return count;
    taken = 0;
    filled = static_cast<std::size_t>(count);
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
  return count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? 0 : count;
}

// What has been read ahead is there to be read. The other descriptors are asked once it has been.
bool has_read_ahead(std::span<pollfd> entries) {
  if (taken == filled) return false;
  const auto ours = std::find_if(entries.begin(), entries.end(), [](const pollfd& entry) {
    return entry.fd == peer && (entry.events & POLLIN) != 0;
  });
  if (ours == entries.end()) return false;
  for (pollfd& entry : entries) entry.revents = 0;
  ours->revents = POLLIN;
  return true;
}

}  // namespace

void use_peer_socket(int socket) noexcept {
  peer = socket;
  patient = false;
  taken = filled = 0;
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
  if (sallyport::sftp::has_read_ahead({entries, count})) return 1;
  const timespec time{timeout / 1000, timeout % 1000 * 1'000'000L};
  return ::ppoll(entries, count, timeout < 0 ? nullptr : &time, nullptr);
}

}  // extern "C"

#include "sftp/read_ahead.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <algorithm>
#include <cstring>
#include <span>

namespace sallyport::sftp {
namespace {

int ahead_of = -1;
// Touched only as far as something comes at once.
char bytes[256 * 1024];
std::size_t taken = 0;
std::size_t filled = 0;

ssize_t read_socket(int fd, void* to, std::size_t size, int flags) {
  if (fd != ahead_of || flags != 0) return ::recvfrom(fd, to, size, flags, nullptr, nullptr);
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

// What has been read ahead is there to be read. The other descriptors are asked once it has been.
bool has_read_ahead(std::span<pollfd> entries) {
  if (taken == filled) return false;
  const auto ours = std::find_if(entries.begin(), entries.end(), [](const pollfd& entry) {
    return entry.fd == ahead_of && (entry.events & POLLIN) != 0;
  });
  if (ours == entries.end()) return false;
  for (pollfd& entry : entries) entry.revents = 0;
  ours->revents = POLLIN;
  return true;
}

}  // namespace

void read_ahead_of(int socket) noexcept {
  ahead_of = socket;
  taken = filled = 0;
}

}  // namespace sallyport::sftp

// The linker alone is told the names: the C library's headers may define both inline.
extern "C" {

ssize_t sallyport_recv(int fd, void* to, std::size_t size, int flags) __asm__("recv");
int sallyport_poll(pollfd* entries, nfds_t count, int timeout) __asm__("poll");

ssize_t sallyport_recv(int fd, void* to, std::size_t size, int flags) {
  return sallyport::sftp::read_socket(fd, to, size, flags);
}

int sallyport_poll(pollfd* entries, nfds_t count, int timeout) {
  if (sallyport::sftp::has_read_ahead({entries, count})) return 1;
  const timespec time{timeout / 1000, timeout % 1000 * 1'000'000L};
  return ::ppoll(entries, count, timeout < 0 ? nullptr : &time, nullptr);
}

}  // extern "C"

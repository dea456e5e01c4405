#include "daemon/hook/hook_client.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/c_handle.h"
#include "base/error.h"

namespace sallyport::daemon {
namespace {

using Clock = std::chrono::steady_clock;

// For the start of the service and its answer, on top of the hook's own time.
constexpr std::chrono::seconds service_time{15};
constexpr std::size_t answer_limit = hook_output_limit + 4096;

base::UniqueFd connect_to(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    throw base::Error("The path of the hook socket is too long: " + path);
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  base::UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) throw base::SystemError(errno, "make a socket for a hook");
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    throw base::SystemError(
        errno, "Hooks cannot run: connect to " + path + " (is sallyport-hook.socket started?)");
  }
  return fd;
}

void send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) throw base::SystemError(errno, "send the facts of a file to the hook service");
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

}  // namespace

HookOutcome ask_hook_service(const std::string& socket, const HookRequest& request, int cancel) {
  const std::string bytes = encode(request);
  if (bytes.size() > hook_request_limit) {
    throw base::Error("The facts of a file are too long for a hook");
  }
  const base::UniqueFd fd = connect_to(socket);
  // Small enough for the socket's buffer: this does not wait for the service to read.
  send_all(fd.get(), bytes);
  const auto deadline = Clock::now() + request.limit + service_time;
  std::string answer;
  while (answer.size() < answer_limit) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) {
      HookOutcome late;
      late.timed_out = true;
      return late;
    }
    std::array<pollfd, 2> entries{{{fd.get(), POLLIN, 0}, {cancel, POLLIN, 0}}};
    if (::poll(entries.data(), entries.size(), static_cast<int>(left)) <= 0) continue;
    if (entries[1].revents != 0) {
      HookOutcome interrupted;
      interrupted.refused = "interrupted: the daemon stops";
      return interrupted;
    }
    char buffer[4096];
    const ssize_t got = ::recv(fd.get(), buffer, sizeof(buffer), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw base::SystemError(errno, "read the answer of the hook service");
    if (got == 0) break;
    answer.append(buffer, static_cast<std::size_t>(got));
  }
  if (auto outcome = decode_hook_outcome(answer)) return *outcome;
  throw base::Error(
      "The hook service went away without an answer; see 'journalctl -u \"sallyport-hook@*\"'");
}

}  // namespace sallyport::daemon

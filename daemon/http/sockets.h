// Listening sockets and who is at the other end of an accepted one, by POSIX alone.
//
// Failures: HttpError with a sentence that names the option to change. Thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/c_handle.h"
#include "base/error.h"
#include "daemon/http/router.h"

namespace sallyport::daemon {

class HttpError : public base::Error {
 public:
  using base::Error::Error;
};

struct TcpListener {
  base::UniqueFd fd;
  int family = 0;
  std::uint16_t port = 0;  ///< the one chosen when 0 was asked for
};

/// "127.0.0.1:8480", "[::1]:0", "localhost:8480". Anything but loopback is refused unless `tls`.
[[nodiscard]] TcpListener listen_tcp(const std::string& address, bool tls);

/// Replaces a stale socket file, refuses to take one from a process that listens on it. Mode 0660
/// and `group`, both before the first connection can be made; a group that does not exist is an
/// error unless we are an ordinary user, who could not set it anyway.
[[nodiscard]] base::UniqueFd listen_unix(const std::string& path, const std::string& group);

/// Address and port, or the credentials of a unix peer.
[[nodiscard]] Peer identify_peer(int fd, Listener listener);

/// The caller on admin.sock: root, members of `group` (as primary or supplementary group of the
/// process), and our own user if `own_user`. CallerKind::none for everybody else, and for our own
/// user whatever groups it is in: gpg runs as it.
[[nodiscard]] Caller identify_local_caller(int fd, const Peer& peer, const std::string& group,
                                           bool own_user);

/// Lets this process hold `wanted` descriptors more than it is likely to use, as far as its hard
/// limit goes; returns the limit then in force.
std::uint64_t raise_descriptor_limit(std::uint64_t wanted);

}  // namespace sallyport::daemon

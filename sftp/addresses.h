// Addresses of peers and of ourselves as text and as keys for counting. Pure but for listen_on().
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/c_handle.h"

namespace sallyport::sftp {

struct PeerAddress {
  std::string text;  ///< "192.0.2.7", "2001:db8::1"; IPv4-mapped addresses as IPv4
  std::string
      network;  ///< what limits and bans count: the IPv4 address, or the /64 as "2001:db8::/64"
  std::uint16_t port = 0;
};
[[nodiscard]] PeerAddress describe_address(const sockaddr_storage& address);

/// Listening sockets for "ADDRESS:PORT", "[ADDRESS]:PORT" or ":PORT" (all addresses, v6 and v4).
/// Throws base::Error with a sentence that says what to do (address in use, not ours, not allowed).
[[nodiscard]] std::vector<base::UniqueFd> listen_on(const std::string& where);
/// "192.0.2.1:2222" of a listening socket.
[[nodiscard]] std::string local_address(int socket);
[[nodiscard]] std::uint16_t local_port(int socket);

}  // namespace sallyport::sftp

#include "sftp/addresses.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace sallyport::sftp {
namespace {

std::string text_of(const in6_addr& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  ::inet_ntop(AF_INET6, &address, text.data(), text.size());
  return text.data();
}
std::string text_of(const in_addr& address) {
  std::array<char, INET_ADDRSTRLEN> text{};
  ::inet_ntop(AF_INET, &address, text.data(), text.size());
  return text.data();
}

sockaddr_storage local(int socket) {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    throw base::SystemError(errno, "look at a listening socket");
  }
  return address;
}

base::UniqueFd listen_at_address(const addrinfo& info, const std::string& where) {
  base::UniqueFd socket(::socket(info.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) throw base::SystemError(errno, "create a socket for " + where);
  const int on = 1;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  // Each family has a socket of its own.
  if (info.ai_family == AF_INET6)
    ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
  if (::bind(socket.get(), info.ai_addr, info.ai_addrlen) != 0 ||
      ::listen(socket.get(), SOMAXCONN) != 0) {
    const int error = errno;
    switch (error) {
      case EADDRINUSE:
        throw base::Error(
            "Cannot listen on " + where +
            ": another program has the port already. Stop it, or choose another with --listen.");
      case EACCES:
        throw base::Error(
            "Cannot listen on " + where +
            ": ports below 1024 need CAP_NET_BIND_SERVICE. Use the systemd unit, or another port.");
      case EADDRNOTAVAIL:
        throw base::Error("Cannot listen on " + where + ": the address is none of this machine's.");
      default:
        throw base::SystemError(error, "listen on " + where);
    }
  }
  return socket;
}

}  // namespace

PeerAddress describe_address(const sockaddr_storage& address) {
  PeerAddress peer;
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    peer.text = text_of(v4.sin_addr);
    peer.network = peer.text;
    peer.port = ntohs(v4.sin_port);
  } else if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    peer.port = ntohs(v6.sin6_port);
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
      in_addr v4{};
      std::memcpy(&v4, v6.sin6_addr.s6_addr + 12, sizeof(v4));
      peer.text = text_of(v4);
      peer.network = peer.text;
    } else {
      peer.text = text_of(v6.sin6_addr);
      in6_addr network = v6.sin6_addr;
      std::memset(network.s6_addr + 8, 0, 8);
      peer.network = text_of(network) + "/64";
    }
  }
  return peer;
}

std::vector<base::UniqueFd> listen_on(const std::string& where) {
  const std::size_t colon = where.rfind(':');
  if (colon == std::string::npos || colon + 1 == where.size()) {
    throw base::Error("--listen " + where +
                      " is no address with a port: write 0.0.0.0:2222, [::]:2222 or :2222.");
  }
  std::string host = where.substr(0, colon);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int result = ::getaddrinfo(host.empty() ? nullptr : host.c_str(), where.c_str() + colon + 1,
                                   &hints, &found);
  if (result != 0) {
    throw base::Error("--listen " + where + " is no numeric address with a port (" +
                      ::gai_strerror(result) + "): write 0.0.0.0:2222, [::]:2222 or :2222.");
  }
  const base::CHandle<addrinfo, ::freeaddrinfo> list(found);
  std::vector<base::UniqueFd> sockets;
  for (const addrinfo* info = list.get(); info != nullptr; info = info->ai_next) {
    try {
      sockets.push_back(listen_at_address(*info, where));
    } catch (const base::SystemError&) {
      // A machine without IPv6 is no reason to fail where all addresses were asked for.
      if (!host.empty() || (info->ai_next == nullptr && sockets.empty())) throw;
    }
  }
  return sockets;
}

std::string local_address(int socket) {
  const PeerAddress address = describe_address(local(socket));
  const std::string port = std::to_string(address.port);
  return address.text.find(':') == std::string::npos ? address.text + ":" + port
                                                     : "[" + address.text + "]:" + port;
}

std::uint16_t local_port(int socket) {
  return describe_address(local(socket)).port;
}

}  // namespace sallyport::sftp

#include "daemon/http/sockets.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <grp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>

#include "daemon/net/ip.h"

namespace sallyport::daemon {

namespace {

constexpr int backlog = 1024;

/// One type for every kind of address, as the socket calls want it.
union SocketAddress {
  sockaddr any;
  sockaddr_in v4;
  sockaddr_in6 v6;
  sockaddr_un local;
  sockaddr_storage storage;
};

std::string reason() {
  return std::strerror(errno);  // NOLINT(concurrency-mt-unsafe): glibc's is thread-safe
}

std::optional<gid_t> group_id(const std::string& name) {
  std::vector<char> buffer(1 << 16);
  group entry{};
  group* found = nullptr;
  if (::getgrnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 || !found) {
    return std::nullopt;
  }
  return entry.gr_gid;
}

void remove_if_stale(const std::string& path, const SocketAddress& address) {
  struct stat facts {};
  if (::lstat(path.c_str(), &facts) != 0) return;
  if (!S_ISSOCK(facts.st_mode)) {
    throw HttpError(
        fmt::format("{} exists and is no socket: remove it or configure another path", path));
  }
  const base::UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(probe.get(), &address.any, sizeof(address.local)) == 0 || errno != ECONNREFUSED) {
    throw HttpError(fmt::format(
        "{} is in use: another instance is listening there; stop it or configure another path",
        path));
  }
  ::unlink(path.c_str());
}

std::vector<gid_t> peer_groups(int fd) {
  std::vector<gid_t> groups(64);
  for (;;) {
    auto size = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
    if (::getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size) == 0) {
      groups.resize(size / sizeof(gid_t));
      return groups;
    }
    if (errno != ERANGE) return {};
    groups.resize(size / sizeof(gid_t));
  }
}

}  // namespace

TcpListener listen_tcp(const std::string& address, bool tls) {
  const auto colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  TcpListener listener;
  const std::string port = colon == std::string::npos ? "" : address.substr(colon + 1);
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), listener.port);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  if (host == "localhost") host = "127.0.0.1";
  const auto ip = IpAddress::parse(host);
  if (!ip || error != std::errc{} || end != port.data() + port.size()) {
    throw HttpError(fmt::format(
        "http.listen = \"{}\" is no address: write ADDRESS:PORT, such as 127.0.0.1:8480 or [::1]:0",
        address));
  }
  if (!tls && IpRange::from(host)->special_kind() != "loopback") {
    throw HttpError(fmt::format(
        "http.listen = \"{}\" can be reached from other machines and would not be encrypted: set "
        "http.certificate_file and http.private_key_file, or listen on 127.0.0.1",
        address));
  }

  SocketAddress bound{};
  socklen_t size = 0;
  if (ip->is_v4() && host.find(':') == std::string::npos) {
    listener.family = AF_INET;
    bound.v4.sin_family = AF_INET;
    bound.v4.sin_port = htons(listener.port);
    ::inet_pton(AF_INET, host.c_str(), &bound.v4.sin_addr);
    size = sizeof(bound.v4);
  } else {
    listener.family = AF_INET6;
    bound.v6.sin6_family = AF_INET6;
    bound.v6.sin6_port = htons(listener.port);
    ::inet_pton(AF_INET6, host.c_str(), &bound.v6.sin6_addr);
    size = sizeof(bound.v6);
  }
  listener.fd.reset(::socket(listener.family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  const int off = 0;
  ::setsockopt(listener.fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (listener.family == AF_INET6) {
    ::setsockopt(listener.fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
  }
  if (!listener.fd || ::bind(listener.fd.get(), &bound.any, size) != 0 ||
      ::listen(listener.fd.get(), backlog) != 0) {
    throw HttpError(fmt::format(
        "cannot listen on http.listen = \"{}\": {}; stop what uses the port or choose another one",
        address, reason()));
  }
  size = sizeof(bound);
  if (::getsockname(listener.fd.get(), &bound.any, &size) == 0) {
    listener.port = ntohs(listener.family == AF_INET ? bound.v4.sin_port : bound.v6.sin6_port);
  }
  return listener;
}

base::UniqueFd listen_unix(const std::string& path, const std::string& group) {
  SocketAddress address{};
  address.local.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.local.sun_path)) {
    throw HttpError(
        fmt::format("the socket path {} is longer than {} bytes: configure a shorter one", path,
                    sizeof(address.local.sun_path) - 1));
  }
  std::copy(path.begin(), path.end(), address.local.sun_path);
  remove_if_stale(path, address);

  base::UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  // Between bind and listen nobody can connect: that is when the permissions are set.
  if (!fd || ::bind(fd.get(), &address.any, sizeof(address.local)) != 0) {
    throw HttpError(fmt::format(
        "cannot make the socket {}: {}; its directory must exist and be writable for the daemon",
        path, reason()));
  }
  const auto wanted_group = group.empty() ? std::nullopt : group_id(group);
  if (!group.empty() && !wanted_group && ::geteuid() == 0) {
    throw HttpError(fmt::format(
        "the group {} of the socket {} does not exist: run systemd-sysusers or create the group",
        group, path));
  }
  // An ordinary user who is no member keeps its own group: it then serves itself alone.
  if (wanted_group && ::chown(path.c_str(), static_cast<uid_t>(-1), *wanted_group) != 0 &&
      ::geteuid() == 0) {
    throw HttpError(
        fmt::format("cannot give the socket {} to group {}: {}", path, group, reason()));
  }
  if (::chmod(path.c_str(), 0660) != 0 || ::listen(fd.get(), backlog) != 0) {
    throw HttpError(fmt::format("cannot listen on the socket {}: {}", path, reason()));
  }
  return fd;
}

Peer identify_peer(int fd, Listener listener) {
  Peer peer;
  peer.listener = listener;
  if (listener != Listener::tcp) {
    ucred credentials{};
    socklen_t size = sizeof(credentials);
    if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
      throw HttpError("cannot read the credentials of a unix peer: " + reason());
    }
    peer.uid = credentials.uid;
    peer.gid = credentials.gid;
    return peer;
  }
  SocketAddress remote{};
  socklen_t size = sizeof(remote);
  if (::getpeername(fd, &remote.any, &size) != 0) return peer;  // gone already: no address
  char text[INET6_ADDRSTRLEN] = {};
  if (remote.any.sa_family == AF_INET) {
    ::inet_ntop(AF_INET, &remote.v4.sin_addr, text, sizeof(text));
    peer.port = ntohs(remote.v4.sin_port);
  } else {
    ::inet_ntop(AF_INET6, &remote.v6.sin6_addr, text, sizeof(text));
    peer.port = ntohs(remote.v6.sin6_port);
  }
  const auto ip = IpAddress::parse(text);
  peer.address = ip ? ip->to_string() : "";
  return peer;
}

Caller identify_local_caller(int fd, const Peer& peer, const std::string& group, bool own_user) {
  Caller caller;
  caller.uid = peer.uid;
  caller.source = "admin.sock";
  const bool is_own = peer.uid == ::geteuid();
  bool allowed = peer.uid == 0 || (own_user && is_own);
  // What runs as us works on what strangers send (gpg): it is in our groups, but no administrator.
  if (!allowed && !is_own) {
    if (const auto wanted = group_id(group)) {
      const auto groups = peer_groups(fd);
      allowed =
          peer.gid == *wanted || std::find(groups.begin(), groups.end(), *wanted) != groups.end();
    }
  }
  if (allowed) caller.kind = CallerKind::local;
  return caller;
}

std::uint64_t raise_descriptor_limit(std::uint64_t wanted) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  if (limit.rlim_cur < wanted) {
    limit.rlim_cur = std::min<rlim_t>(wanted, limit.rlim_max);
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
  return limit.rlim_cur;
}

}  // namespace sallyport::daemon

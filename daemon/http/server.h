// The HTTP server: three listeners (admin.sock, verify.sock, TCP with or without TLS),
// asynchronous, so that idle and slow connections cost memory only, never a thread.
//
// I/O threads parse, answer /verify and /introspect through the GatewayHandler, and write; all
// other requests run on worker threads, where they may use the store. A connection that sends
// nothing, half a header, or reads too slowly is closed after its own timeout; when nearly all
// connections are taken those timeouts shrink.
//
// Ownership: the router and the handler outlive the server. start() throws HttpError; after it
// everything is safe from any thread. stop() lets running requests end (5 s), then returns with
// every thread joined; the destructor stops too.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/instant.h"
#include "daemon/http/gateway_handler.h"
#include "daemon/http/router.h"
#include "daemon/http/sockets.h"

namespace sallyport::daemon {

struct TlsFiles {
  std::string certificate;  ///< PEM chain; empty: no TLS
  std::string private_key;  ///< PEM; a path, or the name of a systemd credential
  std::string client_ca;    ///< its clients' certificates are as good as a gateway token
};

struct ServerOptions {
  std::string admin_socket;  ///< empty: not served
  std::string admin_group;
  bool admin_own_user = false;  ///< our own user may use admin.sock as root may
  std::string verify_socket;    ///< empty: not served
  std::string verify_group;
  std::string listen;  ///< ADDRESS:PORT; empty: no TCP
  TlsFiles tls;
  unsigned io_threads = 2;
  unsigned workers = 4;
  unsigned max_connections = 10000;
  unsigned max_tls_connections = 2000;  ///< 75 KB each, against 3 KB without TLS
  base::Seconds header_timeout{10};
  base::Seconds idle_timeout{120};
  /// Of all requests' bodies together, while they come: anybody may send one.
  std::uint64_t max_buffered_bytes = 256UL << 20;
  std::uint64_t max_body_bytes = 1 << 20;
};

class Server {
 public:
  Server(ServerOptions options, const Router& router, GatewayHandler& gateway,
         const base::Clock& clock);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Opens the listeners and starts the threads.
  void start();
  /// The TCP port in use; 0 without TCP.
  [[nodiscard]] std::uint16_t port() const;
  /// Reads certificate, key and client CA again, from these files; new connections use them. Throws
  /// HttpError and goes on with the old ones when they cannot be used. Whether there is TLS at all
  /// is decided at the start.
  void reload_certificates(const TlsFiles& files);
  void stop();

  [[nodiscard]] unsigned connections() const;
  /// When the slowest I/O thread last went round, by the monotonic clock: for the watchdog.
  [[nodiscard]] std::chrono::nanoseconds last_alive() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sallyport::daemon

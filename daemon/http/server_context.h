// Private to server.cc: what its connections share, their states with the time that each may last,
// and the I/O thread that a connection belongs to.
#pragma once

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <atomic>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/beast/http/verb.hpp>
#include <chrono>
#include <string>
#include <unordered_set>

#include "base/c_handle.h"
#include "base/log.h"
#include "daemon/http/server.h"
#include "daemon/http/server_parser.h"
#include "daemon/http/server_reply.h"

namespace sallyport::daemon {

namespace asio = boost::asio;
namespace beast = boost::beast;
using Socket = asio::generic::stream_protocol::socket;
using TlsStream = asio::ssl::stream<Socket>;
using SteadyTime = std::chrono::steady_clock::time_point;

/// What connections share.
struct ServerContext {
  const ServerOptions& options;
  const Router& router;
  GatewayHandler& gateway;
  const base::Clock& clock;
  asio::thread_pool workers;
  std::atomic<unsigned> queued{0};
  std::atomic<unsigned> connections{0};
  std::atomic<unsigned> tls_connections{0};
  std::atomic<std::uint64_t> buffered{0};  ///< bytes of bodies
  std::atomic<bool> stopping{false};
  RequestIds ids;

  ServerContext(const ServerOptions& all, const Router& routes, GatewayHandler& handler,
                const base::Clock& time)
      : options(all), router(routes), gateway(handler), clock(time), workers(all.workers) {}
};

/// More waiting requests than this are refused with 503: they would be answered too late anyway.
inline constexpr unsigned max_queued_requests = 512;
inline constexpr std::size_t file_chunk_bytes = 256 * 1024;
inline constexpr std::chrono::seconds body_timeout{60};    // of at most max_body_bytes
inline constexpr std::chrono::seconds write_timeout{60};   // without any progress
inline constexpr std::chrono::seconds linger_timeout{2};   // for a refused request's rest
inline constexpr std::chrono::seconds crowded_timeout{1};  // when connections run out
inline constexpr std::chrono::seconds crowded_body_timeout{5};

enum class ConnectionState { handshake, idle, header, body, handling, writing, lingering };

class ConnectionBase {
 public:
  virtual ~ConnectionBase() = default;
  virtual void close() = 0;
  [[nodiscard]] ConnectionState state() const { return state_; }

  /// True if this connection has been in its state for too long.
  [[nodiscard]] bool overdue(SteadyTime now, bool crowded, const ServerOptions& options) const {
    std::chrono::steady_clock::duration limit = write_timeout;
    switch (state_) {
      case ConnectionState::handling:
        return false;
      case ConnectionState::idle:
        limit = crowded ? std::chrono::seconds(crowded_timeout) : options.idle_timeout;
        break;
      case ConnectionState::handshake:
      case ConnectionState::header:
        limit = crowded ? std::chrono::seconds(crowded_timeout) : options.header_timeout;
        break;
      case ConnectionState::body:
        limit = crowded ? std::chrono::seconds(crowded_body_timeout) : body_timeout;
        break;
      case ConnectionState::writing:
        limit = write_timeout;
        break;
      case ConnectionState::lingering:
        limit = linger_timeout;
        break;
    }
    return now - since_ > limit;
  }

 protected:
  void enter(ConnectionState state) {
    state_ = state;
    since_ = std::chrono::steady_clock::now();
  }
  ConnectionState state_ = ConnectionState::idle;
  SteadyTime since_ = std::chrono::steady_clock::now();
};

/// The connections of one I/O thread.
struct IoThread {
  explicit IoThread(unsigned number) : index(number), context(1) {}
  unsigned index;
  std::unordered_set<ConnectionBase*> connections;  // outlives what the context still holds
  asio::io_context context;
};

[[nodiscard]] inline Method method_of(beast::http::verb verb) {
  switch (verb) {
    case beast::http::verb::get:
      return Method::get;
    case beast::http::verb::head:
      return Method::head;
    case beast::http::verb::post:
      return Method::post;
    case beast::http::verb::put:
      return Method::put;
    case beast::http::verb::delete_:
      return Method::delete_;
    case beast::http::verb::patch:
      return Method::patch;
    case beast::http::verb::options:
      return Method::options;
    default:
      return Method::other;
  }
}

/// The subject of the certificate that the client proved to own; empty if it showed none.
[[nodiscard]] inline std::string client_subject(SSL* ssl) {
  const base::CHandle<X509, X509_free> certificate(SSL_get1_peer_certificate(ssl));
  if (!certificate || SSL_get_verify_result(ssl) != X509_V_OK) return {};
  char text[512] = {};
  X509_NAME_oneline(X509_get_subject_name(certificate.get()), text, sizeof(text));
  return text;
}

}  // namespace sallyport::daemon

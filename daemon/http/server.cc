// The one translation unit that includes Asio and Beast: 20 s and 850 MB to compile.
#include <utility>  // before Asio: Boost 1.74 forgets it in C++20

#include "daemon/http/server.h"
//
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <condition_variable>
#include <thread>

#include "base/file_io.h"
#include "base/locked.h"
#include "daemon/http/server_connection.h"
#include "daemon/http/tls_context.h"

namespace sallyport::daemon {

namespace {

using Acceptor = asio::basic_socket_acceptor<asio::generic::stream_protocol>;

constexpr std::chrono::milliseconds tick{500};
constexpr std::chrono::milliseconds accept_pause{100};  // after running out of descriptors
constexpr std::chrono::seconds stop_patience{5};

}  // namespace

class Server::Impl {
 public:
  Impl(ServerOptions options, const Router& router, GatewayHandler& gateway,
       const base::Clock& clock)
      : options_(std::move(options)), context_(options_, router, gateway, clock) {
    for (unsigned i = 0; i < std::max(1U, options_.io_threads); ++i) {
      threads_.push_back(std::make_unique<IoThread>(i));
      alive_.push_back(std::make_unique<std::atomic<std::int64_t>>(0));
    }
  }
  ~Impl() { stop(); }

  void start() {
    const std::uint64_t wanted = options_.max_connections + 1024ULL;
    if (const auto limit = raise_descriptor_limit(wanted); limit < wanted) {
      base::log_warning("http.few_descriptors", {{"limit", limit}},
                        "only {} descriptors are allowed, fewer than http.max_connections needs: "
                        "raise LimitNOFILE",
                        limit);
    }
    const bool tls = !options_.tls.certificate.empty();
    reload_certificates(options_.tls);
    if (!options_.admin_socket.empty()) {
      add_unix_listener(options_.admin_socket, options_.admin_group, Listener::admin_socket);
    }
    if (!options_.verify_socket.empty()) {
      add_unix_listener(options_.verify_socket, options_.verify_group, Listener::verify_socket);
    }
    if (!options_.listen.empty()) {
      TcpListener tcp = listen_tcp(options_.listen, tls);
      port_ = tcp.port;
      add_listener(std::move(tcp.fd), tcp.family, Listener::tcp);
    }
    for (auto& listening : listeners_) accept(*listening);
    for (auto& thread : threads_) {
      IoThread* io = thread.get();
      alive_[io->index]->store(context_.clock.monotonic().count());
      guards_.push_back(asio::make_work_guard(io->context));
      timers_.push_back(std::make_unique<asio::steady_timer>(io->context));
      schedule_tick(*io, *timers_.back());
      runners_.emplace_back([io] {
        ::pthread_setname_np(::pthread_self(), fmt::format("http-io-{}", io->index).c_str());
        run(*io);
      });
    }
  }

  void reload_certificates(const TlsFiles& files) {
    if (files.certificate.empty() != options_.tls.certificate.empty()) {
      throw HttpError(
          "http.certificate_file was set or removed, which takes effect with a restart only");
    }
    if (files.certificate.empty()) return;
    auto fresh = make_tls_context(files);
    tls_.set(std::move(fresh));
  }

  void stop() {
    if (std::exchange(stopped_, true)) return;
    context_.stopping = true;
    if (!runners_.empty()) {
      for (auto& thread : threads_) {
        asio::post(thread->context, [this, io = thread.get()] { stop_accepting(*io); });
      }
      wait_for_connections();
      for (auto& thread : threads_) {
        asio::post(thread->context, [io = thread.get()] {
          const auto all =
              std::vector<ConnectionBase*>(io->connections.begin(), io->connections.end());
          for (ConnectionBase* connection : all) connection->close();
        });
      }
      guards_.clear();
    }
    context_.workers.join();
    for (auto& thread : threads_)
      asio::post(thread->context, [io = thread.get()] { io->context.stop(); });
    for (std::thread& runner : runners_) runner.join();
    for (const std::string& path : socket_files_) ::unlink(path.c_str());
  }

  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] unsigned connections() const { return context_.connections; }
  [[nodiscard]] std::chrono::nanoseconds last_alive() const {
    std::int64_t oldest = alive_.front()->load();
    for (const auto& alive : alive_) oldest = std::min(oldest, alive->load());
    return std::chrono::nanoseconds(oldest);
  }

 private:
  struct Listening {
    Listening(asio::io_context& home, Listener kind)
        : listener(kind), acceptor(home), pause(home) {}
    Listener listener;
    Acceptor acceptor;
    asio::steady_timer pause;
    unsigned next_thread = 0;
  };

  static void run(IoThread& io) {
    for (;;) {
      try {
        io.context.run();
        return;
      } catch (const std::exception& error) {
        // Out of memory, in practice: that connection ends, the others go on.
        base::log_error("http.connection_failed", {}, "a connection failed: {}", error.what());
      }
    }
  }

  void add_unix_listener(const std::string& path, const std::string& group, Listener listener) {
    base::UniqueFd fd = listen_unix(path, group);
    socket_files_.push_back(path);
    add_listener(std::move(fd), AF_UNIX, listener);
  }

  void add_listener(base::UniqueFd fd, int family, Listener listener) {
    auto listening = std::make_unique<Listening>(threads_.front()->context, listener);
    listening->acceptor.assign(asio::generic::stream_protocol(family, 0), fd.get());
    (void)fd.release();
    listeners_.push_back(std::move(listening));
  }

  // ---- accepting, on the first I/O thread; connections go round all of them

  void accept(Listening& listening) {
    IoThread& io = *threads_[listening.next_thread++ % threads_.size()];
    listening.acceptor.async_accept(
        io.context, [this, &listening, &io](const beast::error_code& error, Socket socket) {
          if (error == asio::error::operation_aborted || context_.stopping) return;
          if (error) return pause(listening, error);
          admit(std::move(socket), listening.listener, io);
          accept(listening);
        });
  }

  void pause(Listening& listening, const beast::error_code& error) {
    if (!std::exchange(accept_failing_, true)) {
      base::log_error("http.accept_failed", {}, "connections cannot be accepted at the moment: {}",
                      error.message());
    }
    listening.pause.expires_after(accept_pause);
    listening.pause.async_wait([this, &listening](const beast::error_code& aborted) {
      if (!aborted) accept(listening);
    });
  }

  void admit(Socket socket, Listener listener, IoThread& io) {
    accept_failing_ = false;
    const bool tls = listener == Listener::tcp && !options_.tls.certificate.empty();
    if (context_.connections >= options_.max_connections ||
        (tls && context_.tls_connections >= options_.max_tls_connections)) {
      if (!std::exchange(full_, true)) {
        base::log_warning("http.connections_full", {{"connections", context_.connections.load()}},
                          "all {} connections are taken: new ones are closed at once",
                          context_.connections.load());
      }
      return;  // closed by its destructor
    }
    full_ = false;
    try {
      beast::error_code ignored;
      socket.non_blocking(true, ignored);
      Peer peer = identify_peer(socket.native_handle(), listener);
      Caller caller;
      if (listener == Listener::admin_socket) {
        caller = identify_local_caller(socket.native_handle(), peer, options_.admin_group,
                                       options_.admin_own_user);
      } else if (listener == Listener::tcp) {
        const int on = 1;
        ::setsockopt(socket.native_handle(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
      }
      asio::post(io.context, [this, tls, &io, socket = std::move(socket), peer = std::move(peer),
                              caller = std::move(caller)]() mutable {
        begin(std::move(socket), std::move(peer), std::move(caller), tls, io);
      });
    } catch (const base::Error& error) {
      base::log_warning("http.peer_unknown", {}, "a connection was closed: {}", error.what());
    }
  }

  /// On the connection's own thread.
  void begin(Socket socket, Peer peer, Caller caller, bool tls, IoThread& io) {
    if (context_.stopping) return;
    if (tls) {
      const auto certificates = tls_.get();
      std::make_shared<Connection<TlsStream>>(TlsStream(std::move(socket), *certificates),
                                              std::move(peer), std::move(caller), context_, io)
          ->start();
    } else {
      std::make_shared<Connection<Socket>>(std::move(socket), std::move(peer), std::move(caller),
                                           context_, io)
          ->start();
    }
  }

  // ---- timeouts, on each I/O thread

  void schedule_tick(IoThread& io, asio::steady_timer& timer) {
    timer.expires_after(tick);
    timer.async_wait([this, &io, &timer](const beast::error_code& error) {
      if (error) return;
      alive_[io.index]->store(context_.clock.monotonic().count());
      const auto now = std::chrono::steady_clock::now();
      const bool crowded = context_.connections > options_.max_connections / 8 * 7;
      std::vector<ConnectionBase*> overdue;
      for (ConnectionBase* connection : io.connections) {
        if (connection->overdue(now, crowded, options_)) overdue.push_back(connection);
      }
      // close() only cancels: the object ends when its cancelled operation is delivered.
      for (ConnectionBase* connection : overdue) connection->close();
      schedule_tick(io, timer);
    });
  }

  // ---- stopping

  void stop_accepting(IoThread& io) {
    if (&io == threads_.front().get()) {
      for (auto& listening : listeners_) {
        beast::error_code ignored;
        listening->acceptor.close(ignored);
        listening->pause.cancel();
      }
    }
    std::vector<ConnectionBase*> idle;
    for (ConnectionBase* connection : io.connections) {
      if (connection->state() == ConnectionState::idle) idle.push_back(connection);
    }
    for (ConnectionBase* connection : idle) connection->close();
  }

  void wait_for_connections() const {
    const auto deadline = std::chrono::steady_clock::now() + stop_patience;
    while (context_.connections > 0 && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }

  const ServerOptions options_;
  std::vector<std::unique_ptr<std::atomic<std::int64_t>>> alive_;
  ServerContext context_;  // outlives the connections, which end with threads_ at the latest
  std::vector<std::unique_ptr<IoThread>> threads_;
  std::vector<std::unique_ptr<Listening>> listeners_;
  std::vector<std::unique_ptr<asio::steady_timer>> timers_;
  std::vector<asio::executor_work_guard<asio::io_context::executor_type>> guards_;
  std::vector<std::thread> runners_;
  base::Locked<std::shared_ptr<asio::ssl::context>> tls_;
  std::vector<std::string> socket_files_;  ///< those that are ours to remove
  std::uint16_t port_ = 0;
  bool stopped_ = false;
  bool accept_failing_ = false;
  bool full_ = false;
};

Server::Server(ServerOptions options, const Router& router, GatewayHandler& gateway,
               const base::Clock& clock)
    : impl_(std::make_unique<Impl>(std::move(options), router, gateway, clock)) {}
Server::~Server() = default;

void Server::start() {
  impl_->start();
}
std::uint16_t Server::port() const {
  return impl_->port();
}
void Server::reload_certificates(const TlsFiles& files) {
  impl_->reload_certificates(files);
}
void Server::stop() {
  impl_->stop();
}
unsigned Server::connections() const {
  return impl_->connections();
}
std::chrono::nanoseconds Server::last_alive() const {
  return impl_->last_alive();
}

}  // namespace sallyport::daemon

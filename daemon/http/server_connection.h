// Private to server.cc (it includes Asio and Beast): one connection, from the handshake to its end.
//
// A connection belongs to one I/O thread and is touched by no other: its io_context is run by that
// thread alone, so there are no strands and no locks. Its timeouts are one state with the instant
// at which it was entered, looked at by the thread's once-a-second tick.
#pragma once

#include <unistd.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "base/log.h"
#include "daemon/http/server_context.h"
#include "daemon/http/uri.h"

namespace sallyport::daemon {

template <class Stream>
class Connection final : public ConnectionBase,
                         public std::enable_shared_from_this<Connection<Stream>> {
 public:
  static constexpr bool tls = std::is_same_v<Stream, TlsStream>;

  Connection(Stream stream, Peer peer, Caller caller, ServerContext& server, IoThread& thread)
      : stream_(std::move(stream)),
        peer_(std::move(peer)),
        caller_(std::move(caller)),
        server_(server),
        thread_(thread) {
    ++server_.connections;
    if constexpr (tls) ++server_.tls_connections;
    thread_.connections.insert(this);
  }
  ~Connection() override {
    thread_.connections.erase(this);
    --server_.connections;
    if constexpr (tls) --server_.tls_connections;
    server_.buffered -= buffered_;
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void start() {
    if constexpr (tls) {
      peer_.tls = true;
      enter(ConnectionState::handshake);
      stream_.async_handshake(asio::ssl::stream_base::server,
                              [self = this->shared_from_this()](const beast::error_code& error) {
                                if (error) return;
                                self->peer_.client_certificate =
                                    client_subject(self->stream_.native_handle());
                                self->next_request();
                              });
    } else {
      next_request();
    }
  }

  void close() override {
    closed_ = true;
    beast::error_code ignored;
    socket().close(ignored);
  }

 private:
  Socket& socket() {
    if constexpr (tls) {
      return stream_.next_layer();
    } else {
      return stream_;
    }
  }

  // ---- reading

  void next_request() {
    request_.clear();
    (void)count_body();
    parser_.emplace(request_, server_.options.max_body_bytes);
    if (buffer_.size() > 0) {  // pipelined
      enter(ConnectionState::header);
      parse();
    } else {
      enter(ConnectionState::idle);
      if (server_.stopping) return close();
      read();
    }
  }

  void read() {
    if (closed_) return;
    // Everything that was read has been parsed but for a piece of the header, which the parser
    // bounds: the buffer needs no limit of its own.
    stream_.async_read_some(
        buffer_.prepare(read_size_),
        [self = this->shared_from_this()](const beast::error_code& error, std::size_t bytes) {
          if (error) return;
          self->buffer_.commit(bytes);
          if (self->state_ == ConnectionState::idle) {
            self->enter(ConnectionState::header);
          }
          self->parse();
        });
  }

  void parse() {
    beast::error_code error;
    while (buffer_.size() > 0 && !parser_->is_done()) {
      const std::size_t used = parser_->put(buffer_.data(), error);
      buffer_.consume(used);
      if (error == beast::http::error::need_more) {
        error = {};
        break;
      }
      if (error) return refuse(error);
      if (used == 0) break;
    }
    if (!count_body()) return refuse_body();
    if (parser_->is_done()) return dispatch();
    if (request_.header_complete && state_ == ConnectionState::header) {
      enter(ConnectionState::body);
      read_size_ = 64 * 1024;
      if (request_.expects_continue) return send_continue();
    }
    read();
  }

  /// False if all bodies together are too much; an answered one does not count any more.
  [[nodiscard]] bool count_body() {
    const std::uint64_t size = request_.body.size();
    const std::uint64_t all = server_.buffered += size - buffered_;
    buffered_ = size;
    return all <= server_.options.max_buffered_bytes || size == 0;
  }

  void refuse_body() {
    keep_alive_ = false;
    linger_ = true;
    head_ = false;
    request_.clear();
    (void)count_body();
    const int status = peer_.listener == Listener::verify_socket ? 401 : 503;
    send(problem(status, "BUSY", "Too many bodies are being received: repeat this one later."),
         server_.ids.next());
  }

  void send_continue() {
    static constexpr std::string_view text = "HTTP/1.1 100 Continue\r\n\r\n";
    asio::async_write(
        stream_, asio::buffer(text.data(), text.size()),
        [self = this->shared_from_this()](const beast::error_code& error, std::size_t) {
          if (!error) self->read();
        });
  }

  /// A message that is no HTTP, or over a limit: answered, then closed.
  void refuse(const beast::error_code& error) {
    keep_alive_ = false;
    linger_ = true;
    head_ = false;
    int status = 400;
    std::string_view code = "MALFORMED_REQUEST";
    std::string detail = "The request is no well-formed HTTP: " + error.message() + ".";
    if (error == beast::http::error::header_limit) {
      status = 431;
      code = "HEADER_TOO_LARGE";
      detail = "The header is too large: at most 64 KiB and 256 fields.";
    } else if (error == beast::http::error::body_limit) {
      status = 413;
      code = "BODY_TOO_LARGE";
      detail = "The body is too large: at most " + std::to_string(server_.options.max_body_bytes) +
               " bytes.";
    }
    // To a gateway every answer but 200, 401 and 403 is a failure of ours.
    if (peer_.listener == Listener::verify_socket) status = 401;
    send(problem(status, code, detail), server_.ids.next());
  }

  // ---- answering

  void dispatch() {
    keep_alive_ = parser_->keep_alive() && !server_.stopping;
    head_ = request_.verb == beast::http::verb::head;
    enter(ConnectionState::handling);
    if (peer_.listener != Listener::admin_socket &&
        (is_verify_target(request_.target) || is_introspect_target(request_.target))) {
      return answer_gateway();
    }
    if (peer_.listener == Listener::verify_socket) {
      return send(problem(404, "NOT_FOUND", "This socket serves /verify and /introspect only."),
                  server_.ids.next());
    }
    if (server_.queued >= max_queued_requests) {
      Response busy = problem(503, "BUSY", "Too many requests are waiting: repeat this one later.");
      busy.headers.emplace_back("Retry-After", "1");
      return send(std::move(busy), server_.ids.next());
    }
    ++server_.queued;
    asio::post(server_.workers,
               [self = this->shared_from_this(), request = make_request()]() mutable {
                 --self->server_.queued;
                 handle(std::move(self), request);
               });
  }

  void answer_gateway() {
    extra_.clear();
    body_.clear();
    const GatewayRequest request{request_.method, request_.target, request_.headers(),
                                 request_.body,   peer_,           thread_.index};
    const int status = server_.gateway.answer(request, extra_, body_);
    start_reply(out_, status, keep_alive_, body_.size());
    out_.append(extra_).append("\r\n");
    if (!head_) out_.append(body_);
    body_.clear();
    write();
  }

  Request make_request() {
    Request request;
    request.method = method_of(request_.verb);
    const std::string_view target = request_.target;
    const auto mark = target.find('?');
    request.path = target.substr(0, mark);
    query_ = mark == std::string_view::npos ? "" : target.substr(mark + 1);
    for (const HeaderView& field : request_.headers()) {
      request.headers.emplace_back(lower_case(field.name), field.value);
    }
    request.body = std::move(request_.body);
    request.peer = peer_;
    request.caller = caller_;
    if (caller_.source.empty()) request.caller.source = peer_.address;
    request.id = server_.ids.choose(request.header("x-request-id"));
    return request;
  }

  /// On a worker thread. Hands the connection back to its own thread, where alone it may end.
  static void handle(std::shared_ptr<Connection> self, Request& request) {
    Response response = self->answer(request);
    base::log_debug("http.request",
                    {{"request_id", request.id},
                     {"method", method_name(request.method)},
                     {"path", request.path},
                     {"status", response.status},
                     {"actor", request.caller.actor()}},
                    "{} {} -> {}", method_name(request.method), request.path, response.status);
    asio::io_context& home = self->thread_.context;
    asio::post(home, [self = std::move(self), response = std::move(response),
                      id = request.id]() mutable { self->send(std::move(response), id); });
  }

  Response answer(Request& request) const {
    auto query = parse_query(query_);
    if (!query) return problem(400, "INVALID_QUERY", "The query has a malformed %-escape.");
    request.query = std::move(*query);
    if (peer_.listener == Listener::admin_socket && caller_.kind == CallerKind::none) {
      return problem(403, "NOT_AN_ADMINISTRATOR",
                     "Only root and members of the group '" + server_.options.admin_group +
                         "' may use this socket: ask for membership and log in again.");
    }
    return server_.router.handle(request);
  }

  void send(Response response, const std::string& id) {
    const std::uint64_t length = response.file ? response.file->length : response.body.size();
    start_reply(out_, response.status, keep_alive_, length);
    finish_reply(out_, response, id, server_.clock.now());
    body_.clear();
    file_.reset();
    if (!head_) {
      body_ = std::move(response.body);
      file_ = std::move(response.file);
    }
    write();
  }

  // ---- writing: out_, then body_, then file_ chunk by chunk

  void write() {
    enter(ConnectionState::writing);
    written_ = 0;
    write_some();
  }

  void write_some() {
    if (closed_) return;
    const std::array<asio::const_buffer, 2> rest = {
        asio::buffer(out_) + written_,
        asio::buffer(body_) + (written_ > out_.size() ? written_ - out_.size() : 0)};
    stream_.async_write_some(
        rest, [self = this->shared_from_this()](const beast::error_code& error, std::size_t bytes) {
          if (error) return self->close();
          self->written_ += bytes;
          if (self->written_ < self->out_.size() + self->body_.size()) {
            self->enter(ConnectionState::writing);  // progress
            return self->write_some();
          }
          self->written();
        });
  }

  void written() {
    if (file_ && file_->length > 0) return read_file_chunk();
    file_.reset();
    out_.clear();
    body_.clear();
    if (body_.capacity() > 64 * 1024) body_.shrink_to_fit();
    read_size_ = 4096;
    if (keep_alive_) return next_request();
    end();
  }

  /// The disk may be slow: it is read on a worker.
  void read_file_chunk() {
    enter(ConnectionState::handling);
    asio::post(server_.workers, [self = this->shared_from_this()]() mutable {
      FileBody& file = *self->file_;
      std::string chunk(
          static_cast<std::size_t>(std::min<std::uint64_t>(file.length, file_chunk_bytes)), '\0');
      const ssize_t bytes =
          ::pread(file.fd.get(), chunk.data(), chunk.size(), static_cast<off_t>(file.offset));
      chunk.resize(bytes > 0 ? static_cast<std::size_t>(bytes) : 0);
      asio::io_context& home = self->thread_.context;
      asio::post(home, [self = std::move(self), chunk = std::move(chunk)]() mutable {
        // A file that ends early or cannot be read: the client sees that bytes are missing.
        if (chunk.empty()) return self->close();
        self->file_->offset += chunk.size();
        self->file_->length -= chunk.size();
        self->out_.clear();
        self->body_ = std::move(chunk);
        self->write();
      });
    });
  }

  // ---- ending

  void end() {
    if constexpr (tls) {
      enter(ConnectionState::lingering);
      stream_.async_shutdown(
          [self = this->shared_from_this()](const beast::error_code&) { self->close(); });
    } else {
      if (!linger_) return close();
      // Closing with unread bytes would reset the connection and take the answer away with it.
      enter(ConnectionState::lingering);
      beast::error_code ignored;
      socket().shutdown(Socket::shutdown_send, ignored);
      drain(4 * 1024 * 1024);
    }
  }

  void drain(std::size_t most) {
    if (closed_) return;
    buffer_.clear();
    stream_.async_read_some(
        buffer_.prepare(64 * 1024),
        [self = this->shared_from_this(), most](const beast::error_code& error, std::size_t bytes) {
          if (error || bytes >= most) return self->close();
          self->drain(most - bytes);
        });
  }

  Stream stream_;
  Peer peer_;
  Caller caller_;
  ServerContext& server_;
  IoThread& thread_;
  beast::flat_buffer buffer_;
  std::size_t read_size_ = 4096;
  ParsedRequest request_;
  std::optional<RequestParser> parser_;
  std::string query_;
  std::string extra_;
  std::string out_;
  std::string body_;
  std::optional<FileBody> file_;
  std::size_t written_ = 0;
  std::uint64_t buffered_ = 0;  ///< of our body, in the server's count
  bool keep_alive_ = false;
  bool head_ = false;
  bool linger_ = false;
  bool closed_ = false;
};

}  // namespace sallyport::daemon

// A client that can do what well-behaved ones do not: half-sent, dripping and malformed requests.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <chrono>
#include <cstring>
#include <string>
#include <string_view>

#include "base/c_handle.h"

namespace sallyport::daemon::test {

inline constexpr std::chrono::seconds patience{20};

class HttpClient {
 public:
  static HttpClient tcp(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return HttpClient(AF_INET, &address, sizeof(address));
  }
  static HttpClient local(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    return HttpClient(AF_UNIX, &address, sizeof(address));
  }

  [[nodiscard]] bool connected() const { return connected_; }
  /// false when the other side has closed.
  bool send(std::string_view text) {
    while (!text.empty()) {
      const ssize_t sent = ::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      text.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

  struct Reply {
    int status = 0;  ///< 0: closed without an answer
    std::string head;
    std::string body;
    [[nodiscard]] std::string header(const std::string& name) const {
      const auto at = head.find("\r\n" + name + ": ");
      if (at == std::string::npos) return {};
      const auto start = at + name.size() + 4;
      return head.substr(start, head.find("\r\n", start) - start);
    }
  };

  /// The next answer; `has_body` false for HEAD.
  Reply read(bool has_body = true) {
    Reply reply;
    std::size_t end = 0;
    while ((end = buffer_.find("\r\n\r\n")) == std::string::npos) {
      if (!fill()) return reply;
    }
    reply.head = buffer_.substr(0, end + 2);
    buffer_.erase(0, end + 4);
    reply.status = std::stoi(reply.head.substr(9, 3));
    const std::string length = reply.header("Content-Length");
    const std::size_t size = length.empty() || !has_body ? 0 : std::stoul(length);
    while (buffer_.size() < size) {
      if (!fill()) return {};
    }
    reply.body = buffer_.substr(0, size);
    buffer_.erase(0, size);
    return reply;
  }
  Reply ask(std::string_view request, bool has_body = true) {
    send(request);
    return read(has_body);
  }
  Reply get(const std::string& target, const std::string& headers = "") {
    return ask("GET " + target + " HTTP/1.1\r\nHost: x\r\n" + headers + "\r\n");
  }
  /// True when the other side closes within the patience; answers on the way are dropped.
  bool closed() {
    while (fill()) buffer_.clear();
    return closed_;
  }

 private:
  HttpClient(int family, const void* address, socklen_t size)
      : fd_(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    connected_ = ::connect(fd_.get(), static_cast<const sockaddr*>(address), size) == 0;
  }
  bool fill() {
    pollfd ready{fd_.get(), POLLIN, 0};
    const auto milliseconds = std::chrono::milliseconds(patience).count();
    if (::poll(&ready, 1, static_cast<int>(milliseconds)) != 1) {
      ADD_FAILURE() << "nothing came within the patience";
      return false;
    }
    char chunk[65536];
    const ssize_t got = ::recv(fd_.get(), chunk, sizeof(chunk), 0);
    if (got <= 0) {
      closed_ = true;
      return false;
    }
    buffer_.append(chunk, static_cast<std::size_t>(got));
    return true;
  }

  base::UniqueFd fd_;
  std::string buffer_;
  bool connected_ = false;
  bool closed_ = false;
};

}  // namespace sallyport::daemon::test

// What answers /verify and /introspect: called by the server right on its I/O threads, with views
// into the connection's buffers, because a gateway asks for every single request it lets through.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "daemon/http/router.h"

namespace sallyport::daemon {

struct HeaderView {
  std::string_view name;  ///< as sent: compare with same_header_name()
  std::string_view value;
};

/// Everything in it is valid during the call only.
struct GatewayRequest {
  std::string_view method;
  std::string_view target;  ///< as sent: path and query
  std::span<const HeaderView> headers;
  std::string_view body;
  const Peer& peer;
  unsigned io_thread = 0;  ///< 0 .. number of I/O threads - 1: the caller's own counters
};

class GatewayHandler {
 public:
  virtual ~GatewayHandler() = default;

  /// Appends whole header lines ("Name: value\r\n") and the body; returns the status. Must not
  /// block: no lock that others hold for long, no store, no file.
  virtual int answer(const GatewayRequest& request, std::string& headers,
                     std::string& body) noexcept = 0;
};

/// "/verify" and everything under it.
[[nodiscard]] inline bool is_verify_target(std::string_view target) {
  return target.substr(0, 7) == "/verify" &&
         (target.size() == 7 || target[7] == '/' || target[7] == '?');
}
[[nodiscard]] inline bool is_introspect_target(std::string_view target) {
  return target.substr(0, 11) == "/introspect" && (target.size() == 11 || target[11] == '?');
}

/// `lower` is in lower case.
[[nodiscard]] inline bool same_header_name(std::string_view name, std::string_view lower) {
  if (name.size() != lower.size()) return false;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const char c = name[i];
    if ((c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c) != lower[i]) return false;
  }
  return true;
}

}  // namespace sallyport::daemon

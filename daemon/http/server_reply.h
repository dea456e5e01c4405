// Private to the server, free of Beast: the text of an answer's head, request ids.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/instant.h"
#include "daemon/http/router.h"

namespace sallyport::daemon {

/// "HTTP/1.1 200 OK", length and connection, without the empty line at the end. `out` is replaced.
void start_reply(std::string& out, int status, bool keep_alive, std::uint64_t length);

/// The other header fields of a response and the empty line. A field whose value holds a control
/// character is dropped and logged.
void finish_reply(std::string& out, const Response& response, std::string_view request_id,
                  base::Instant now);

/// X-Request-ID: a random prefix of this process and a counter.
class RequestIds {
 public:
  RequestIds();
  [[nodiscard]] std::string next();
  /// The caller's own if it has 1 to 64 characters of [A-Za-z0-9._-], else next().
  [[nodiscard]] std::string choose(std::optional<std::string_view> sent);

 private:
  std::string prefix_;
  std::atomic<std::uint64_t> counter_{0};
};

[[nodiscard]] std::string lower_case(std::string_view text);

}  // namespace sallyport::daemon

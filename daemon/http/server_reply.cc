#include "daemon/http/server_reply.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "base/bytes.h"
#include "base/log.h"

namespace sallyport::daemon {

namespace {

std::string_view status_line(int status) {
  switch (status) {
    case 200:
      return "200 OK";
    case 201:
      return "201 Created";
    case 202:
      return "202 Accepted";
    case 204:
      return "204 No Content";
    case 206:
      return "206 Partial Content";
    case 400:
      return "400 Bad Request";
    case 401:
      return "401 Unauthorized";
    case 403:
      return "403 Forbidden";
    case 404:
      return "404 Not Found";
    case 405:
      return "405 Method Not Allowed";
    case 409:
      return "409 Conflict";
    case 412:
      return "412 Precondition Failed";
    case 413:
      return "413 Content Too Large";
    case 415:
      return "415 Unsupported Media Type";
    case 416:
      return "416 Range Not Satisfiable";
    case 422:
      return "422 Unprocessable Content";
    case 431:
      return "431 Request Header Fields Too Large";
    case 500:
      return "500 Internal Server Error";
    case 503:
      return "503 Service Unavailable";
    default:
      return {};
  }
}

/// RFC 9110's form, in English whatever the locale.
std::string http_date(base::Instant now) {
  static constexpr const char* days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                           "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::time_t seconds = base::to_unix(now);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT", days[parts.tm_wday], parts.tm_mday,
                     months[parts.tm_mon], parts.tm_year + 1900, parts.tm_hour, parts.tm_min,
                     parts.tm_sec);
}

void add_field(std::string& out, std::string_view name, std::string_view value) {
  if (base::has_control(value)) {
    base::log_warning("http.header_dropped", {{"header", name}},
                      "the answer's header {} would hold a control character and was left out",
                      name);
    return;
  }
  out.append(name).append(": ").append(value).append("\r\n");
}

}  // namespace

void start_reply(std::string& out, int status, bool keep_alive, std::uint64_t length) {
  out.assign("HTTP/1.1 ");
  if (const std::string_view line = status_line(status); !line.empty()) {
    out.append(line);
  } else {
    out.append(std::to_string(status)).append(" -");
  }
  out.append("\r\n");
  if (status != 204) out.append("Content-Length: ").append(std::to_string(length)).append("\r\n");
  if (!keep_alive) out.append("Connection: close\r\n");
}

void finish_reply(std::string& out, const Response& response, std::string_view request_id,
                  base::Instant now) {
  add_field(out, "Date", http_date(now));
  add_field(out, "X-Request-ID", request_id);
  add_field(out, "Cache-Control", "no-store");
  add_field(out, "X-Content-Type-Options", "nosniff");
  if (!response.content_type.empty()) add_field(out, "Content-Type", response.content_type);
  for (const auto& [name, value] : response.headers) add_field(out, name, value);
  out.append("\r\n");
}

RequestIds::RequestIds() : prefix_(base::to_hex(base::random_bytes(6))) {}

std::string RequestIds::next() {
  return fmt::format("{}-{}", prefix_, counter_.fetch_add(1, std::memory_order_relaxed));
}

std::string RequestIds::choose(std::optional<std::string_view> sent) {
  const auto acceptable = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  if (sent && !sent->empty() && sent->size() <= 64 &&
      std::all_of(sent->begin(), sent->end(), acceptable)) {
    return std::string(*sent);
  }
  return next();
}

std::string lower_case(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return lower;
}

}  // namespace sallyport::daemon

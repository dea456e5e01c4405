// Request and Response: reading fields of the one, making the other.
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "daemon/http/router.h"
#include "daemon/http/uri.h"

namespace sallyport::daemon {

namespace {

std::optional<std::string_view> first_of(const Fields& fields, std::string_view name) {
  for (const auto& [known, value] : fields) {
    if (known == name) return value;
  }
  return std::nullopt;
}

std::string_view title_of(int status) {
  switch (status) {
    case 400:
      return "Bad request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not found";
    case 405:
      return "Method not allowed";
    case 408:
      return "Request timeout";
    case 409:
      return "Conflict";
    case 410:
      return "Gone";
    case 413:
      return "Content too large";
    case 415:
      return "Unsupported media type";
    case 416:
      return "Range not satisfiable";
    case 422:
      return "Unprocessable content";
    case 431:
      return "Request header fields too large";
    case 503:
      return "Service unavailable";
    default:
      return status >= 500 ? "Internal server error" : "Request refused";
  }
}

std::optional<std::uint64_t> parse_count(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

struct ByteRange {
  std::uint64_t first = 0;
  std::uint64_t length = 0;
};
enum class RangeAnswer { whole, part, unsatisfiable };

/// One "bytes=a-b", "bytes=a-" or "bytes=-n"; anything else (several ranges, other units) is
/// ignored and gets the whole file, as RFC 9110 allows.
RangeAnswer parse_range(std::string_view text, std::uint64_t size, ByteRange& range) {
  if (text.substr(0, 6) != "bytes=") return RangeAnswer::whole;
  text.remove_prefix(6);
  const auto dash = text.find('-');
  if (dash == std::string_view::npos) return RangeAnswer::whole;
  const auto first = parse_count(text.substr(0, dash));
  const auto last = parse_count(text.substr(dash + 1));
  if (dash == 0) {
    if (!last) return RangeAnswer::whole;
    if (*last == 0 || size == 0) return RangeAnswer::unsatisfiable;
    range.length = std::min(*last, size);
    range.first = size - range.length;
    return RangeAnswer::part;
  }
  const bool open_end = dash + 1 == text.size();
  if (!first || (!last && !open_end) || (last && *last < *first)) return RangeAnswer::whole;
  if (*first >= size) return RangeAnswer::unsatisfiable;
  range.first = *first;
  range.length = (open_end ? size - 1 : std::min(*last, size - 1)) - *first + 1;
  return RangeAnswer::part;
}

}  // namespace

std::optional<std::string_view> Request::header(std::string_view name) const {
  return first_of(headers, name);
}

std::optional<std::string_view> Request::query_value(std::string_view name) const {
  return first_of(query, name);
}

std::int64_t Request::query_number(std::string_view name, std::int64_t otherwise,
                                   std::int64_t least, std::int64_t most) const {
  const auto text = query_value(name);
  if (!text) return otherwise;
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc{} || end != text->data() + text->size() || value < least || value > most) {
    throw ProblemError(400, "INVALID_PARAMETER",
                       fmt::format("'{}' must be a whole number from {} to {}.", name, least, most),
                       Json::object({{"parameter", name}}));
  }
  return value;
}

Json Request::json() const {
  const std::string_view type = header("content-type").value_or("application/json");
  std::string media(type.substr(0, type.find(';')));
  while (!media.empty() && media.back() == ' ') media.pop_back();
  std::transform(media.begin(), media.end(), media.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (media != "application/json" && !media.ends_with("+json")) {
    throw ProblemError(415, "UNSUPPORTED_MEDIA_TYPE",
                       "Send the body as JSON: 'Content-Type: application/json'.");
  }
  try {
    return parse_json(body);
  } catch (const JsonError& error) {
    throw ProblemError(400, "INVALID_JSON",
                       fmt::format("The body is no valid JSON: {}.", error.what()));
  }
}

Response json_response(int status, const Json& value) {
  Response response;
  response.status = status;
  response.content_type = "application/json";
  response.body = value.dump();
  return response;
}

Response text_response(int status, std::string text, std::string content_type) {
  Response response;
  response.status = status;
  response.content_type = std::move(content_type);
  response.body = std::move(text);
  return response;
}

Response empty_response(int status) {
  Response response;
  response.status = status;
  return response;
}

Response file_response(const Request& request, base::UniqueFd file, std::string content_type,
                       std::string_view download_name) {
  struct stat facts {};
  if (::fstat(file.get(), &facts) != 0) throw base::SystemError(errno, "fstat of a file to send");
  const auto size = static_cast<std::uint64_t>(facts.st_size);
  Response response;
  response.content_type = std::move(content_type);
  response.headers.emplace_back("Accept-Ranges", "bytes");
  response.headers.emplace_back("Content-Disposition",
                                "attachment; filename*=UTF-8''" + percent_encode(download_name));
  ByteRange range{0, size};
  switch (parse_range(request.header("range").value_or(""), size, range)) {
    case RangeAnswer::unsatisfiable: {
      Response refusal =
          problem(416, "RANGE_NOT_SATISFIABLE", fmt::format("The file has {} bytes.", size));
      refusal.headers.emplace_back("Content-Range", fmt::format("bytes */{}", size));
      return refusal;
    }
    case RangeAnswer::part:
      response.status = 206;
      response.headers.emplace_back(
          "Content-Range",
          fmt::format("bytes {}-{}/{}", range.first, range.first + range.length - 1, size));
      break;
    case RangeAnswer::whole:
      break;
  }
  response.file = FileBody{std::move(file), range.first, range.length};
  return response;
}

Response problem(int status, std::string_view error_code, std::string_view detail,
                 const Json& members) {
  // "message" is what the published client of this API shows to people.
  Json body = Json::object({{"type", "about:blank"},
                            {"title", title_of(status)},
                            {"status", status},
                            {"detail", detail},
                            {"errorCode", error_code},
                            {"message", detail}});
  if (const Json::Object* further = members.if_object()) {
    for (const auto& [name, value] : *further) body.set(name, value);
  }
  Response response = json_response(status, body);
  response.content_type = "application/problem+json";
  return response;
}

}  // namespace sallyport::daemon

// Private to server.cc (it includes Beast): Beast's incremental parser, filling one flat buffer
// that a connection uses again for each request, so that a verification allocates next to nothing.
#pragma once

#include <boost/beast/http/basic_parser.hpp>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/http/gateway_handler.h"

namespace sallyport::daemon {

/// Larger than what a gateway passes on (nginx: four buffers of 8 KiB), since a gateway takes any
/// answer but 200, 401 and 403 for a failure of ours.
inline constexpr std::uint32_t max_header_bytes = 64 * 1024;
inline constexpr std::size_t max_header_fields = 256;

struct ParsedRequest {
  boost::beast::http::verb verb = boost::beast::http::verb::unknown;
  std::string method;
  std::string target;
  std::string body;
  bool expects_continue = false;
  bool header_complete = false;

  void clear() {
    verb = boost::beast::http::verb::unknown;
    method.clear();
    target.clear();
    body.clear();
    if (body.capacity() > 64 * 1024) body.shrink_to_fit();
    expects_continue = header_complete = false;
    text_.clear();
    fields_.clear();
    views_.clear();
  }

  void add_field(std::string_view name, std::string_view value) {
    fields_.push_back({text_.size(), name.size(), value.size()});
    text_.append(name).append(value);
  }
  [[nodiscard]] std::size_t field_count() const { return fields_.size(); }

  /// Valid until clear(). The text must not grow any more.
  [[nodiscard]] const std::vector<HeaderView>& headers() {
    views_.clear();
    const std::string_view text = text_;
    for (const Field& field : fields_) {
      views_.push_back({text.substr(field.at, field.name_size),
                        text.substr(field.at + field.name_size, field.value_size)});
    }
    return views_;
  }

 private:
  struct Field {
    std::size_t at, name_size, value_size;
  };
  std::string text_;
  std::vector<Field> fields_;
  std::vector<HeaderView> views_;
};

class RequestParser final : public boost::beast::http::basic_parser<true> {
 public:
  RequestParser(ParsedRequest& request, std::uint64_t max_body)
      : request_(request), max_body_(max_body) {
    header_limit(max_header_bytes);
    // Ours is below, since /verify throws bodies away. (None at all would mean 0 in Boost 1.74.)
    body_limit(std::numeric_limits<std::uint64_t>::max());
    eager(true);
  }

 private:
  using error_code = boost::beast::error_code;
  using string_view = boost::beast::string_view;
  static std::string_view view(string_view text) { return {text.data(), text.size()}; }

  void on_request_impl(boost::beast::http::verb verb, string_view method, string_view target,
                       int /*version*/, error_code& /*ec*/) override {
    request_.verb = verb;
    request_.method = view(method);
    request_.target = view(target);
    discard_body_ = is_verify_target(request_.target);
  }
  void on_response_impl(int, string_view, int, error_code&) override {}

  void on_field_impl(boost::beast::http::field name, string_view text, string_view value,
                     error_code& ec) override {
    if (request_.field_count() == max_header_fields) {
      ec = boost::beast::http::error::header_limit;
      return;
    }
    // Any other coding would be read as "no body" here and as a body by a proxy in front of us,
    // and what follows as a request that the proxy never saw.
    if (name == boost::beast::http::field::transfer_encoding &&
        !boost::beast::iequals(value, "chunked")) {
      ec = boost::beast::http::error::bad_transfer_encoding;
      return;
    }
    if (name == boost::beast::http::field::expect && boost::beast::iequals(value, "100-continue")) {
      request_.expects_continue = true;
    }
    request_.add_field(view(text), view(value));
  }

  void on_header_impl(error_code& /*ec*/) override { request_.header_complete = true; }

  void on_body_init_impl(const boost::optional<std::uint64_t>& length, error_code& ec) override {
    if (length && !discard_body_ && *length > max_body_) {
      ec = boost::beast::http::error::body_limit;
    }
  }
  std::size_t add_body(string_view body, error_code& ec) {
    if (discard_body_) return body.size();
    if (request_.body.size() + body.size() > max_body_) {
      ec = boost::beast::http::error::body_limit;
      return 0;
    }
    request_.body.append(body.data(), body.size());
    return body.size();
  }
  std::size_t on_body_impl(string_view body, error_code& ec) override { return add_body(body, ec); }
  void on_chunk_header_impl(std::uint64_t, string_view, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, string_view body, error_code& ec) override {
    return add_body(body, ec);
  }
  void on_finish_impl(error_code&) override {}

  ParsedRequest& request_;
  std::uint64_t max_body_;
  bool discard_body_ = false;
};

}  // namespace sallyport::daemon

// Builds the MIME message of a notice: headers, plain text and HTML as multipart/alternative.
//
// Pure and thread-safe. This is the one place where anything becomes a header: what holds a control
// character, or is no mail address, is refused here with Error and never sent. Every text that is
// not short printable ASCII goes out as encoded words (RFC 2047) that never cut a character in two.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/instant.h"
#include "notify/error.h"

namespace sallyport::notify {

struct Mailbox {
  std::string address;
  std::string name;  ///< for people; may be empty
};

struct OutgoingMail {
  Mailbox from;
  Mailbox to;
  std::string subject;
  std::string text;
  std::string html;
  base::Instant date{};
  std::string message_id;  ///< without angle brackets; see make_message_id
  std::string list_id;     ///< "notices.gate1.example.com"; empty: no List-Id
  /// Further headers; names must begin with "X-Sallyport-" or be Reply-To.
  std::vector<std::pair<std::string, std::string>> headers;
};

/// The whole message with CRLF line ends, no line over 998 bytes, 7-bit clean. Throws Error.
[[nodiscard]] std::string build_message(const OutgoingMail& mail);

/// The same for the same `identity` on every attempt, so that a repeat is recognisable:
/// "<hex of SHA-256(identity)>@domain" without the brackets. Throws Error if `domain` is no domain.
[[nodiscard]] std::string make_message_id(std::string_view identity, std::string_view domain);

/// A header value, folded with CRLF SP, as encoded words where it is not plain or `used`, the width
/// of "Name: ", fills the line. Throws Error for control characters and ill-formed UTF-8.
[[nodiscard]] std::string encode_header_text(std::string_view text, std::size_t used);

}  // namespace sallyport::notify

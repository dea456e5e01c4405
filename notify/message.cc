#include "notify/message.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/bytes.h"
#include "notify/address.h"
#include "notify/escape.h"

namespace sallyport::notify {
namespace {

constexpr std::size_t max_header_line = 76;
constexpr std::size_t max_body_line = 76;

/// THE check: nothing becomes part of a header that has not passed it. A CR or LF in a subject or
/// an address would otherwise start a header, a body or another recipient.
void require_clean(std::string_view name, std::string_view value) {
  if (base::has_control(value))
    throw Error(fmt::format("the mail header {} was refused: it has a control character ('{}')",
                            name, clean_line(value, 80)));
  if (!base::is_utf8(value))
    throw Error(fmt::format("the mail header {} was refused: it is not UTF-8", name));
}

void require_address(std::string_view name, std::string_view address) {
  require_clean(name, address);
  if (const auto problem = mail_address_problem(address))
    throw Error(fmt::format("the mail header {} was refused: {}", name, *problem));
}

bool is_plain(std::string_view text) {
  return text.find("=?") == std::string_view::npos &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; }) &&
         (text.empty() || (text.front() != ' ' && text.back() != ' '));
}

std::size_t code_point_bytes(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  return byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;
}

std::string header(std::string_view name, std::string_view value) {
  require_clean(name, value);
  return fmt::format("{}: {}\r\n", name, value);
}

std::string text_header(std::string_view name, std::string_view value) {
  const std::size_t used = name.size() + 2;
  // A digest fills a line of its own. Programs match it: it stays plain, unlike a subject of which
  // a reader would see the blank in front.
  const bool word = is_plain(value) && value.find(' ') == value.npos;
  if (name.starts_with("X-") && word && used + value.size() > max_header_line &&
      value.size() < max_header_line) {
    return fmt::format("{}:\r\n {}\r\n", name, value);
  }
  return fmt::format("{}: {}\r\n", name, encode_header_text(value, used));
}

/// Plain text over several lines, each word with the blanks before it whole; nullopt when a word is
/// too long for its line. Filters mistrust plain subjects in base64.
std::optional<std::string> folded(std::string_view text, std::size_t used) {
  std::string out;
  while (!text.empty()) {
    const std::size_t word = text.find_first_not_of(' ');
    const std::size_t end = std::min(text.find(' ', word), text.size());
    if (used + end > max_header_line) {
      if (out.empty() || end > max_header_line) return std::nullopt;
      out += "\r\n";
      used = 0;
    }
    out += text.substr(0, end);
    used += end;
    text.remove_prefix(end);
  }
  return out;
}

std::string mailbox_header(std::string_view name, const Mailbox& mailbox) {
  require_address(name, mailbox.address);
  require_clean(name, mailbox.name);
  if (mailbox.name.empty()) return header(name, mailbox.address);
  // As encoded words even when ASCII: a quoted string has escapes of its own to get wrong.
  const bool words_only = std::all_of(mailbox.name.begin(), mailbox.name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == ' ';
  });
  const std::string shown = words_only && is_plain(mailbox.name) && mailbox.name.size() < 60
                                ? mailbox.name
                                : encode_header_text(mailbox.name, max_header_line);
  return fmt::format("{}: {}\r\n <{}>\r\n", name, shown, mailbox.address);
}

/// RFC 2045 quoted-printable with CRLF line ends; every line 76 characters at most.
std::string quoted_printable(std::string_view text) {
  std::string out;
  std::size_t column = 0;
  const auto put = [&](std::string_view piece) {
    if (column + piece.size() >= max_body_line) {
      out += "=\r\n";
      column = 0;
    }
    out += piece;
    column += piece.size();
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\n') {
      out += "\r\n";
      column = 0;
      continue;
    }
    const bool at_line_end = i + 1 == text.size() || text[i + 1] == '\n';
    // A line with a single dot ends the data of SMTP, and "From " is mangled by mailbox files.
    const bool risky_start = column == 0 && (c == '.' || c == 'F');
    const bool blank = c == ' ' || c == '\t';
    const bool literal =
        (c > ' ' && c <= '~' && c != '=' && !risky_start) || (blank && !at_line_end);
    if (literal)
      put(std::string_view(&c, 1));
    else
      put(fmt::format("={:02X}", static_cast<unsigned char>(c)));
  }
  return out;
}

std::string part(std::string_view boundary, std::string_view type, std::string_view body) {
  return fmt::format(
      "--{}\r\nContent-Type: {}; charset=utf-8\r\nContent-Transfer-Encoding: "
      "quoted-printable\r\n\r\n"
      "{}\r\n",
      boundary, type, quoted_printable(body));
}

/// RFC 5322 3.3: "Sun, 22 Nov 2026 14:30:00 +0000".
std::string mail_date(base::Instant instant) {
  const std::time_t seconds = base::to_unix(instant);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  constexpr const char* days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr const char* months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                    "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  return fmt::format("{}, {:02} {} {:04} {:02}:{:02}:{:02} +0000", days[utc.tm_wday], utc.tm_mday,
                     months[utc.tm_mon], utc.tm_year + 1900, utc.tm_hour, utc.tm_min, utc.tm_sec);
}

void require_domain(std::string_view what, std::string_view domain) {
  if (!is_mail_address(fmt::format("x@{}", domain)))
    throw Error(fmt::format("the {} '{}' is not a domain name", what, clean_line(domain, 80)));
}

}  // namespace

std::string encode_header_text(std::string_view text, std::size_t used) {
  require_clean("text", text);
  if (is_plain(text) && used < max_header_line) {
    if (auto plain = folded(text, used)) return *plain;
  }
  constexpr std::string_view opening = "=?UTF-8?B?", closing = "?=";
  // 45 bytes make 60 characters of base64: an encoded word of 72, within the 75 of RFC 2047.
  constexpr std::size_t bytes_a_word = 45;
  std::string out;
  std::string word;
  const auto flush = [&] {
    if (!out.empty()) out += "\r\n ";
    out += fmt::format("{}{}{}", opening, base::to_base64(word), closing);
    word.clear();
  };
  // The first word shares its line with the header's name.
  std::size_t room = used + 72 > max_header_line ? 24 : bytes_a_word;
  while (!text.empty()) {
    const std::size_t length = std::min(code_point_bytes(text.front()), text.size());
    if (word.size() + length > room) {
      flush();
      room = bytes_a_word;
    }
    word += text.substr(0, length);
    text.remove_prefix(length);
  }
  if (!word.empty()) flush();
  return out;
}

std::string make_message_id(std::string_view identity, std::string_view domain) {
  require_domain("domain of message ids", domain);
  return fmt::format("{}@{}", base::to_hex(base::sha256(identity)).substr(0, 40), domain);
}

std::string build_message(const OutgoingMail& mail) {
  require_address("Message-ID", mail.message_id);
  std::string out = header("Date", mail_date(mail.date));
  out += mailbox_header("From", mail.from);
  out += mailbox_header("To", mail.to);
  out += text_header("Subject", mail.subject);
  out += header("Message-ID", fmt::format("<{}>", mail.message_id));
  if (!mail.list_id.empty()) {
    require_domain("List-Id", mail.list_id);
    out += header("List-Id", fmt::format("<{}>", mail.list_id));
  }
  out += header("Auto-Submitted", "auto-generated");  // RFC 3834: no automatic replies, please
  out += header("X-Auto-Response-Suppress", "All");
  for (const auto& [name, value] : mail.headers) {
    const bool allowed =
        name == "Reply-To" ||
        (name.starts_with("X-Sallyport-") && std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-';
         }));
    if (!allowed)
      throw Error(
          fmt::format("a mail header of the name '{}' is not allowed", clean_line(name, 40)));
    if (name == "Reply-To") require_address(name, value);
    out += text_header(name, value);
  }
  // '_' and '=' together occur in no quoted-printable text, so the boundary is in neither part.
  const std::string boundary =
      "=_" + base::to_hex(base::sha256(mail.message_id + mail.text)).substr(0, 32);
  out += "MIME-Version: 1.0\r\n";
  out += fmt::format("Content-Type: multipart/alternative;\r\n boundary=\"{}\"\r\n\r\n", boundary);
  out += part(boundary, "text/plain", mail.text);
  out += part(boundary, "text/html", mail.html);
  out += fmt::format("--{}--\r\n", boundary);
  return out;
}

}  // namespace sallyport::notify

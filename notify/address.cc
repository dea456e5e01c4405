#include "notify/address.h"

#include <fmt/format.h>

#include <algorithm>

#include "notify/escape.h"

namespace sallyport::notify {
namespace {

constexpr std::size_t max_address = 254;  // RFC 5321 4.5.3.1.3, less the angle brackets
constexpr std::size_t max_local = 64;
constexpr std::size_t max_label = 63;

bool is_letter_or_digit(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool is_atom_char(char c) noexcept {
  return is_letter_or_digit(c) ||
         std::string_view("!#$%&'*+-/=?^_`{|}~").find(c) != std::string_view::npos;
}

bool is_dot_atom(std::string_view text) noexcept {
  if (text.empty() || text.front() == '.' || text.back() == '.') return false;
  if (text.find("..") != std::string_view::npos) return false;
  return std::all_of(text.begin(), text.end(), [](char c) { return c == '.' || is_atom_char(c); });
}

bool is_label(std::string_view label) noexcept {
  if (label.empty() || label.size() > max_label) return false;
  if (label.front() == '-' || label.back() == '-') return false;
  return std::all_of(label.begin(), label.end(),
                     [](char c) { return c == '-' || is_letter_or_digit(c); });
}

bool is_domain(std::string_view domain) noexcept {
  while (true) {
    const auto dot = domain.find('.');
    if (!is_label(domain.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    domain.remove_prefix(dot + 1);
  }
}

}  // namespace

bool is_mail_address(std::string_view text) noexcept {
  const auto at = text.rfind('@');
  return at != std::string_view::npos && text.size() <= max_address && at <= max_local &&
         is_dot_atom(text.substr(0, at)) && is_domain(text.substr(at + 1));
}

std::optional<std::string> mail_address_problem(std::string_view text) {
  if (is_mail_address(text)) return std::nullopt;
  const std::string shown = clean_line(text, 80);
  const auto at = text.rfind('@');
  if (text.empty()) return "the mail address is empty";
  if (std::any_of(text.begin(), text.end(), [](char c) { return (c & 0x80) != 0; }))
    return fmt::format(
        "the mail address '{}' has characters outside ASCII, which need SMTPUTF8: give the "
        "mailbox's ASCII address (a domain in its xn-- form)",
        shown);
  if (at == std::string_view::npos)
    return fmt::format("'{}' is not a mail address: it has no '@'", shown);
  if (text.size() > max_address)
    return fmt::format("the mail address '{}' is longer than {} characters", shown, max_address);
  if (at > max_local)
    return fmt::format("the mail address '{}' has more than {} characters before the '@'", shown,
                       max_local);
  if (!is_dot_atom(text.substr(0, at)))
    return fmt::format("the mail address '{}' has something before the '@' that is not allowed",
                       shown);
  return fmt::format("the mail address '{}' has no valid domain after the '@'", shown);
}

}  // namespace sallyport::notify

// The output half of sallyportctl's frame: tables and facts for people, JSON for programs,
// questions.
#include <unistd.h>

#include <algorithm>
#include <iostream>

#include "base/bytes.h"
#include "daemon/ctl/command.h"
#include "daemon/http/json.h"

namespace sallyport::daemon::ctl {

namespace {

std::string_view colour_of(Style style) {
  switch (style) {
    case Style::plain:
      return "";
    case Style::good:
      return "\x1b[32m";
    case Style::warning:
      return "\x1b[33m";
    case Style::bad:
      return "\x1b[31m";
    case Style::faint:
      return "\x1b[2m";
    case Style::strong:
      return "\x1b[1m";
  }
  return "";
}

std::string painted(std::string_view text, Style style, bool colour) {
  const std::string_view code = colour_of(style);
  if (!colour || code.empty()) return std::string(text);
  return std::string(code) + std::string(text) + "\x1b[0m";
}

/// As wide as a terminal shows it, one column a code point.
std::string padded(const std::string& text, std::size_t width) {
  const std::size_t length = base::utf8_length(text);
  return text + std::string(width > length ? width - length : 0, ' ');
}

}  // namespace

std::string visible(std::string_view text) {
  if (!base::is_utf8(text)) {
    std::string out;
    for (const char c : text) out += c >= 0x20 && c < 0x7F ? c : '?';
    return out;
  }
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x20 || byte == 0x7F) {
      out += '?';
    } else if (byte == 0xC2 && i + 1 < text.size() &&
               static_cast<unsigned char>(text[i + 1]) < 0xA0) {
      out += '?';  // a C1 control
      ++i;
    } else {
      out += text[i];
    }
  }
  return out;
}

bool Context::print_json(const Reply& reply) {
  if (!json) return false;
  if (reply.body.empty()) {
    *out << "{}\n";
    return true;
  }
  *out << parse_json(reply.body).pretty() << '\n';
  return true;
}

void Context::print(const Table& table, std::string_view when_empty) {
  if (table.empty()) {
    line(when_empty, Style::faint);
    return;
  }
  std::vector<std::size_t> widths;
  for (const std::string& name : table.header_) widths.push_back(base::utf8_length(name));
  std::vector<std::vector<std::string>> cells;
  for (const auto& row : table.rows_) {
    auto& texts = cells.emplace_back();
    for (std::size_t i = 0; i < row.size() && i < widths.size(); ++i) {
      texts.push_back(visible(row[i].text));
      widths[i] = std::max(widths[i], base::utf8_length(texts[i]));
    }
  }
  const auto write_row = [&](const std::vector<std::string>& texts, auto style_of) {
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const bool last = i + 1 == texts.size();
      *out << painted(last ? texts[i] : padded(texts[i], widths[i]), style_of(i), colour)
           << (last ? "\n" : "  ");
    }
  };
  write_row(table.header_, [](std::size_t) { return Style::strong; });
  for (std::size_t r = 0; r < cells.size(); ++r) {
    write_row(cells[r], [&](std::size_t i) { return table.rows_[r][i].style; });
  }
}

void Context::print_facts(const std::vector<std::pair<std::string, Table::Cell>>& facts) {
  std::size_t width = 0;
  for (const auto& fact : facts) width = std::max(width, base::utf8_length(fact.first));
  for (const auto& fact : facts) {
    *out << painted(padded(fact.first, width), Style::faint, colour) << "  "
         << painted(visible(fact.second.text), fact.second.style, colour) << '\n';
  }
}

void Context::line(std::string_view text, Style style) {
  *out << painted(visible(text), style, colour) << '\n';
}

void Context::print_secret(std::string_view secret, std::string_view hint) {
  *out << secret << std::endl;  // at once: whatever fails next, the only copy is shown
  if (!hint.empty()) *err << visible(hint) << '\n';
}

bool Context::confirm(std::string_view question, bool yes) {
  if (yes) return true;
  if (!terminal) return false;
  *err << visible(question) << " [y/N] " << std::flush;
  std::string answer;
  std::getline(std::cin, answer);
  return answer == "y" || answer == "Y" || answer == "yes";
}

bool Context::confirm_sentence(std::string_view question, std::string_view sentence, bool yes) {
  if (yes) return true;
  if (!terminal) return false;
  *err << visible(question) << "\nType \"" << sentence << "\" to go on: " << std::flush;
  std::string answer;
  std::getline(std::cin, answer);
  return answer == sentence;
}

void Context::require_confirmation(std::string_view question, bool yes) {
  if (confirm(question, yes)) return;
  throw CtlError(terminal ? exit_failure : exit_usage,
                 terminal ? "not confirmed: nothing was changed"
                          : "this needs a confirmation and nobody can be asked here: add --yes");
}

}  // namespace sallyport::daemon::ctl

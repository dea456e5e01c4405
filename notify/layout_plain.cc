#include <fmt/format.h>

#include <algorithm>

#include "notify/content.h"
#include "notify/escape.h"

namespace sallyport::notify {
namespace {

constexpr std::size_t line_width = 76;
constexpr std::size_t longest_text = 2000;

/// Breaks at spaces; a word that is longer than the line (a URL) stays whole.
void wrap(std::string& out, std::string_view text, std::string_view first_indent,
          std::string_view indent) {
  std::string line(first_indent);
  bool empty = true;
  while (!text.empty()) {
    const auto space = text.find(' ');
    const std::string_view word = text.substr(0, space);
    text.remove_prefix(space == std::string_view::npos ? text.size() : space + 1);
    if (!empty && line.size() + 1 + word.size() > line_width) {
      out += line + "\n";
      line = indent;
      empty = true;
    }
    if (!empty) line += ' ';
    line += word;
    empty = false;
  }
  out += line + "\n";
}

}  // namespace

std::string plain_layout(const Content& content) {
  std::string out;
  wrap(out, clean_line(content.heading), "", "");
  out += std::string(line_width, '=') + "\n\n";
  for (const std::string& paragraph : content.paragraphs) {
    wrap(out, clean_line(paragraph, longest_text), "", "");
    out += '\n';
  }

  std::size_t label_width = 0;
  for (const Row& row : content.rows) label_width = std::max(label_width, row.label.size());
  for (const Row& row : content.rows) {
    const std::string label = fmt::format("  {:<{}}  ", row.label + ":", label_width + 1);
    wrap(out, clean_line(row.value, longest_text), label, std::string(label.size(), ' '));
  }

  for (const Item& item : content.items) {
    wrap(out, clean_line(item.name, longest_text), "  * ", "    ");
    for (const std::string& line : {item.what, item.when, item.id})
      if (!line.empty()) wrap(out, clean_line(line, longest_text), "    ", "    ");
    out += '\n';
  }

  if (!content.steps.empty()) out += "\nWhat to do\n----------\n\n";
  int number = 0;
  for (const Step& step : content.steps) {
    wrap(out, clean_line(step.text, longest_text), fmt::format("{:>2}. ", ++number), "    ");
    if (!step.command.empty())
      out += fmt::format("\n      {}\n", clean_line(step.command, longest_text));
    out += '\n';
  }
  if (is_web_link(content.link)) out += fmt::format("Open it: {}\n\n", content.link);

  out += "-- \n";  // the signature mark of mail
  wrap(out, clean_line(content.why, longest_text), "", "");
  wrap(out, clean_line(content.footer, longest_text), "", "");
  return out;
}

}  // namespace sallyport::notify

#include "daemon/ctl/manual.h"

#include <CLI/CLI.hpp>
#include <string_view>
#include <vector>

#include "daemon/ctl/completion.h"

namespace sallyport::daemon::ctl {
namespace {

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool at_line_start = out.empty() || out.back() == '\n';
    if (at_line_start && c == ' ') continue;
    if (at_line_start && (c == '.' || c == '\'')) out += "\\&";
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
  }
  return out;
}

/// The same for what goes on behind other words of a line.
std::string escaped_words(std::string_view text) {
  return text.empty() ? "" : " " + escaped(text);
}

bool is_help(const CLI::Option& option) {
  return option.check_lname("help") || option.check_lname("version");
}

bool is_flag(const CLI::Option& option) {
  return option.get_type_size_max() == 0;
}

std::string value_name(const CLI::Option& option) {
  std::string name = option.get_type_name();
  return name.empty() ? "VALUE" : name;
}

std::string long_name(const CLI::Option& option) {
  return option.get_lnames().empty() ? "-" + option.get_snames().front()
                                     : "--" + option.get_lnames().front();
}

std::vector<const CLI::Option*> options_of(const CLI::App& app) {
  return app.get_options([](const CLI::Option* option) { return !is_help(*option); });
}

bool is_positional(const CLI::Option& option) {
  return option.get_lnames().empty() && option.get_snames().empty();
}

std::string arguments_of(const CLI::App& app) {
  std::string words;
  for (const CLI::Option* option : options_of(app)) {
    std::string word = is_positional(*option) ? option->get_name(true) : long_name(*option);
    if (!is_positional(*option) && !is_flag(*option)) word += " " + value_name(*option);
    if (option->get_items_expected_max() > 1) word += "...";
    if (!option->get_required()) word = "[" + word + "]";
    words += " " + word;
  }
  return words;
}

void write_leaf(const CLI::App& app, const std::string& path, std::string& out) {
  out += ".TP\n\\fB" + escaped(path) + "\\fR" + escaped_words(arguments_of(app)) + "\n";
  out += escaped(app.get_description()) + ".\n";
  std::string described;
  for (const CLI::Option* option : options_of(app)) {
    if (option->get_description().empty()) continue;
    const bool bare = is_positional(*option) || is_flag(*option);
    const std::string name = is_positional(*option) ? option->get_name(true) : long_name(*option);
    described += ".TP\n\\fB" + escaped(name) + "\\fR" +
                 (bare ? "" : " " + escaped(value_name(*option))) + "\n" +
                 escaped(option->get_description()) + ".\n";
  }
  if (!described.empty()) out += ".RS\n" + described + ".RE\n";
}

void write(const CLI::App& app, const std::string& path, std::string& out) {
  const auto below = visible_commands(app);
  if (below.empty()) {
    write_leaf(app, path, out);
    return;
  }
  for (const CLI::App* sub : below) write(*sub, path + " " + sub->get_name(), out);
}

}  // namespace

std::string manual_commands(const CLI::App& app) {
  std::string out;
  for (const CLI::App* group : app.get_subcommands([](const CLI::App*) { return true; })) {
    out += ".SS " + escaped(group->get_name()) + "\n" + escaped(group->get_description()) + ".\n";
    write(*group, group->get_name(), out);
  }
  return out;
}

}  // namespace sallyport::daemon::ctl

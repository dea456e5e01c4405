#include "daemon/ctl/completion.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <functional>
#include <ostream>

#include "daemon/ctl/command.h"
#include "daemon/ctl/manual.h"

namespace sallyport::daemon::ctl {

namespace {

/// The words that may follow `path`: subcommands and long options.
std::string words_of(const CLI::App& app) {
  std::string words;
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    words += sub->get_name() + " ";
  }
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) words += "--" + name + " ";
  }
  return words;
}

void write_cases(const CLI::App& app, const std::string& path, std::string& out) {
  out += fmt::format("    '{}') words='{}' ;;\n", path, words_of(app));
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    write_cases(*sub, path.empty() ? sub->get_name() : path + " " + sub->get_name(), out);
  }
}

/// Walks the line's words down the commands, then offers what may follow there; files otherwise.
std::string bash_script(const CLI::App& app) {
  std::string cases;
  write_cases(app, "", cases);
  std::string paths;
  const std::function<void(const CLI::App&, const std::string&)> collect =
      [&](const CLI::App& command, const std::string& path) {
        for (const CLI::App* sub : command.get_subcommands([](const CLI::App*) { return true; })) {
          const std::string below = path.empty() ? sub->get_name() : path + " " + sub->get_name();
          paths += "'" + below + "'|";
          collect(*sub, below);
        }
      };
  collect(app, "");
  if (!paths.empty()) paths.pop_back();
  return fmt::format(
      R"(# bash completion for sallyportctl; install: sallyportctl completion bash > \
#   /usr/share/bash-completion/completions/sallyportctl
_sallyportctl() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} path='' words='' word i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${{COMP_WORDS[i]}}
    case "${{path:+$path }}$word" in
    {}) path="${{path:+$path }}$word" ;;
    esac
  done
  case "$path" in
{}  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  [[ ${{#COMPREPLY[@]}} -gt 0 || $current == -* ]] || COMPREPLY=($(compgen -f -- "$current"))
}}
complete -o filenames -F _sallyportctl sallyportctl
)",
      paths, cases);
}

}  // namespace

void add_completion_command(CLI::App& app, Context& context) {
  auto* completion = app.add_subcommand("completion", "Completion script for a shell");
  completion->require_subcommand(1);
  auto* bash = completion->add_subcommand("bash", "Print it for bash");
  bash->callback([&app, &context] { *context.out << bash_script(app); });
  auto* manual = completion->add_subcommand("manual", "Print the commands for the manual page");
  manual->group("");  // for building the manual page only
  manual->callback([&app, &context] { *context.out << manual_commands(app); });
}

}  // namespace sallyport::daemon::ctl

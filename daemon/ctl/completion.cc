#include "daemon/ctl/completion.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <ostream>
#include <string>

#include "daemon/ctl/command.h"
#include "daemon/ctl/manual.h"

namespace sallyport::daemon::ctl {

namespace {

/// A word that may stand behind a command: a subcommand or a long option.
struct Word {
  std::string text;
  std::string help;
};

/// One command of the tree: the words that lead to it, and those that may follow.
struct Place {
  std::string path;  ///< "key list"; empty: the program itself
  std::vector<Word> commands, options;
};

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

void collect(const CLI::App& app, const std::string& path, std::vector<Place>& places) {
  Place place{path, {}, {}};
  for (const CLI::App* sub : visible_commands(app)) {
    place.commands.push_back({sub->get_name(), first_line(sub->get_description())});
  }
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) {
      place.options.push_back({"--" + name, first_line(option->get_description())});
    }
  }
  places.push_back(std::move(place));
  for (const CLI::App* sub : visible_commands(app)) {
    collect(*sub, path.empty() ? sub->get_name() : path + " " + sub->get_name(), places);
  }
}

std::vector<Place> places_of(const CLI::App& app) {
  std::vector<Place> places;
  collect(app, "", places);
  return places;
}

/// In single quotes, where none of the three shells expands anything.
std::string quoted(std::string_view text, std::string_view quote) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') {
      out += quote;
    } else {
      out += c;
    }
  }
  return out + "'";
}
constexpr std::string_view sh_quote = "'\\''", fish_quote = "\\'";

/// Every command's path, as the patterns of a shell's case.
std::string patterns(const std::vector<Place>& places) {
  std::string out;
  for (const Place& place : places) {
    if (!place.path.empty()) out += (out.empty() ? "'" : "|'") + place.path + "'";
  }
  return out;
}

/// Walks the line's words down the commands, then offers what may follow there; files otherwise.
std::string bash_script(const CLI::App& app) {
  const auto places = places_of(app);
  std::string cases;
  for (const Place& place : places) {
    std::string words;
    for (const auto* list : {&place.commands, &place.options}) {
      for (const Word& word : *list) words += word.text + " ";
    }
    cases += fmt::format("    '{}') words='{}' ;;\n", place.path, words);
  }
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
      patterns(places), cases);
}

/// The same with what each word is for. $path is zsh's own: the place is in $at.
std::string zsh_script(const CLI::App& app) {
  const auto places = places_of(app);
  const auto described = [](const std::vector<Word>& words) {
    std::string out;
    for (const Word& word : words) {
      out += (out.empty() ? "" : " ") + quoted(word.text + ":" + word.help, sh_quote);
    }
    return out;
  };
  std::string cases;
  for (const Place& place : places) {
    cases += fmt::format("  '{}')\n    commands=({})\n    options=({}) ;;\n", place.path,
                         described(place.commands), described(place.options));
  }
  return fmt::format(
      R"(#compdef sallyportctl
# zsh completion; install: sallyportctl completion zsh > /usr/share/zsh/vendor-completions/_sallyportctl
_sallyportctl() {{
  local at='' word i
  local -a commands options
  for ((i = 2; i < CURRENT; i++)); do
    word=${{words[i]}}
    case "${{at:+$at }}$word" in
    {}) at="${{at:+$at }}$word" ;;
    esac
  done
  case "$at" in
{}  esac
  if [[ ${{words[CURRENT]}} == -* ]]; then
    _describe -o option options
  elif (( $#commands )); then
    _describe command commands
  else
    _files
  fi
}}
if [[ $funcstack[1] == _sallyportctl ]]; then
  _sallyportctl "$@"
else
  compdef _sallyportctl sallyportctl
fi
)",
      patterns(places), cases);
}

std::string fish_script(const CLI::App& app) {
  const auto places = places_of(app);
  std::string out = fmt::format(
      R"(# fish completion; install: sallyportctl completion fish > /usr/share/fish/vendor_completions.d/sallyportctl.fish
function __sallyportctl_at
  set -l at ''
  for word in (commandline -opc)[2..-1]
    set -l next (string trim -- "$at $word")
    switch $next
      case {}
        set at $next
    end
  end
  test "$at" = "$argv[1]"
end
)",
      [&] {
        std::string all;
        for (const Place& place : places) {
          if (!place.path.empty()) all += (all.empty() ? "'" : " '") + place.path + "'";
        }
        return all;
      }());
  for (const Place& place : places) {
    const std::string here =
        fmt::format("complete -c sallyportctl -n '__sallyportctl_at \"{}\"'", place.path);
    for (const Word& word : place.commands) {
      out += fmt::format("{} -f -a {} -d {}\n", here, word.text, quoted(word.help, fish_quote));
    }
    for (const Word& word : place.options) {
      out +=
          fmt::format("{} -l {} -d {}\n", here, word.text.substr(2), quoted(word.help, fish_quote));
    }
  }
  return out;
}

}  // namespace

std::vector<const CLI::App*> visible_commands(const CLI::App& app) {
  return app.get_subcommands(
      [](const CLI::App* sub) { return !sub->get_group().empty() && !sub->get_name().empty(); });
}

void add_completion_command(CLI::App& app, Context& context) {
  auto* completion = app.add_subcommand("completion", "Completion script for a shell");
  completion->require_subcommand(1);
  const auto add = [&](const char* shell, std::string (*script)(const CLI::App&)) {
    completion->add_subcommand(shell, fmt::format("Print it for {}", shell))
        ->callback([&app, &context, script] { *context.out << script(app); });
  };
  add("bash", &bash_script);
  add("zsh", &zsh_script);
  add("fish", &fish_script);
  auto* manual = completion->add_subcommand("manual", "Print the commands for the manual page");
  manual->group("");  // for building the manual page only
  manual->callback([&app, &context] { *context.out << manual_commands(app); });
}

}  // namespace sallyport::daemon::ctl

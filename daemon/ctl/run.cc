// sallyportctl's main: the options of every command, then the command's own callback.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <iostream>

#include "daemon/config/nearest.h"
#include "daemon/ctl/command.h"
#include "daemon/ctl/completion.h"
#include "daemon/http/json.h"

namespace sallyport::daemon::ctl {

namespace {

constexpr const char* description =
    "The command line of Sallyport: API keys, partners, files and notices.\n"
    "\n"
    "It talks to sallyportd over its socket admin.sock, which root and members of the group\n"
    "sallyport-admin may use. Tables are for people; with --json every command prints what the\n"
    "daemon answered, for programs.\n"
    "\n"
    "Examples:\n"
    "  sallyportctl key create \"ERP import\" --privilege "
    "PLATFORM/SOURCE/EDIT\n"
    "  sallyportctl key list --status SOON_TO_BE_EXPIRED\n"
    "  sallyportctl partner create acme --email files@acme.example.com\n"
    "  sallyportctl partner ssh-key add acme id_rsa.pub\n"
    "  sallyportctl files list --partner acme --state failed\n";

constexpr const char* footer =
    "Exit status: 0 done; 1 refused or failed; 2 wrong usage; 3 no such key, partner or file;\n"
    "4 the daemon does not answer.";

std::string default_socket() {
  const char* named = std::getenv("SALLYPORT_ADMIN_SOCKET");
  return named != nullptr && *named != '\0' ? named : "/run/sallyport/admin.sock";
}

/// A repeatable option takes one value each time, or it would swallow the positionals behind it.
void take_one_value_each(CLI::App& command) {
  for (CLI::Option* option : command.get_options()) {
    if (!option->get_positional() && option->get_items_expected_max() > 1) {
      option->allow_extra_args(false);
    }
  }
  for (CLI::App* sub : command.get_subcommands([](CLI::App*) { return true; })) {
    take_one_value_each(*sub);
  }
}

/// "sallyportctl key list": the command as far as the line named one.
const CLI::App& named_command(const CLI::App& app, std::string& path) {
  const CLI::App* command = &app;
  path = app.get_name();
  while (!command->get_subcommands().empty()) {
    command = command->get_subcommands().front();
    path += " " + command->get_name();
  }
  return *command;
}

/// The word of the line that nobody took, as it was typed; the first of several.
std::string unknown_word(const CLI::App& app, int argc, const char* const* argv) {
  const std::vector<std::string> left = app.remaining(true);
  for (int i = 1; i < argc; ++i) {
    if (std::find(left.begin(), left.end(), argv[i]) != left.end()) return argv[i];
  }
  return "";
}

/// What was typed wrong in one sentence, with what was probably meant.
std::string usage_problem(const CLI::App& app, const CLI::ParseError& error, int argc,
                          const char* const* argv) {
  std::string path;
  const CLI::App& command = named_command(app, path);
  const std::string help = fmt::format(" ('{} --help' explains it)", path);
  const std::string word = unknown_word(app, argc, argv);
  if (word.empty()) return error.what() + help;
  std::vector<std::string> known;
  if (word.front() == '-') {
    for (const CLI::App* at = &command; at != nullptr; at = at->get_parent()) {
      for (const CLI::Option* option : at->get_options()) {
        for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
      }
    }
    return fmt::format("there is no option '{}'{}{}", word, did_you_mean(word, known), help);
  }
  for (const CLI::App* sub : visible_commands(command)) known.push_back(sub->get_name());
  if (known.empty()) return fmt::format("'{}' was not expected{}", word, help);
  return fmt::format("there is no command '{}'{}{}", word, did_you_mean(word, known), help);
}

int complain(const CLI::App& app, const CLI::ParseError& error, int argc, const char* const* argv) {
  std::string path;
  const CLI::App& command = named_command(app, path);
  if (!visible_commands(command).empty() && app.remaining(true).empty()) {
    std::cerr << command.help();  // nothing was named: show what there is
  } else {
    std::cerr << "sallyportctl: " << usage_problem(app, error, argc, argv) << '\n';
  }
  return exit_usage;
}

int run(int argc, const char* const* argv) {
  CLI::App app(description, "sallyportctl");
  app.footer(footer);
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("sallyportctl ") + SALLYPORT_VERSION);
  // Options of the main command may stand anywhere on the line.
  app.fallthrough();

  Context context;
  context.out = &std::cout;
  context.err = &std::cerr;
  context.socket_path = default_socket();
  app.add_option("--socket", context.socket_path, "The daemon's admin.sock")
      ->envname("SALLYPORT_ADMIN_SOCKET")
      ->capture_default_str();
  app.add_flag("--json", context.json, "Print what the daemon answered, as JSON");
  bool no_colour = false;
  app.add_flag("--no-colour,--no-color", no_colour,
               "No colours, not on a terminal either ($NO_COLOR)");

  // Runs after the line is parsed and before the subcommand's callback.
  app.parse_complete_callback([&] {
    const char* forbidden = std::getenv("NO_COLOR");
    const bool wanted = !no_colour && (forbidden == nullptr || *forbidden == '\0');
    context.colour = wanted && ::isatty(STDOUT_FILENO) == 1;
    context.terminal = ::isatty(STDIN_FILENO) == 1;
  });

  add_all_commands(Command(app), context);
  add_completion_command(app, context);
  take_one_value_each(app);
  try {
    app.parse(argc, argv);
    return exit_ok;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() != 0) return complain(app, error, argc, argv);
    app.exit(error, std::cout, std::cerr);  // --help and --version
    return exit_ok;
  }
}

}  // namespace

int run_ctl(int argc, const char* const* argv) {
  try {
    return run(argc, argv);
  } catch (const CtlError& error) {
    // Without a sentence everything was said already.
    if (*error.what() != '\0') std::cerr << "sallyportctl: " << error.what() << '\n';
    return error.exit_code();
  } catch (const JsonError& error) {
    std::cerr << "sallyportctl: the daemon's answer is no JSON that I understand: " << error.what()
              << '\n';
    return exit_failure;
  } catch (const std::exception& error) {
    std::cerr << "sallyportctl: " << error.what() << '\n';
    return exit_failure;
  }
}

}  // namespace sallyport::daemon::ctl

// Commands, options and arguments of a command line, as the files of commands add them. Behind them
// is CLI11, whose header costs every file that sees it 10 s and more of the compile: only what
// walks the tree of commands (run.cc, completion.cc, manual.cc) includes it.
//
// Both classes are handles: they are copied freely, and what they stand for lives as long as the
// program's root command. What an option sets has to live as long. One thread.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace sallyport::daemon::ctl {

class Option {
 public:
  explicit Option(CLI::Option& option) : option_(&option) {}

  Option& required();
  /// The help shows the value that it has without the option.
  Option& show_default();
  Option& one_of(std::vector<std::string> values);
  Option& not_negative();
  /// A whole number from `least` to `most`.
  Option& within(int least, int most);
  /// Not together with `other`.
  Option& excludes(const Option& other);

 private:
  CLI::Option* option_;
};

class Command {
 public:
  explicit Command(CLI::App& app) : app_(&app) {}

  [[nodiscard]] Command add_subcommand(const std::string& name, const std::string& help);
  /// "NAME" is an argument, "--name" and "-n,--name" are options. An option of a list
  /// takes one value each time, an argument all that follow.
  Option add_option(const std::string& names, std::string& value, const std::string& help);
  Option add_option(const std::string& names, std::vector<std::string>& values,
                    const std::string& help);
  Option add_option(const std::string& names, int& value, const std::string& help);
  Option add_option(const std::string& names, unsigned& value, const std::string& help);
  Option add_flag(const std::string& names, bool& value, const std::string& help);
  /// It is for its subcommands only: one of them has to be named.
  void require_subcommand();
  /// Below its help.
  void footer(const std::string& text);
  /// What it does.
  void callback(std::function<void()> action);
  /// Whether the line has the option, if only with an empty value.
  [[nodiscard]] bool given(const std::string& option) const;

 private:
  CLI::App* app_;
};

}  // namespace sallyport::daemon::ctl

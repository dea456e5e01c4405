// The frame of sallyportctl: a client of the daemon over admin.sock, output for people and for
// programs, and exit codes. Each area has its commands in a file of its own, daemon/ctl/
// <area>_commands.cc, with one function
//
//   void add_key_commands(Command app, Context& context);
//
// that adds its subcommands, each with a callback that does the work. It is declared below and gets
// its line in daemon/ctl/groups.cc.
//
//   auto show = key.add_subcommand("show", "Everything about a key, never its value");
//   auto id = std::make_shared<std::string>();
//   show.add_option("ID", *id, "The key's id").required();
//   show.callback([id, &context] {
//     const Reply reply = context.get(context.org_path("/apikeys/" + encode(*id)));
//     if (context.print_json(reply)) return;
//     ...
//   });
//
// Failures: every call throws CtlError with the sentence for the terminal and the exit code; the
// daemon's problem details become one. One thread.
#pragma once

#include <functional>
#include <iosfwd>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "daemon/ctl/arguments.h"

namespace sallyport::daemon::ctl {

enum ExitCode {
  exit_ok = 0,
  exit_failure = 1,     ///< the daemon refused or something went wrong
  exit_usage = 2,       ///< wrong command line
  exit_not_found = 3,   ///< no such key, partner, file, ...
  exit_unreachable = 4  ///< the daemon does not answer
};

class CtlError : public base::Error {
 public:
  CtlError(int exit_code, const std::string& sentence) : base::Error(sentence), code_(exit_code) {}
  [[nodiscard]] int exit_code() const noexcept { return code_; }

 private:
  int code_;
};

struct Reply {
  int status = 0;
  std::map<std::string, std::string> headers;  ///< names in lower case
  std::string body;
};

/// Control characters as '?': text that a partner or an API client chose must not drive the
/// terminal.
[[nodiscard]] std::string visible(std::string_view text);
/// Percent-encodes one path segment or query value.
[[nodiscard]] std::string encode(std::string_view text);
/// "90d", "2w" and "1y", as people type them, as the daemon reads them: "P90D". Anything else as it
/// is, for the daemon to judge.
[[nodiscard]] std::string iso_duration(const std::string& typed);

enum class Style { plain, good, warning, bad, faint, strong };

/// Columns are as wide as their widest cell; control characters of cells are shown as '?'. On a
/// terminal the header is strong and styles have colours.
class Table {
 public:
  explicit Table(std::vector<std::string> header) : header_(std::move(header)) {}
  struct Cell {
    std::string text;
    Style style = Style::plain;
    Cell(std::string t, Style s = Style::plain) : text(std::move(t)), style(s) {}
    Cell(const char* t) : text(t) {}
  };
  void add(std::vector<Cell> row) { rows_.push_back(std::move(row)); }
  [[nodiscard]] bool empty() const { return rows_.empty(); }

 private:
  friend class Context;
  std::vector<std::string> header_;
  std::vector<std::vector<Cell>> rows_;
};

class Context {
 public:
  // Set by the options of the main command before any callback runs.
  std::string socket_path;
  bool json = false;
  bool colour = false;    ///< standard output is a terminal and NO_COLOR is not set
  bool terminal = false;  ///< somebody can be asked: standard input is a terminal
  std::ostream* out = nullptr;
  std::ostream* err = nullptr;

  /// Requests over admin.sock. Answers of 400 and more throw CtlError with the problem's detail.
  Reply get(const std::string& path_and_query);
  Reply post(const std::string& path_and_query, const std::string& json_body = "");
  Reply put(const std::string& path_and_query, const std::string& json_body = "");
  Reply del(const std::string& path_and_query);
  /// Any method; throws only when the daemon does not answer. The body may be of any type.
  Reply send(const std::string& method, const std::string& path_and_query,
             const std::string& content_type, const std::string& body);
  /// GET whose body goes to `sink` piece by piece (file contents, activity exports, following).
  Reply stream(const std::string& path_and_query,
               const std::function<bool(std::string_view)>& sink);

  /// "/rest/organizations/<the daemon's organisation><rest>"
  std::string org_path(const std::string& rest);

  /// With --json: prints the body, indented, and returns true.
  bool print_json(const Reply& reply);
  void print(const Table& table, std::string_view when_empty = "Nothing to show.");
  /// "name   value" lines.
  void print_facts(const std::vector<std::pair<std::string, Table::Cell>>& facts);
  void line(std::string_view text, Style style = Style::plain);
  /// A secret: alone on a line of standard output, so that a script can take it; a hint goes to
  /// standard error.
  void print_secret(std::string_view secret, std::string_view hint);

  /// Asks on the terminal; false when the answer is no or nobody can be asked. `yes` skips it.
  bool confirm(std::string_view question, bool yes);
  /// As confirm(), but the person has to type `sentence`.
  bool confirm_sentence(std::string_view question, std::string_view sentence, bool yes);
  /// Throws CtlError(exit_usage) that names --yes when confirm() says no and nobody can be asked.
  void require_confirmation(std::string_view question, bool yes);

 private:
  std::string organization_;
};

// One line an area; groups.cc calls them in the order of the help text.
void add_admin_commands(Command app, Context& context);
void add_partner_commands(Command app, Context& context);
void add_status_commands(Command app, Context& context);
void add_key_commands(Command app, Context& context);
void add_activity_commands(Command app, Context& context);
void add_audit_commands(Command app, Context& context);
void add_files_commands(Command app, Context& context);
void add_notices_commands(Command app, Context& context);

/// Adds the groups that exist.
void add_all_commands(Command app, Context& context);

/// sallyportctl's main. Returns the exit code.
int run_ctl(int argc, const char* const* argv);

}  // namespace sallyport::daemon::ctl

// sallyportctl files ..., sallyportctl send: what became of partners' files, and sending one.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <ostream>
#include <thread>

#include "base/bytes.h"
#include "base/file_io.h"
#include "base/page_buffer.h"
#include "daemon/ctl/answers.h"
#include "daemon/ctl/command.h"
#include "daemon/http/json.h"

namespace sallyport::daemon::ctl {
namespace {

namespace fs = std::filesystem;

struct Filter {
  std::string partner, object, direction, state, name, since, until, after;
  unsigned limit = 50;

  void add_options(Command app) {
    app.add_option("--partner", partner, "Only files of this partner");
    app.add_option("--object", object, "Only files of this object, such as Invoices");
    app.add_option("--direction", direction, "inbound or outbound").one_of({"inbound", "outbound"});
    app.add_option("--state", state, "Only files in this state, such as failed or archived");
    app.add_option("--name", name, "Only files of exactly this name");
    app.add_option("--since", since, "From this date or instant (UTC) on");
    app.add_option("--until", until, "Before this date or instant (UTC)");
  }
  [[nodiscard]] std::string query() const {
    std::string text;
    const auto add = [&](const char* key, const std::string& value) {
      if (!value.empty())
        text += (text.empty() ? "?" : "&") + std::string(key) + "=" + encode(value);
    };
    add("partner", partner);
    add("object", object);
    add("direction", direction);
    add("state", state);
    add("name", name);
    add("since", since);
    add("until", until);
    add("after", after);
    return text;
  }
};

Style state_style(const std::string& state) {
  if (state == "failed") return Style::bad;
  if (state == "held" || state == "receiving") return Style::warning;
  if (state == "archived" || state == "collected" || state == "backed_up") return Style::good;
  return Style::plain;
}

std::string full_name(const Json& file) {
  const std::string object = text_of(file, "object");
  return object.empty() ? text_of(file, "name") : object + "/" + text_of(file, "name");
}

std::vector<Table::Cell> row_of(const Json& file) {
  const std::string state = text_of(file, "state");
  const std::string reason = text_of(file, "reasonCode");
  return {text_of(file, "id"),
          text_of(file, "partner"),
          text_of(file, "direction") == "inbound" ? "in" : "out",
          full_name(file),
          size_text(number_of(file["size"])),
          {reason.empty() ? state : state + " (" + reason + ")", state_style(state)},
          time_text(text_of(file, "createdAt"))};
}

Table file_table() {
  return Table({"ID", "PARTNER", "WAY", "FILE", "SIZE", "STATE", "CREATED (UTC)"});
}

/// A misspelt partner has no files either, which at night is taken for an answer.
void refuse_unknown_partner(Context& context, const Filter& filter) {
  if (filter.partner.empty()) return;
  (void)context.get(context.org_path("/partners/" + encode(filter.partner)));
}

void list_files(Context& context, const Filter& filter) {
  std::string query = filter.query();
  query += (query.empty() ? "?" : "&") + fmt::format("limit={}", filter.limit);
  const Reply reply = context.get(context.org_path("/files" + query));
  if (context.print_json(reply)) return;
  const Json answer = parse_json(reply.body);
  Table table = file_table();
  if (const auto* items = answer["items"].if_array()) {
    for (const Json& file : *items) table.add(row_of(file));
  }
  if (table.empty()) refuse_unknown_partner(context, filter);
  context.print(table, "No files.");
  if (const std::string next = text_of(answer, "next"); !next.empty()) {
    context.line("More: add --after " + next, Style::faint);
  }
}

void show_file(Context& context, const std::string& id) {
  const Reply reply = context.get(context.org_path("/files/" + encode(id)));
  if (context.print_json(reply)) return;
  const Json file = parse_json(reply.body);
  std::vector<std::pair<std::string, Table::Cell>> facts;
  const auto add = [&](const char* label, const std::string& value, Style style = Style::plain) {
    if (!value.empty()) facts.emplace_back(label, Table::Cell(value, style));
  };
  const std::string state = text_of(file, "state");
  add("file", full_name(file), Style::strong);
  add("id", text_of(file, "id"));
  add("partner", text_of(file, "partner"));
  add("direction", text_of(file, "direction"));
  add("state", state, state_style(state));
  add("reason", text_of(file, "reasonCode"));
  add("", text_of(file, "reason"));
  add("size", fmt::format("{} bytes", number_of(file["size"])));
  add("SHA-256", text_of(file, "sha256"));
  add("where", text_of(file, "location"));
  add("delivered as", text_of(file, "deliveredAs"));
  add("SHA-256 of plain", text_of(file, "plainSha256"));
  add("backup", text_of(file, "backupAt"));
  const Json& verdict = file["verdict"];
  add("kind", text_of(verdict, "kind"));
  add("signed by", text_of(verdict, "signer"));
  add("duplicate of", text_of(verdict, "duplicate_of"));
  const Json& uploader = file["uploader"];
  add("uploaded from", text_of(uploader, "address"));
  add("with key", text_of(uploader, "fingerprint"));
  add("client", text_of(uploader, "banner"));
  add("looked at next", time_text(text_of(file, "nextDueAt")));
  context.print_facts(facts);
  context.line("");
  Table history({"WHEN (UTC)", "STATE", "WHAT"});
  for (const Json& step : items_of(file["history"])) {
    history.add({time_text(text_of(step, "at")), text_of(step, "state"), text_of(step, "detail")});
  }
  context.print(history);
  if (const auto* tasks = file["pending"].if_array(); tasks != nullptr && !tasks->empty()) {
    context.line("");
    Table table({"TO DO", "ATTEMPTS", "NEXT (UTC)", "LAST ERROR"});
    for (const Json& task : *tasks) {
      table.add({text_of(task, "kind"), std::to_string(number_of(task["attempts"])),
                 time_text(text_of(task, "nextDueAt")), text_of(task, "lastError")});
    }
    context.print(table);
  }
}

void get_content(Context& context, const std::string& id, const std::string& output) {
  const std::string path = context.org_path("/files/" + encode(id));
  const std::string sha256 = text_of(parse_json(context.get(path).body), "sha256");
  base::Sha256Stream hash;
  const auto fetch = [&](int fd, const std::string& what) {
    context.stream(path + "/content", [&](std::string_view piece) {
      hash.update(piece);
      base::write_all(fd, piece, what);
      return true;
    });
  };
  if (output == "-") {
    fetch(STDOUT_FILENO, "standard output");
  } else {
    const base::UniqueFd file(
        ::open(output.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!file) {
      throw CtlError(exit_failure, output + ": " + std::strerror(errno) +
                                       (errno == EEXIST ? "; choose another name" : ""));
    }
    try {
      fetch(file.get(), output);
    } catch (...) {
      ::unlink(output.c_str());
      throw;
    }
  }
  if (!sha256.empty() && base::to_hex(hash.finish()) != sha256) {
    throw CtlError(exit_failure,
                   "This is NOT the original: somebody changed the file where it lies. The "
                   "original has the SHA-256 " +
                       sha256 + "; 'sallyportctl files show " + id + "' tells where it lay.");
  }
  if (output != "-") context.line("Written to " + output);
}

void retry_file(Context& context, const std::string& id) {
  const Reply reply = context.post(context.org_path("/files/" + encode(id) + "/retry"));
  if (context.print_json(reply)) return;
  const bool failed = text_of(parse_json(reply.body), "state") == "received";
  context.line((failed ? "File " + id + " goes through the pipeline again"
                       : "What was given up for file " + id + " is tried again") +
               "; 'sallyportctl files show " + id + "' tells what becomes of it.");
}

void check_files(Context& context) {
  const Reply reply = context.post("/admin/files/check");
  const Json report = parse_json(reply.body);
  const auto* findings = report["findings"].if_array();
  const bool good = findings == nullptr || findings->empty();
  if (!context.print_json(reply)) {
    if (good) {
      context.line(fmt::format("Journal and disk agree ({} rows and {} files looked at).",
                               number_of(report["rows"]), number_of(report["files"])),
                   Style::good);
    } else {
      Table table({"KIND", "FILE", "WHERE", "WHAT"});
      for (const Json& finding : *findings) {
        table.add({{text_of(finding, "kind"), Style::warning},
                   text_of(finding, "fileId"),
                   text_of(finding, "path"),
                   text_of(finding, "sentence")});
      }
      context.print(table);
    }
  }
  if (!good) {
    throw CtlError(exit_failure,
                   fmt::format("{} files do not agree with the journal", findings->size()));
  }
}

/// New files and changes of state as they happen, oldest first, until interrupted.
void follow_files(Context& context, Filter filter, unsigned polls) {
  constexpr std::chrono::milliseconds pause{500};
  refuse_unknown_partner(context, filter);
  std::map<std::string, std::string> seen;
  const std::string query = filter.query();
  bool first = true;
  for (unsigned poll = 0; polls == 0 || poll < polls; ++poll) {
    if (!first) std::this_thread::sleep_for(pause);
    const Reply reply =
        context.get(context.org_path("/files" + query + (query.empty() ? "?" : "&") + "limit=200"));
    const Json answer = parse_json(reply.body);
    const auto* items = answer["items"].if_array();
    if (items == nullptr) continue;
    for (auto file = items->rbegin(); file != items->rend(); ++file) {
      std::string& state = seen[text_of(*file, "id")];
      const std::string now = text_of(*file, "state");
      if (state == now) continue;
      state = now;
      if (first) continue;
      if (context.json) {
        *context.out << file->dump() << '\n';
      } else {
        const std::string reason = text_of(*file, "reasonCode");
        context.line(
            fmt::format("{}  {:<10} {}  {}{}", text_of(*file, "id"), now, text_of(*file, "partner"),
                        full_name(*file), reason.empty() ? "" : "  (" + reason + ")"),
            state_style(now));
      }
      context.out->flush();
    }
    first = false;
  }
}

void export_files(Context& context, const Filter& filter, const std::string& format) {
  std::string query = filter.query();
  if (format == "csv") {
    query += (query.empty() ? "?" : "&") + std::string("format=csv");
    const std::string csv = context.get(context.org_path("/files" + query)).body;
    *context.out << csv;
    if (std::count(csv.begin(), csv.end(), '\n') < 2) refuse_unknown_partner(context, filter);
    return;
  }
  // One object a line, all pages.
  Filter page = filter;
  bool any = false;
  for (;;) {
    const std::string part = page.query();
    const Reply reply =
        context.get(context.org_path("/files" + part + (part.empty() ? "?" : "&") + "limit=1000"));
    const Json answer = parse_json(reply.body);
    if (const auto* items = answer["items"].if_array()) {
      for (const Json& file : *items) *context.out << file.dump() << '\n';
      any = any || !items->empty();
    }
    page.after = text_of(answer, "next");
    if (page.after.empty()) break;
  }
  if (!any) refuse_unknown_partner(context, filter);
}

/// Copies the file to where the daemon looks for outgoing ones, under a hidden name first, so that
/// it appears there complete.
void send_file(Context& context, const std::string& partner, const std::string& object,
               const std::string& path, std::string name) {
  if (name.empty()) name = fs::path(path).filename().string();
  const Reply reply = context.get("/admin/files/outbound?partner=" + encode(partner) +
                                  "&object=" + encode(object) + "&name=" + encode(name));
  const fs::path directory = text_of(parse_json(reply.body), "directory");
  const fs::path target = directory / name;
  const fs::path temporary = directory / (".sending." + base::random_id());
  const auto refuse = [&](const std::string& what) {
    throw CtlError(exit_failure, what + ": " + std::strerror(errno) +
                                     (errno == EACCES ? "; run this as a member of the group of " +
                                                            directory.string()
                                                      : ""));
  };
  const base::UniqueFd source(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!source) refuse(path);
  base::UniqueFd copy(
      ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0660));
  if (!copy) refuse(temporary.string());
  try {
    const base::PageBuffer buffer(256 * 1024);
    for (;;) {
      const ssize_t got = ::read(source.get(), buffer.data(), buffer.size());
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) refuse(path);
      if (got == 0) break;
      base::write_all(copy.get(), buffer.text(static_cast<std::size_t>(got)), temporary.string());
    }
    base::fsync_file(copy.get(), temporary.string());
    copy.reset();  // a file with a writer is not complete
    static_cast<void>(::chmod(temporary.c_str(), 0660));
    if (!base::rename_durably(temporary, target)) {
      throw CtlError(exit_failure,
                     target.string() + " waits there already; try again once it is sent");
    }
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  if (context.json) {
    *context.out << Json::object({{"partner", partner},
                                  {"object", object},
                                  {"name", name},
                                  {"path", target.string()}})
                        .pretty()
                 << '\n';
    return;
  }
  context.line("Given to the gateway as " + (object.empty() ? name : object + "/" + name) +
               " for " + partner +
               "; 'sallyportctl files list --direction outbound' tells what becomes of it.");
}

}  // namespace

void add_files_commands(Command app, Context& context) {
  auto files = app.add_subcommand("files", "Partners' files: where each is and why");
  files.require_subcommand();

  auto list = files.add_subcommand("list", "Files, newest first");
  auto filter = std::make_shared<Filter>();
  filter->add_options(list);
  list.add_option("--limit", filter->limit, "How many").within(1, 1000);
  list.add_option("--after", filter->after, "Go on after the file with this id");
  list.callback([filter, &context] { list_files(context, *filter); });

  auto id = std::make_shared<std::string>();
  auto show = files.add_subcommand("show", "Everything about a file, with its history");
  show.add_option("ID", *id, "The file's id").required();
  show.callback([id, &context] { show_file(context, *id); });

  auto get = files.add_subcommand("get", "The original, from archive or backup alike");
  auto output = std::make_shared<std::string>("-");
  get.add_option("ID", *id, "The file's id").required();
  get.add_option("-o,--output", *output, "Write to this new file instead of standard output");
  get.callback([id, output, &context] { get_content(context, *id, *output); });

  auto retry = files.add_subcommand(
      "retry",
      "Run a failed file through the pipeline again, or the hook, webhook or receipt of another "
      "that was given up");
  retry.add_option("ID", *id, "The file's id").required();
  retry.callback([id, &context] { retry_file(context, *id); });

  auto check = files.add_subcommand(
      "check", "Hold journal and disk against each other; changes nothing, exit 1 if they differ");
  check.callback([&context] { check_files(context); });

  auto follow = files.add_subcommand("follow", "Show what happens to files as it happens");
  auto follow_filter = std::make_shared<Filter>();
  auto polls = std::make_shared<unsigned>(0);
  follow_filter->add_options(follow);
  follow.add_option("--polls", *polls,
                    "Look so many times, twice a second, then end (0: for ever)");
  follow.callback(
      [follow_filter, polls, &context] { follow_files(context, *follow_filter, *polls); });

  auto exports = files.add_subcommand("export", "All files as CSV, or as one JSON object a line");
  auto export_filter = std::make_shared<Filter>();
  auto format = std::make_shared<std::string>("csv");
  export_filter->add_options(exports);
  exports.add_option("--format", *format, "csv or json").one_of({"csv", "json"});
  exports.callback(
      [export_filter, format, &context] { export_files(context, *export_filter, *format); });

  auto send = app.add_subcommand("send", "Sign, encrypt and offer a file to a partner");
  auto partner = std::make_shared<std::string>();
  auto object = std::make_shared<std::string>();
  auto path = std::make_shared<std::string>();
  auto name = std::make_shared<std::string>();
  send.add_option("PARTNER", *partner, "To whom").required();
  send.add_option("FILE", *path, "What").required();
  send.add_option("--object", *object, "Into /Outgoing/OBJECT, such as Invoices; else /Outgoing");
  send.add_option("--name", *name, "Under this name instead of its own");
  send.callback([partner, object, path, name, &context] {
    send_file(context, *partner, *object, *path, *name);
  });
}

}  // namespace sallyport::daemon::ctl

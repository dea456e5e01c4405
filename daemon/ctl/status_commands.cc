// sallyportctl status, clock, sessions, host-keys.
#include <fmt/format.h>

#include <memory>

#include "base/instant.h"
#include "daemon/ctl/answers.h"
#include "daemon/ctl/command.h"
#include "daemon/http/json.h"

namespace sallyport::daemon::ctl {
namespace {

void show_health(Context& context, const Json& status) {
  const base::Instant now = instant_of(status["clock"]["now"]).value_or(base::Instant{});
  for (const Json& condition : items_of(status["health"])) {
    const auto since = instant_of(condition["since"]);
    context.line(fmt::format("{}  {}", text_of(condition["name"]),
                             since ? base::format_relative(*since, now) : std::string()),
                 Style::bad);
    context.line("  " + text_of(condition["sentence"]));
  }
}

void show_status(Context& context) {
  const Reply reply = context.get("/admin/status");
  if (context.print_json(reply)) return;
  const Json status = parse_json(reply.body);
  const bool healthy = is_true(status["healthy"]);
  const Json& clock = status["clock"];
  const base::Instant now = instant_of(clock["now"]).value_or(base::Instant{});
  std::string time = base::format_utc(now);
  if (number_of(clock["offsetSeconds"]) != 0) {
    time += fmt::format(" (test clock, {} ahead)",
                        base::format_duration(base::Seconds{number_of(clock["offsetSeconds"])}));
  }
  std::vector<std::pair<std::string, Table::Cell>> facts = {
      {"State",
       healthy ? Table::Cell("well", Style::good) : Table::Cell("needs attention", Style::bad)},
      {"Organisation", text_of(status["organization"])},
      {"Version", text_of(status["version"])},
      {"Node", text_of(status["node"]) + (is_true(status["leading"]) ? "" : " (not leading)")},
      {"Store", text_of(status["store"])},
      {"Time", is_true(clock["trusted"]) ? Table::Cell(time)
                                         : Table::Cell(time + ", not trusted", Style::bad)},
      {"Key values", text_of(status["keyValues"])},
      {"Connections", text_of(status["connections"])}};
  const Json& notices = status["notices"];
  if (!notices.is_null()) {
    const std::int64_t failed = number_of(notices["failed"]);
    facts.emplace_back("Notices", Table::Cell(fmt::format("{} sent, {} pending, {} failed",
                                                          number_of(notices["sent"]),
                                                          number_of(notices["pending"]), failed),
                                              failed > 0 ? Style::warning : Style::plain));
  }
  const Json& sftp = status["sftp"];
  if (!sftp.is_null()) {
    std::string listening;
    for (const Json& one : items_of(sftp["listening"])) {
      listening += (listening.empty() ? "" : ", ") + text_of(one);
    }
    facts.emplace_back(
        "SFTP",
        is_true(sftp["connected"])
            ? Table::Cell(fmt::format("{}, {} sessions", listening, number_of(sftp["sessions"])))
            : Table::Cell("sallyport-sftp is not connected", Style::warning));
  }
  context.print_facts(facts);
  if (!healthy) {
    context.line("");
    show_health(context, status);
  }
  context.line("");
  Table table({"WORK", "NEXT", "", "PASSES"});
  for (const Json& work : items_of(status["scheduler"])) {
    const auto next = instant_of(work["next"]);
    std::string when = next ? base::format_utc(*next) : "when woken";
    if (is_true(work["running"])) when = "running";
    const std::string problem = text_of(work["problem"]);
    table.add(
        {text_of(work["name"]), when,
         problem.empty()
             ? Table::Cell(next ? base::format_relative(*next, now) : std::string(), Style::faint)
             : Table::Cell("failed", Style::bad),
         text_of(work["passes"])});
  }
  context.print(table);
}

/// For monitoring: one line that says what is wrong, and the exit status.
void check_status(Context& context) {
  const Reply reply = context.get("/admin/status");
  const Json status = parse_json(reply.body);
  const bool healthy = is_true(status["healthy"]);
  if (!context.print_json(reply)) {
    std::string line = healthy ? "Sallyport is well." : "Sallyport needs attention:";
    const char* before = " ";
    for (const Json& condition : items_of(status["health"])) {
      line += before + text_of(condition["name"]) + " (" + text_of(condition["sentence"]) + ")";
      before = "; ";
    }
    context.line(line, healthy ? Style::good : Style::bad);
  }
  if (!healthy) throw CtlError(exit_failure, "");
}

void show_clock(Context& context, const Reply& reply) {
  if (context.print_json(reply)) return;
  const Json clock = parse_json(reply.body);
  const auto now = instant_of(clock["now"]);
  context.print_facts(
      {{"Time", now ? base::format_utc(*now) : std::string("unknown")},
       {"Final transitions",
        is_true(clock["trusted"])
            ? Table::Cell("are made", Style::good)
            : Table::Cell("wait: the clock stepped; 'sallyportctl clock confirm' if it is right",
                          Style::bad)}});
  if (const bool* done = clock["done"].if_bool(); done != nullptr && !*done) {
    throw CtlError(exit_failure,
                   "the clock was moved, but not everything that became due was done in time");
  }
}

void add_clock(Command app, Context& context) {
  auto clock = app.add_subcommand("clock", "The daemon's time");
  clock.require_subcommand();
  auto show = clock.add_subcommand("show", "What time it is for the daemon, and if it trusts it");
  show.callback([&context] { show_clock(context, context.get("/admin/clock")); });
  auto confirm = clock.add_subcommand(
      "confirm", "The machine's clock is right after it stepped: go on expiring keys");
  confirm.callback([&context] { show_clock(context, context.post("/admin/clock/confirm")); });
  auto advance = clock.add_subcommand(
      "advance", "Test instances only: move the time and work off everything that becomes due");
  const auto by = std::make_shared<std::string>();
  advance.add_option("BY", *by, "A length of time: 90s, 2h, 7d").required();
  advance.callback([by, &context] {
    show_clock(context, context.post("/admin/clock/advance", Json::object({{"by", *by}}).dump()));
  });
}

void add_sessions(Command app, Context& context) {
  auto sessions = app.add_subcommand("sessions", "Partners that are logged in by SFTP now");
  sessions.callback([&context] {
    const Reply reply = context.get("/admin/sessions");
    if (context.print_json(reply)) return;
    const Json answer = parse_json(reply.body);
    Table table({"PARTNER", "ADDRESS", "SINCE", "CLIENT"});
    for (const Json& one : items_of(answer["items"])) {
      const auto since = instant_of(one["since"]);
      table.add({text_of(one["partner"]), text_of(one["address"]),
                 since ? base::format_utc(*since) : std::string(), text_of(one["client"])});
    }
    context.print(table, "Nobody is logged in.");
  });
}

// For files: staged keys too, which clients are to know before they are in use.
void print_host_keys(const Json& answer, bool for_dns, Context& context) {
  const std::string host = text_of(answer["host"]);
  // A record belongs to a whole name.
  if (for_dns && (host.find('.') == std::string::npos || host.find(':') != std::string::npos ||
                  host.find_first_not_of("0123456789.") == std::string::npos)) {
    throw CtlError(exit_failure,
                   fmt::format("'{}' is no name in DNS: set gateway.public_host to the "
                               "one that partners connect to.",
                               host));
  }
  const std::int64_t port = number_of(answer["port"]);
  const std::string known = port == 22 ? host : fmt::format("[{}]:{}", host, port);
  for (const Json& one : items_of(answer["items"])) {
    context.line(for_dns ? fmt::format("{}. IN SSHFP {}", host, text_of(one["sshfp"]))
                         : known + " " + text_of(one["publicLine"]));
  }
}

void add_host_keys(Command app, Context& context) {
  auto keys = app.add_subcommand("host-keys", "The SFTP server's host keys and fingerprints");
  const auto form = std::make_shared<std::string>("table");
  keys.add_option("--format", *form,
                  "A table; lines for a known_hosts file; SSHFP records for DNS (SHA-256)")
      .one_of({"table", "known-hosts", "sshfp"})
      .show_default();
  keys.callback([form, &context] {
    const Reply reply = context.get("/admin/host-keys");
    if (context.print_json(reply)) return;
    const Json answer = parse_json(reply.body);
    if (*form != "table") return print_host_keys(answer, *form == "sshfp", context);
    Table table({"ALGORITHM", "SHA256", "MD5", ""});
    for (const Json& one : items_of(answer["items"])) {
      table.add({text_of(one["algorithm"]), text_of(one["sha256"]), text_of(one["md5"]),
                 is_true(one["staged"]) ? "staged" : ""});
    }
    context.print(table, "sallyport-sftp is not connected.");
  });
}

}  // namespace

void add_status_commands(Command app, Context& context) {
  auto status = app.add_subcommand("status", "Is all well, what runs when, what needs attention");
  const auto check = std::make_shared<bool>(false);
  status.add_flag("--check", *check,
                  "For monitoring: one line, and exit status 1 if anything needs attention");
  status.callback([check, &context] { *check ? check_status(context) : show_status(context); });
  add_clock(app, context);
  add_sessions(app, context);
  add_host_keys(app, context);
}

}  // namespace sallyport::daemon::ctl

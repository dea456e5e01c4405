#include "daemon/ctl/look_ahead_commands.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <ostream>
#include <sstream>

#include "base/instant.h"
#include "daemon/ctl/answers.h"
#include "daemon/ctl/key_table.h"
#include "daemon/http/json.h"

namespace sallyport::daemon::ctl {

namespace {

/// One request holds at most 1 MiB.
constexpr std::size_t keys_per_request = 200;

/// Seen from the daemon's time, which a test moves and another machine's clock need not share.
base::Instant daemon_time(Context& context) {
  const Json clock = parse_json(context.get("/admin/clock").body);
  return instant_of(clock["now"])
      .value_or(std::chrono::floor<base::Seconds>(std::chrono::system_clock::now()));
}

std::string relative(const Json& millis, base::Instant now) {
  const auto instant = instant_of(millis);
  return instant ? base::format_relative(*instant, now) : "";
}

std::string what(const Json& event) {
  if (text_of(event["what"]) != "MAIL") return "becomes " + text_of(event["status"]);
  std::string out = "mail " + text_of(event["kind"]);
  const auto* offset = event["offsetSeconds"].if_int();
  if (offset != nullptr && *offset > 0) {
    out += ", " + base::format_duration(base::Seconds{*offset}) + " before";
  }
  return out;
}

void print_events(Context& context, const Json& events, std::string_view when_empty) {
  Table table({"WHEN", "KEY", "NAME", "WHAT", "TO"});
  for (const auto& event : items_of(events)) {
    table.add({when(event["at"]),
               text_of(event["apiKeyId"]),
               text_of(event["displayName"]),
               {what(event), text_of(event["what"]) == "MAIL" ? Style::plain : Style::warning},
               joined(event["recipients"])});
  }
  context.print(table, when_empty);
}

void add_simulate(Command key, Context& context) {
  auto simulate = key.add_subcommand(
      "simulate", "Every transition and mail of the coming days, if nobody touches a key");
  auto days = std::make_shared<int>(30);
  auto asleep = std::make_shared<std::vector<std::string>>();
  simulate.add_option("--days", *days, "How far to look").within(1, 3660).show_default();
  simulate.add_option("--asleep", *asleep,
                      "FROM/TO: as if the daemon were down in between (repeatable)");
  simulate.callback([&context, days, asleep] {
    std::string query = "/admin/keys/simulate?days=" + std::to_string(*days);
    for (const auto& each : *asleep) query += "&asleep=" + encode(each);
    const Reply reply = context.get(query);
    if (context.print_json(reply)) return;
    print_events(context, parse_json(reply.body), "Nothing will happen.");
  });
}

void add_calendar(Command key, Context& context) {
  auto calendar = key.add_subcommand("calendar", "The coming deadlines of all keys");
  auto days = std::make_shared<int>(90);
  auto ics = std::make_shared<bool>(false);
  calendar.add_option("--days", *days, "How far to look").within(1, 3660).show_default();
  calendar.add_flag("--ics", *ics, "As iCalendar");
  calendar.callback([&context, days, ics] {
    const std::string query = "/admin/keys/calendar?days=" + std::to_string(*days);
    if (*ics) {
      *context.out << context.get(query + "&format=ics").body;
      return;
    }
    const Reply reply = context.get(query);
    if (context.print_json(reply)) return;
    Table table({"WHEN", "", "KEY", "NAME", "TIMER", "BECOMES"});
    const Json deadlines = parse_json(reply.body);
    const base::Instant now = daemon_time(context);
    for (const auto& each : items_of(deadlines)) {
      table.add({when(each["at"]), relative(each["at"], now), text_of(each["apiKeyId"]),
                 text_of(each["displayName"]), text_of(each["timer"]), text_of(each["status"])});
    }
    context.print(table, "There is no deadline in these days.");
  });
}

void add_why(Command key, Context& context) {
  auto why = key.add_subcommand(
      "why", "Which timers of a key run, what happens next and who will be told");
  auto id = std::make_shared<std::string>();
  why.add_option("ID", *id, "The key's id").required();
  why.callback([&context, id] {
    const Reply reply = context.get("/admin/keys/why?id=" + encode(*id));
    if (context.print_json(reply)) return;
    const Json answer = parse_json(reply.body);
    context.line(
        text_of(answer["displayName"]) + " is " + text_of(answer["status"]) +
            (answer["usable"] == Json(true) ? " and can be used." : " and is refused everywhere."),
        Style::strong);
    const base::Instant now = daemon_time(context);
    for (const auto& timer : items_of(answer["timers"])) {
      const bool runs = timer["runs"] == Json(true);
      context.line(
          text_of(timer["timer"]) +
              (runs ? ": runs until " + when(timer["deadline"]) + " (" +
                          relative(timer["deadline"], now) + "), because "
                    : ": does not run, because ") +
              text_of(timer["because"]) + "." +
              (timer["pending"] == Json(true)
                   ? " It is past: the key stays usable until a mail server has had its last "
                     "warning for 24 hours."
                   : ""),
          runs ? Style::plain : Style::faint);
    }
    context.line("Next, if nobody touches it:", Style::strong);
    print_events(context, answer["next"], "Nothing.");
  });
}

std::string read_whole(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in)
    throw CtlError(exit_failure, fmt::format("cannot read {}: {}", file, std::strerror(errno)));
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

Json::Array read_keys(const std::string& file, std::string format) {
  if (format.empty()) {
    const bool csv = file.size() > 4 && file.substr(file.size() - 4) == ".csv";
    format = csv ? "csv" : "json";
  }
  const std::string content = read_whole(file);
  if (format == "csv") return keys_from_csv(content);
  Json body;
  try {
    body = parse_json(content);
  } catch (const JsonError& error) {
    throw CtlError(exit_usage, file + " is no JSON: " + error.what());
  }
  const Json& list = body.if_object() != nullptr ? body["keys"] : body;
  const auto* items = list.if_array();
  if (items == nullptr) {
    throw CtlError(exit_usage, file + " must hold a JSON array of keys, or {\"keys\": [...]}.");
  }
  return *items;
}

/// The answers of all parts: first all are checked, then all are written.
Json import_parts(Context& context, const Json::Array& keys, bool dry_run) {
  Json events = Json::array();
  std::int64_t count = 0;
  for (std::size_t begin = 0; begin < keys.size(); begin += keys_per_request) {
    const std::size_t end = std::min(begin + keys_per_request, keys.size());
    const Json body =
        Json::object({{"dryRun", dry_run},
                      {"firstRow", begin + 1},
                      {"keys", Json::Array(keys.begin() + static_cast<std::ptrdiff_t>(begin),
                                           keys.begin() + static_cast<std::ptrdiff_t>(end))}});
    const Json answer = parse_json(context.post("/admin/keys/import", body.dump()).body);
    count += *answer["count"].if_int();
    for (const auto& event : items_of(answer["next60Days"])) events.push(event);
  }
  return Json::object({{"dryRun", dry_run}, {"count", count}, {"next60Days", std::move(events)}});
}

void add_import(Command key, Context& context) {
  auto importing = key.add_subcommand("import", "Takes over existing keys from JSON or CSV");
  auto file = std::make_shared<std::string>();
  auto format = std::make_shared<std::string>();
  auto dry_run = std::make_shared<bool>(false);
  importing.add_option("FILE", *file, "A JSON array of keys, or CSV with a header line").required();
  importing.add_option("--format", *format, "json or csv; by the file's name if absent")
      .one_of({"json", "csv"});
  importing.add_flag("--dry-run", *dry_run, "Check, and list the coming 60 days; write nothing");
  importing.footer(
      "Members or columns: displayName, description, apiKeyTemplateId, value or sha256 (and "
      "last4),\n"
      "privileges, permissions, allowedIps, deniedIps, createdDate, activationDate, lastUsedDate,\n"
      "expirationDate, enabled, contact.firstName, contact.lastName, contact.login, "
      "contact.email.\n"
      "In CSV lists are separated by spaces; dates are 2027-05-15 or 2027-05-15T14:30:00Z.");
  importing.callback([&context, file, format, dry_run] {
    const auto keys = read_keys(*file, *format);
    if (keys.empty()) throw CtlError(exit_usage, *file + " holds no keys.");
    Json answer = import_parts(context, keys, true);
    if (!*dry_run) answer = import_parts(context, keys, false);
    Reply reply;
    reply.body = answer.dump();
    if (context.print_json(reply)) return;
    const bool one = number_of(answer["count"]) == 1;
    context.line(text_of(answer["count"]) + (one ? " key " : " keys ") +
                     (*dry_run ? "could be imported; nothing was written."
                               : (one ? "was imported." : "were imported.")),
                 Style::good);
    context.line("In the coming 60 days, if nobody touches them:", Style::strong);
    print_events(context, answer["next60Days"], "Nothing will happen.");
  });
}

}  // namespace

void add_look_ahead_commands(Command key, Context& context) {
  add_simulate(key, context);
  add_calendar(key, context);
  add_why(key, context);
  add_import(key, context);
}

}  // namespace sallyport::daemon::ctl

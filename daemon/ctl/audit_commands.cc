// sallyportctl audit.
#include <fmt/format.h>

#include <memory>

#include "daemon/ctl/answers.h"
#include "daemon/ctl/command.h"

namespace sallyport::daemon::ctl {
namespace {

struct Filter {
  std::string partner, since, until;
  unsigned limit = 50;

  [[nodiscard]] std::string query() const {
    std::string text = fmt::format("?limit={}", limit);
    for (const auto& [key, value] :
         {std::pair{"partner", &partner}, {"since", &since}, {"until", &until}}) {
      if (!value->empty()) text += fmt::format("&{}={}", key, encode(*value));
    }
    return text;
  }
};

Style style_of(const std::string& event) {
  if (event == "login_failed" || event == "refused" || event == "turned_away") return Style::bad;
  return event == "partial" ? Style::warning : Style::plain;
}

std::string what_of(const Json& one, const std::string& event) {
  std::string text = text_of(one, "path");
  if (const std::int64_t bytes = number_of(one["bytes"]); bytes > 0)
    text += (text.empty() ? "" : ", ") + size_text(bytes);
  const std::string detail = text_of(one, "detail");
  if (!detail.empty()) text += (text.empty() ? "" : event == "rename" ? " to " : ", ") + detail;
  return text;
}

void show(Context& context, const Filter& filter) {
  const Reply reply = context.get("/admin/session-events" + filter.query());
  if (context.print_json(reply)) return;
  const Json answer = parse_json(reply.body);
  // The last column is as long as people have made their names.
  Table table({"TIME (UTC)", "PARTNER", "ADDRESS", "EVENT", "WHAT"});
  for (const Json& one : items_of(answer["items"])) {
    const std::string event = text_of(one, "event");
    table.add({time_text(text_of(one, "at")),
               text_of(one, "partner"),
               text_of(one, "address"),
               {event, style_of(event)},
               what_of(one, event)});
  }
  context.print(table, "Nothing is on record for that.");
  if (is_true(answer["more"])) {
    context.line("There are older ones: --limit shows more, --since and --until other times.",
                 Style::faint);
  }
}

}  // namespace

void add_audit_commands(Command app, Context& context) {
  auto audit =
      app.add_subcommand("audit",
                         "What partners did over SFTP: logins, refusals and their reasons, "
                         "transfers");
  const auto filter = std::make_shared<Filter>();
  audit.add_option("--partner", filter->partner,
                   "Only what was done, or tried, under this partner's name");
  audit.add_option("--since", filter->since, "From this date or instant (UTC) on");
  audit.add_option("--until", filter->until, "Before this date or instant (UTC)");
  audit.add_option("--limit", filter->limit, "Rows, newest first").within(1, 10000);
  audit.callback([filter, &context] { show(context, *filter); });
}

}  // namespace sallyport::daemon::ctl

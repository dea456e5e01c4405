// sallyportctl activity ...: who did what, and whether the log is whole.
#include <fstream>
#include <memory>
#include <ostream>

#include "base/instant.h"
#include "daemon/ctl/answers.h"
#include "daemon/ctl/command.h"
#include "daemon/http/json.h"

namespace sallyport::daemon::ctl {

namespace {

/// Digests of notices are as long as a line; how they begin names them.
std::string shortened(const std::string& id) {
  return id.size() == 64 ? id.substr(0, 12) : id;
}

struct ListOptions {
  std::vector<std::string> resources, types, operations;
  std::string actor, from, to;
  int page = 0;
  int per_page = 50;
};

void list(Context& context, const ListOptions& options) {
  Json filter = Json::object();
  if (!options.resources.empty()) filter.set("resourceIds", Json::array_of(options.resources));
  if (!options.types.empty()) filter.set("resourceTypes", Json::array_of(options.types));
  if (!options.operations.empty()) filter.set("operations", Json::array_of(options.operations));
  if (!options.actor.empty()) filter.set("actor", options.actor);
  std::string query =
      "?page=" + std::to_string(options.page) + "&perPage=" + std::to_string(options.per_page);
  if (!options.from.empty()) query += "&from=" + encode(options.from);
  if (!options.to.empty()) query += "&to=" + encode(options.to);
  const Reply reply = context.post(context.org_path("/activities/public" + query), filter.dump());
  if (context.print_json(reply)) return;
  const Json page = parse_json(reply.body);
  Table table({"WHEN (UTC)", "WHO", "FROM", "WHAT", "RESULT", "RESOURCE"});
  for (const auto& row : items_of(page["items"])) {
    const auto at = instant_of(row["createDate"]);
    const std::string result = text_of(row["result"]);
    table.add({at ? time_text(base::format_iso(*at)) : "",
               text_of(row["triggeredBy"]["displayName"]),
               text_of(row["source"]),
               text_of(row["operation"]),
               {result, result == "SUCCESS" ? Style::plain : Style::warning},
               text_of(row["resourceType"]) + " " + shortened(text_of(row["resourceId"])) + " " +
                   text_of(row["resourceName"])});
  }
  context.print(table, "There is no such activity.");
  context.line(text_of(page["totalEntries"]) + " entries; this is --page " +
                   std::to_string(options.page) + " of " + text_of(page["totalPages"]) +
                   " from 0 on",
               Style::faint);
}

void verify(Context& context) {
  const Reply reply = context.get("/admin/activity/verify");
  const Json report = parse_json(reply.body);
  const bool good = report["good"] == Json(true);
  if (!context.print_json(reply)) {
    if (report["authenticated"] != Json(true)) {
      context.line(
          "Checkpoints could not be authenticated: " +
              (report.find("credentialProblem") != nullptr
                   ? text_of(report["credentialProblem"])
                   : std::string("activity.credential_file is not set")) +
              ". A row that was rewritten together with all rows after it would not be found.",
          Style::warning);
    }
    for (const auto& chain : items_of(report["chains"])) {
      context.line(text_of(chain["node"]) + ": rows " + text_of(chain["first"]) + " to " +
                       text_of(chain["last"]) + ", vouched for by a checkpoint up to row " +
                       text_of(chain["vouched"]),
                   chain["good"] == Json(true) ? Style::good : Style::bad);
      for (const auto& finding : items_of(chain["findings"])) {
        context.line("  " + text_of(finding), Style::bad);
      }
    }
    context.line(good ? "The activity log is whole." : "The activity log was tampered with.",
                 good ? Style::good : Style::bad);
  }
  if (!good) throw CtlError(exit_failure, "The activity log is not whole.");
}

/// One JSON object a line, of every node, with the hashes: enough to verify it elsewhere.
void export_all(Context& context, const std::string& file) {
  std::ofstream opened;
  if (!file.empty()) {
    opened.open(file, std::ios::binary | std::ios::trunc);
    if (!opened) throw CtlError(exit_failure, "Cannot write " + file + ".");
  }
  std::ostream& out = file.empty() ? *context.out : opened;
  const Json nodes = parse_json(context.get("/admin/activity/nodes").body);
  std::size_t count = 0;
  for (const auto& node : items_of(nodes)) {
    std::int64_t after = 0;
    while (true) {
      const Json page =
          parse_json(context
                         .get("/admin/activity/chain?limit=1000&node=" + encode(text_of(node)) +
                              "&after=" + std::to_string(after))
                         .body);
      const auto& rows = items_of(page);
      for (const auto& row : rows) out << row.dump() << '\n';
      count += rows.size();
      if (rows.empty()) break;
      after = *rows.back()["sequence"].if_int();
    }
  }
  out.flush();
  if (!out) throw CtlError(exit_failure, "Writing the export failed: is the disk full?");
  if (!file.empty()) context.line(std::to_string(count) + " rows written to " + file + ".");
}

}  // namespace

void add_activity_commands(Command app, Context& context) {
  auto activity = app.add_subcommand("activity", "The activity log: list, verify, export");
  activity.require_subcommand();

  auto listing = activity.add_subcommand("list", "Who did what, newest first");
  auto options = std::make_shared<ListOptions>();
  listing.add_option("--resource", options->resources, "Id of a key, partner ... (repeatable)");
  listing.add_option("--type", options->types, "API_KEY, PARTNER, FILE ... (repeatable)");
  listing.add_option("--operation", options->operations, "CREATE, DISABLE ... (repeatable)");
  listing.add_option("--actor", options->actor, "Who did it");
  listing.add_option("--from", options->from, "Not before: 2026-11-22 or 2026-11-22T14:30:00Z");
  listing.add_option("--to", options->to, "Before");
  listing.add_option("--page", options->page, "From 0").not_negative();
  listing.add_option("--per-page", options->per_page, "1 to 1000").within(1, 1000);
  listing.callback([&context, options] { list(context, *options); });

  auto verifying =
      activity.add_subcommand("verify", "Whether a row was changed, removed or cut off");
  verifying.callback([&context] { verify(context); });

  auto exporting = activity.add_subcommand("export", "All of it, one JSON object a line");
  auto file = std::make_shared<std::string>();
  exporting.add_option("--output,-o", *file, "File to write; standard output if absent");
  exporting.callback([&context, file] { export_all(context, *file); });
}

}  // namespace sallyport::daemon::ctl

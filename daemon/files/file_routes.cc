// The routes of files (spec/gateway.md 8).
#include <algorithm>
#include <string>

#include "base/file_io.h"
#include "daemon/files/file_json.h"
#include "daemon/files/file_schemas.h"
#include "daemon/files/file_service.h"
#include "daemon/files/names.h"
#include "daemon/files/originals.h"
#include "daemon/files/outbound_watch.h"
#include "daemon/http/query_instant.h"

namespace sallyport::daemon {
namespace {

using store::File;
using store::Unit;

constexpr std::int64_t default_page = 100;
constexpr std::int64_t largest_page = 1000;
constexpr unsigned export_page = 500;
/// An export is one answer in memory; larger ones are asked for in parts by since and until.
constexpr std::size_t export_limit_bytes = 64 << 20;

File find_or_404(const FileContext& context, const std::string& id) {
  auto file = context.store.read([&](Unit& unit) { return store::find_file(unit, id); });
  if (!file) throw ProblemError(404, "FILE_NOT_FOUND", "There is no file " + id + ".");
  return std::move(*file);
}

std::string value_of(const Request& request, std::string_view name) {
  return std::string(request.query_value(name).value_or(""));
}

store::FileFilter filter_of(const Request& request) {
  store::FileFilter filter;
  filter.partner = value_of(request, "partner");
  filter.object = value_of(request, "object");
  filter.name = value_of(request, "name");
  filter.since = query_instant(request, "since");
  filter.until = query_instant(request, "until");
  if (const std::string direction = value_of(request, "direction"); !direction.empty()) {
    if (direction != "inbound" && direction != "outbound") {
      throw ProblemError(400, "INVALID_PARAMETER", "direction must be inbound or outbound.");
    }
    filter.direction =
        direction == "inbound" ? store::Direction::inbound : store::Direction::outbound;
  }
  if (const std::string state = value_of(request, "state"); !state.empty()) {
    filter.state = parse_file_state(state);
    if (!filter.state) {
      throw ProblemError(400, "INVALID_PARAMETER",
                         "state must be a state of files, such as archived or failed.");
    }
  }
  return filter;
}

Response list_as_csv(const FileContext& context, const store::FileFilter& filter) {
  std::string csv = csv_header();
  std::optional<File> last;
  for (;;) {
    auto page = context.store.read([&](Unit& unit) {
      return store::list_files(unit, filter, last ? &*last : nullptr, export_page);
    });
    for (const File& file : page) csv += csv_row(file);
    if (csv.size() > export_limit_bytes) {
      throw ProblemError(413, "EXPORT_TOO_LARGE",
                         "This export is too large for one answer; narrow it by since and until.");
    }
    if (page.size() < export_page) break;
    last = std::move(page.back());
  }
  Response response = text_response(200, std::move(csv), "text/csv; charset=utf-8");
  response.headers.emplace_back("Content-Disposition", "attachment; filename=\"files.csv\"");
  return response;
}

Response list_files(const FileContext& context, const Request& request) {
  const store::FileFilter filter = filter_of(request);
  const std::string format = value_of(request, "format");
  if (format == "csv") return list_as_csv(context, filter);
  if (!format.empty() && format != "json") {
    throw ProblemError(400, "INVALID_PARAMETER", "format must be json or csv.");
  }
  const auto limit =
      static_cast<unsigned>(request.query_number("limit", default_page, 1, largest_page));
  std::optional<File> after;
  if (const std::string id = value_of(request, "after"); !id.empty()) {
    after = find_or_404(context, id);
  }
  // One more than asked for tells whether there is another page.
  auto files = context.store.read([&](Unit& unit) {
    return store::list_files(unit, filter, after ? &*after : nullptr, limit + 1);
  });
  const bool more = files.size() > limit;
  if (more) files.resize(limit);
  Json items = Json::array();
  for (const File& file : files) items.push(to_json(file));
  Json answer = Json::object({{"items", std::move(items)}});
  answer.set("next", more ? Json(files.back().id) : Json());
  return json_response(200, answer);
}

Response show_file(const FileContext& context, const std::string& id) {
  const File file = find_or_404(context, id);
  return context.store.read([&](Unit& unit) {
    return json_response(200,
                         to_json(file, store::file_steps(unit, id), store::file_tasks(unit, id)));
  });
}

Response content_of(const FileContext& context, const Request& request, const std::string& id) {
  const File file = find_or_404(context, id);
  auto original = open_original(context, file);
  context.store.write([&](Unit& unit) {
    ActivityEntry entry;
    entry.actor = request.caller.actor();
    entry.source = request.caller.source;
    entry.operation = "DOWNLOAD";
    entry.resource_type = "FILE";
    entry.resource_id = file.id;
    entry.resource_name = file.name;
    entry.success = original.has_value();
    context.activity.append(unit, entry);
  });
  if (!original) {
    throw ProblemError(
        404, "FILE_CONTENT_NOT_FOUND",
        "The original of this file is not there (" + std::string(to_string(file.state)) + ").");
  }
  Response response = file_response(request, std::move(*original), "application/octet-stream",
                                    split_last(file.name).name);
  response.headers.emplace_back("X-Content-Type-Options", "nosniff");
  response.headers.emplace_back("Cache-Control", "no-store");
  return response;
}

Response check_files(FileService& files) {
  const CheckReport report = files.check();
  Json findings = Json::array();
  for (const Finding& finding : report.findings) {
    findings.push(
        Json::object({{"kind", finding.kind},
                      {"path", finding.path},
                      {"fileId", finding.file_id.empty() ? Json() : Json(finding.file_id)},
                      {"sentence", finding.sentence}}));
  }
  return json_response(200, Json::object({{"findings", std::move(findings)},
                                          {"rows", static_cast<std::int64_t>(report.rows)},
                                          {"files", static_cast<std::int64_t>(report.files)}}));
}

Response outbound_directory(FileService& files, const Request& request) {
  const std::string partner = value_of(request, "partner");
  const std::string object = value_of(request, "object");
  const auto record =
      files.context().store.read([&](Unit& unit) { return store::find_partner(unit, partner); });
  if (!record) throw ProblemError(404, "PARTNER_NOT_FOUND", "There is no partner " + partner + ".");
  const PartnerPolicy policy = files.context().policy(*record, object);
  if (!object.empty() &&
      std::find(policy.objects.begin(), policy.objects.end(), object) == policy.objects.end()) {
    std::string known;
    for (const auto& name : policy.objects) known += (known.empty() ? "" : ", ") + name;
    throw ProblemError(
        400, "UNKNOWN_OBJECT",
        "Partner " + partner + " has no object " + object + "; it has " + known + ".");
  }
  if (const std::string name = value_of(request, "name"); !name.empty()) {
    if (!is_component(name)) {
      throw ProblemError(400, "BAD_NAME",
                         "That is no name for a file: it has '/' or control characters, is '.' or "
                         "'..', is longer than 255 bytes, or is not UTF-8.");
    }
    if (is_not_ready(policy, name)) {
      throw ProblemError(400, "NAME_MEANS_NOT_READY",
                         "A file of this name is taken for one that is not ready yet (policy "
                         "not_ready, or a name that begins with a dot); give it another with "
                         "--name.");
    }
  }
  const Directory directory = Directory::open(files.context().config.get()->files.outbound)
                                  .make(join(partner, object), shared_directory_mode);
  return json_response(200, Json::object({{"directory", directory.path()}}));
}

}  // namespace

void add_file_routes(Router& router, FileService& files) {
  router.schema("File", file_schema);
  router.schema("Files", files_schema);
  const std::string base = "/rest/organizations/{org}/files";
  router
      .add(Method::get, base, Access::privilege("PLATFORM/FILE/VIEW"),
           [&files](const Request& request, const Params&) {
             return list_files(files.context(), request);
           })
      .describe("Files of both directions, newest first")
      .query("partner", "Only of this partner")
      .query("object", "Only of this object")
      .query("direction", "inbound or outbound")
      .query("state", "Only in this state")
      .query("name", "Only with exactly this name")
      .query("since", "Created at or after this date or instant")
      .query("until", "Created before this date or instant")
      .query("format", "json or csv")
      .query("limit", "How many, 1 to 1000", "integer")
      .query("after", "The id of the last file of the page before")
      .answers(200, "Files");
  router
      .add(Method::get, base + "/{id}", Access::privilege("PLATFORM/FILE/VIEW"),
           [&files](const Request&, const Params& params) {
             return show_file(files.context(), params["id"]);
           })
      .describe("One file with its history")
      .answers(200, "File")
      .answers(404);
  router
      .add(Method::get, base + "/{id}/content", Access::privilege("PLATFORM/FILE_CONTENT/VIEW"),
           [&files](const Request& request, const Params& params) {
             return content_of(files.context(), request, params["id"]);
           })
      .describe("The original as it was received or sent, from archive or backup alike")
      .answers(200)
      .answers(404)
      .answers(409)
      .answers(503);
  router
      .add(Method::post, base + "/{id}/retry", Access::privilege("PLATFORM/FILE/EDIT"),
           [&files](const Request& request, const Params& params) {
             return json_response(200, to_json(files.retry(params["id"], request.caller)));
           })
      .describe(
          "Run a failed file through the pipeline again, or the hook, webhook or receipt of "
          "another "
          "that was given up")
      .answers(200, "File")
      .answers(404)
      .answers(409);
  router.add(Method::post, "/admin/files/check", Access::local(),
             [&files](const Request&, const Params&) { return check_files(files); });
  router.add(Method::get, "/admin/files/outbound", Access::local(),
             [&files](const Request& request, const Params&) {
               return outbound_directory(files, request);
             });
}

}  // namespace sallyport::daemon

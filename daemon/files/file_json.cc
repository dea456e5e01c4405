#include "daemon/files/file_json.h"

#include <initializer_list>

#include "daemon/files/journal.h"

namespace sallyport::daemon {
namespace {

using store::File;

/// The instant as text; null for "not yet".
Json instant(base::Instant at) {
  return at == base::Instant{} ? Json() : Json(base::format_iso(at));
}
Json instant(const std::optional<base::Instant>& at) {
  return at ? instant(*at) : Json();
}

Json text(const std::string& value) {
  return value.empty() ? Json() : Json(value);
}

/// What we wrote ourselves as JSON; nothing if it is not.
Json embedded(const std::string& json) {
  if (json.empty()) return Json();
  try {
    return parse_json(json);
  } catch (const JsonError&) {
    return Json();
  }
}

std::string location(const File& file) {
  switch (file.state) {
    case store::FileState::received:
    case store::FileState::decrypted:
    case store::FileState::delivered:
      return "spool";
    case store::FileState::archived:
    case store::FileState::available:
    case store::FileState::downloaded:
      return file.published_as;
    case store::FileState::failed:
      return file.backup_at.empty() ? file.published_as : file.backup_at;
    case store::FileState::backed_up:
      return file.backup_at;
    default:
      return "";
  }
}

/// RFC 4180; what a spreadsheet would take for a formula is told not to be one.
std::string csv_field(std::string_view value) {
  std::string out = "\"";
  if (!value.empty() &&
      std::string_view("=+-@\t\r").find(value.front()) != std::string_view::npos) {
    out += '\'';
  }
  for (const char c : value) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + "\"";
}

}  // namespace

std::string_view to_string(store::Direction direction) {
  return direction == store::Direction::inbound ? "inbound" : "outbound";
}

Json to_json(const File& file) {
  Json json = Json::object({{"id", file.id},
                            {"partner", file.partner},
                            {"direction", to_string(file.direction)},
                            {"object", file.object},
                            {"name", file.name},
                            {"size", static_cast<std::int64_t>(file.size)},
                            {"sha256", text(file.sha256)},
                            {"state", to_string(file.state)},
                            {"createdAt", instant(file.created)}});
  json.set("receivedAt", instant(file.received));
  json.set("location", text(location(file)));
  json.set("reasonCode", text(file.reason_code));
  json.set("reason", text(file.reason));
  json.set("deliveredAs", text(file.delivered_as));
  json.set("publishedAs", text(file.published_as));
  json.set("backupAt", text(file.backup_at));
  json.set("plainSha256", text(file.plain_sha256));
  json.set("verdict", embedded(file.verdict));
  json.set("uploader", embedded(file.uploader));
  json.set("attempts", file.attempts);
  json.set("nextDueAt", instant(file.next_due));
  return json;
}

Json to_json(const File& file, const std::vector<store::FileStep>& steps,
             const std::vector<store::FileTask>& tasks) {
  Json json = to_json(file);
  Json history = Json::array();
  for (const auto& step : steps) {
    history.push(Json::object(
        {{"state", to_string(step.state)}, {"at", instant(step.at)}, {"detail", step.detail}}));
  }
  json.set("history", std::move(history));
  Json pending = Json::array();
  for (const auto& task : tasks) {
    pending.push(Json::object({{"kind", task.kind},
                               {"attempts", task.attempts},
                               {"nextDueAt", instant(task.next_due)},
                               {"lastError", text(task.last_error)}}));
  }
  json.set("pending", std::move(pending));
  return json;
}

std::string csv_header() {
  return "id,partner,direction,object,name,size,sha256,state,createdAt,receivedAt,reasonCode,"
         "reason,"
         "location\r\n";
}

std::string csv_row(const File& file) {
  const auto when = [](base::Instant at) {
    return at == base::Instant{} ? std::string() : base::format_iso(at);
  };
  std::string row;
  for (const std::string& value :
       {file.id, file.partner, std::string(to_string(file.direction)), file.object, file.name,
        std::to_string(file.size), file.sha256, std::string(to_string(file.state)),
        when(file.created), when(file.received), file.reason_code, file.reason, location(file)}) {
    if (!row.empty()) row += ',';
    row += csv_field(value);
  }
  return row + "\r\n";
}

}  // namespace sallyport::daemon

#include "daemon/files/check.h"

#include <chrono>
#include <set>

#include "base/log.h"
#include "daemon/files/intent_lists.h"
#include "daemon/files/names.h"
#include "store/error.h"

namespace sallyport::daemon {
namespace {

using store::File;
using store::FileState;
using store::Unit;

constexpr unsigned page = 500;
/// For so long an upload may be in the spool and in the list of its session alone.
constexpr std::chrono::minutes on_its_way{15};
constexpr unsigned deepest = 32;
constexpr std::string_view marker_ending = ".ready";
constexpr std::string_view note_ending = ".reason.txt";
/// From this length on the name of a note may be its file's cut short.
constexpr std::size_t cut_note = 240;

std::optional<File> row_of(const FileContext& context, const std::string& id) {
  return context.store.read([&](Unit& unit) { return store::find_file(unit, id); });
}

/// In lists of sessions, or in the table where programs before this one kept intents.
std::set<std::string> announced_ids(const FileContext& context, const std::string& partner) {
  std::set<std::string> ids = listed_ids(context.staging(partner));
  for (const auto& intent :
       context.store.read([](Unit& unit) { return store::list_upload_intents(unit, "", page); })) {
    ids.insert(intent.id);
  }
  return ids;
}

bool is_unfinished_inbound(FileState state) {
  return state == FileState::receiving || state == FileState::received ||
         state == FileState::decrypted || state == FileState::delivered;
}

std::vector<std::string> partner_names(const FileContext& context) {
  std::vector<std::string> names;
  for (const auto& partner :
       context.store.read([](Unit& unit) { return store::list_partners(unit); })) {
    names.push_back(partner.name);
  }
  return names;
}

}  // namespace

void Check::look_at_spool(const std::string& partner, const FileSink& offer, CheckReport& report) {
  const Directory spool = context_.spool(partner);
  std::optional<std::set<std::string>> listed;
  for (const std::string& name : spool.list()) {
    ++report.files;
    const std::string path = join(spool.path(), name);
    auto file = row_of(context_, name);
    if (!file) {
      // In this order: what is in the spool was listed before, and what is listed no more has its
      // row. What has been on its way into the journal for long is not.
      if (!listed) listed = announced_ids(context_, partner);
      const auto status = spool.look(name);
      const bool is_new = status && base::from_unix(status->st_ctim.tv_sec) + on_its_way >
                                        std::chrono::system_clock::now();
      // At the start nothing has been on its way yet.
      if ((offer || is_new) && listed->contains(name)) continue;
      file = row_of(context_, name);
    }
    if (!file || file->partner != partner || file->direction != store::Direction::inbound) {
      report.findings.push_back(
          {"orphan", path, "", "No row of the journal belongs to this file."});
      continue;
    }
    if (file->state == FileState::failed || file->state == FileState::archived) {
      // Recorded, then interrupted before the move: it belongs under its published name.
      if (offer) {
        offer(*file);
      } else {
        report.findings.push_back({"leftover", path, file->id,
                                   "The file is recorded as moved to " + file->published_as +
                                       "; it is moved at the next start."});
      }
    } else if (!is_unfinished_inbound(file->state)) {
      report.findings.push_back({"orphan", path, file->id,
                                 "The journal says that this file is " +
                                     std::string(to_string(file->state)) +
                                     ", so it should not be here."});
    }
  }
}

void Check::look_at_staging(CheckReport& report, bool may_remove) {
  const Directory staging = context_.inbound_staging();
  for (const std::string& name : staging.list()) {
    ++report.files;
    const bool is_marker = name.ends_with(marker_ending);
    const std::string id = is_marker ? name.substr(0, name.size() - marker_ending.size()) : name;
    const auto file = row_of(context_, id);
    if (file && (file->state == FileState::received || file->state == FileState::decrypted)) {
      continue;
    }
    if (is_marker && file) {
      // Delivered and recorded; only the removal of the marker is missing.
      if (may_remove) staging.remove_file(name);
      continue;
    }
    report.findings.push_back({"leftover", join(staging.path(), name), file ? id : "",
                               "Plaintext of no file that is being processed; remove it if you do "
                               "not need it."});
  }
}

void Check::look_at_work(CheckReport& report, bool may_remove) {
  const Directory work = Directory::open(context_.config.get()->files.outbound).make(".work", 0700);
  for (const std::string& name : work.list()) {
    ++report.files;
    const auto file = row_of(context_, name);
    const std::string path = join(work.path(), name);
    if (!file || file->direction != store::Direction::outbound) {
      report.findings.push_back(
          {"orphan", path, "", "No row of the journal belongs to this file."});
    } else if (file->state == FileState::available || file->state == FileState::downloaded ||
               file->state == FileState::collected) {
      // Sent and recorded; only the removal of the source is missing.
      if (may_remove) work.remove_file(name);
    } else if (file->state != FileState::queued && file->state != FileState::held &&
               file->state != FileState::encrypted) {
      report.findings.push_back({"orphan", path, file->id,
                                 "The journal says that this file is " +
                                     std::string(to_string(file->state)) +
                                     ", so it should not be here."});
    }
  }
}

void Check::look_at_tree(const std::string& partner, const Directory& folder,
                         const std::string& path, unsigned depth, CheckReport& report) {
  if (depth > deepest) return;
  const bool is_receipts = path == "/Outgoing/Receipts";
  for (const std::string& name : folder.list()) {
    const std::string here = path + "/" + name;
    const auto status = is_component(name) ? folder.look(name) : std::nullopt;
    if (status && S_ISDIR(status->st_mode)) {
      if (const auto inner = folder.find(name)) {
        look_at_tree(partner, *inner, here, depth + 1, report);
      }
      continue;
    }
    ++report.files;
    if (is_receipts && name.ends_with(".json.asc")) continue;
    // A note belongs to the file whose name it bears.
    const bool is_note = path.starts_with("/Archive/Failed") && name.ends_with(note_ending);
    const std::string of = is_note ? here.substr(0, here.size() - note_ending.size()) : here;
    const auto row = [&](const std::string& wanted) {
      return context_.store.read(
          [&](Unit& unit) { return store::find_published(unit, partner, wanted); });
    };
    if (row(here) || (is_note && (name.size() >= cut_note || row(of)))) continue;
    report.findings.push_back(
        {"orphan", partner + ":" + here, "", "No row of the journal belongs to this file."});
  }
}

void Check::look_at_rows(CheckReport& report) {
  const std::vector<FileState> lying{FileState::archived, FileState::failed, FileState::available,
                                     FileState::downloaded};
  std::optional<File> last;
  for (;;) {
    const auto files = context_.store.read([&](Unit& unit) {
      return store::files_in_states(unit, lying, last ? &*last : nullptr, page);
    });
    for (const File& file : files) {
      ++report.rows;
      const SplitPath place = split_last(file.published_as);
      const auto directory =
          context_.partner_directory(file.partner).find("tree" + place.directory);
      const auto status = directory ? directory->look(place.name) : std::nullopt;
      const std::string path = file.partner + ":" + file.published_as;
      const std::uint64_t size_now = status ? static_cast<std::uint64_t>(status->st_size) : 0;
      if (!status) {
        // Moved, or on the point of it: a failed file stays failed in the backup.
        if (!file.backup_at.empty()) continue;
        if (file.direction == store::Direction::inbound &&
            context_.spool(file.partner).look(file.spool_name)) {
          continue;  // reported with the spool
        }
        report.findings.push_back({"missing", path, file.id,
                                   "The journal says that this file is here (" +
                                       std::string(to_string(file.state)) + "), but it is not."});
      } else if (size_now != file.size) {
        report.findings.push_back({"wrong_size", path, file.id,
                                   "The file has " + std::to_string(size_now) +
                                       " bytes, the journal says " + std::to_string(file.size) +
                                       "."});
      }
    }
    if (files.size() < page) return;
    last = files.back();
  }
}

void Check::raise(const CheckReport& report) {
  for (const Finding& finding : report.findings) {
    base::log_warning("files.unexplained", {{"path", finding.path}, {"kind", finding.kind}},
                      "{}: {}", finding.path, finding.sentence);
  }
  context_.health.set("files.unexplained", !report.findings.empty(),
                      std::to_string(report.findings.size()) +
                          " files do not agree with the journal; run 'sallyportctl files check'");
}

void Check::settle(const FileSink& offer) {
  CheckReport report;
  for (const std::string& partner : partner_names(context_)) {
    try {
      look_at_spool(partner, offer, report);
    } catch (const store::Error&) {
      throw;
    } catch (const base::Error& error) {
      // The others' files are not held up by that.
      report.findings.push_back({"unreadable", partner, "", error.what()});
    }
  }
  look_at_work(report, true);
  look_at_staging(report, true);
  raise(report);
}

CheckReport Check::check() {
  CheckReport report;
  for (const std::string& partner : partner_names(context_)) {
    try {
      look_at_spool(partner, {}, report);
    } catch (const store::Error&) {
      throw;
    } catch (const base::Error& error) {
      report.findings.push_back({"unreadable", partner, "", error.what()});
      continue;
    }
    const Directory home = context_.partner_directory(partner);
    for (const std::string area : {"/Archive/Incoming", "/Archive/Failed", "/Outgoing"}) {
      const auto folder = home.find("tree" + area);
      if (folder) look_at_tree(partner, *folder, area, 0, report);
    }
  }
  look_at_work(report, false);
  look_at_staging(report, false);
  look_at_rows(report);
  raise(report);
  return report;
}

}  // namespace sallyport::daemon

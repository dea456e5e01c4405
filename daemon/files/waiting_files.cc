#include "daemon/files/waiting_files.h"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>

#include "base/bytes.h"
#include "base/file_io.h"
#include "base/log.h"
#include "daemon/files/announce.h"
#include "daemon/files/journal.h"
#include "daemon/files/names.h"
#include "daemon/files/reason_note.h"
#include "sftp/areas.h"

namespace sallyport::daemon {
namespace {

using store::File;
using store::FileState;
using store::Unit;

constexpr base::Seconds look_every{3600};
constexpr base::Seconds look_after{2};
constexpr base::Seconds receipt_lifetime{14 * 86400};
constexpr unsigned deepest = 16;
constexpr std::string_view partial_code = "upload-interrupted";
constexpr std::string_view waiting_code = "never-made-ready";

std::int64_t changed_at(const struct ::stat& status) {
  return static_cast<std::int64_t>(status.st_ctim.tv_sec) * 1'000'000'000 + status.st_ctim.tv_nsec;
}

/// When the file was last changed, by our clock, which a test may have moved.
base::Instant last_change(const struct ::stat& status, base::Instant now) {
  const auto machine = std::chrono::floor<base::Seconds>(std::chrono::system_clock::now());
  const base::Seconds age = machine - base::from_unix(status.st_ctim.tv_sec);
  return now - std::max(age, base::Seconds{0});
}

}  // namespace

void WaitingFiles::noticed() {
  const std::int64_t soon = base::to_unix(context_.now() + look_after);
  if (next_ > soon) next_ = soon;
  context_.waker.wake(name());
}

std::optional<base::Instant> WaitingFiles::earliest() {
  return base::from_unix(next_);
}

bool WaitingFiles::run_pass(base::Instant now) {
  if (base::to_unix(now) < next_) return false;
  next_ = base::to_unix(now + look_every);
  for (auto& [path, sight] : sights_) sight.still_there = false;
  const auto partners = context_.store.read([](Unit& unit) { return store::list_partners(unit); });
  for (const auto& partner : partners) {
    const auto incoming = context_.partner_directory(partner.name).find("tree/Incoming");
    if (incoming) look_at_folder(partner, *incoming, "", "", 0, now);
    remove_old_receipts(partner, now);
  }
  for (auto sight = sights_.begin(); sight != sights_.end();) {
    sight = sight->second.still_there ? std::next(sight) : sights_.erase(sight);
  }
  return false;
}

void WaitingFiles::remove_old_receipts(const store::Partner& partner, base::Instant now) {
  const auto receipts = context_.partner_directory(partner.name).find("tree/Outgoing/Receipts");
  if (!receipts) return;
  for (const std::string& name : receipts->list()) {
    if (!name.ends_with(".json.asc") || !is_component(name)) continue;
    const auto status = receipts->look(name);
    if (!status || now < last_change(*status, now) + receipt_lifetime) continue;
    // An object may be called Receipts too: what the journal knows is retention's.
    const auto known = context_.store.read([&](Unit& unit) {
      return store::find_published(unit, partner.name, "/Outgoing/Receipts/" + name);
    });
    if (!known) receipts->remove_file(name);
  }
}

void WaitingFiles::look_at_folder(const store::Partner& partner, const Directory& folder,
                                  const std::string& object, const std::string& sub_folders,
                                  unsigned depth, base::Instant now) {
  for (const std::string& name : folder.list()) {
    if (!is_component(name)) continue;
    const auto status = folder.look(name);
    if (!status) continue;
    if (S_ISREG(status->st_mode)) {
      look_at_file(partner, folder, object, join(sub_folders, name), now);
    } else if (S_ISDIR(status->st_mode) && depth < deepest) {
      const auto inner = folder.find(name);
      if (!inner) continue;
      // The first level below /Incoming is the objects.
      const bool is_object = depth == 0;
      look_at_folder(partner, *inner, is_object ? name : object,
                     is_object ? "" : join(sub_folders, name), depth + 1, now);
    }
  }
}

void WaitingFiles::look_at_file(const store::Partner& partner, const Directory& folder,
                                const std::string& object, const std::string& name,
                                base::Instant now) {
  const std::string last = split_last(name).name;
  const auto status = folder.look(last);
  if (!status) return;
  Sight& sight = sights_[join(folder.path(), last)];
  sight.still_there = true;
  if (sight.changed != changed_at(*status)) {
    sight.changed = changed_at(*status);
    sight.since = last_change(*status, now);
  }
  const base::Instant end = sight.since + context_.policy(partner, object).waiting_lifetime;
  if (end > now) {
    next_ = std::min<std::int64_t>(next_, base::to_unix(end));
    return;
  }
  expire(partner, folder, object, name, sftp::is_partial(status->st_mode),
         static_cast<std::uint64_t>(status->st_size), now);
}

void WaitingFiles::expire(const store::Partner& partner, const Directory& folder,
                          const std::string& object, const std::string& name, bool is_partial,
                          std::uint64_t size, base::Instant now) {
  const SplitPath at = split_last(name);
  const auto content = folder.open_file(at.name);
  if (!content) return;
  const auto config = context_.config.get();
  const PartnerPolicy policy = context_.policy(partner, object);
  const std::string lifetime = base::format_duration(policy.waiting_lifetime);
  const std::string directory =
      join(std::string("/Archive/Failed") + (object.empty() ? "" : "/" + object), at.directory);
  const Directory place = context_.tree(partner.name, directory);

  File file;
  file.id = base::random_id();
  file.partner = partner.name;
  file.object = object;
  file.name = name;
  file.spool_name = file.id;
  file.size = size;
  file.sha256 = base::to_hex(base::digest_file(content->get(), name).sha256);
  file.state = FileState::failed;
  file.created = file.received = now;
  file.next_due = now + policy.archive_keep;
  file.reason_code = is_partial ? partial_code : waiting_code;
  file.reason = is_partial
                    ? "The upload of this file was interrupted and not resumed within " + lifetime +
                          ". Upload it again."
                    : "This file was uploaded under a name that says that it is not ready, and was "
                      "not renamed within " +
                          lifetime + ". Upload it again, or rename it in time.";
  std::string free = at.name;
  if (place.look(free) || place.look(reason_note_name(free))) free = with_tag(free, file.id);
  file.published_as = directory + "/" + free;

  // The note and the move come first: an interruption leaves the file in Incoming, where the next
  // look finds it, or in Failed without a row, which the check reports.
  write_reason_note(place, reason_note_name(free), file);
  if (move_file(folder, at.name, place, free) != Moved::yes) {
    place.remove_file(reason_note_name(free));
    return;
  }
  context_.store.write([&](Unit& unit) {
    store::insert_file(unit, file);
    store::insert_file_step(unit,
                            {file.id, file.state, now, file.reason_code + ": " + file.reason});
    FileNotice notice;
    notice.cycle = now;
    announce(unit, *config, partner, file, notice, now);
  });
  context_.waker.wake("outbox");
  context_.waker.wake("retention");
  base::log_warning("file.failed",
                    {{"file", file.id}, {"partner", file.partner}, {"reason", file.reason_code}},
                    "{} of {} moved to {}: {}", name, partner.name, file.published_as, file.reason);
}

}  // namespace sallyport::daemon

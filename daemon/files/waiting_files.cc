#include "daemon/files/waiting_files.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <sstream>
#include <utility>

#include "base/bytes.h"
#include "base/file_io.h"
#include "base/log.h"
#include "daemon/files/journal.h"
#include "daemon/files/names.h"
#include "sftp/areas.h"
#include "sftp/intents.h"

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
/// An interrupted move is finished by the pipeline, at the next start or after this.
constexpr base::Seconds finish_after{60};
constexpr std::string_view list_ending = ".names";
constexpr std::uint64_t longest_list = 1 << 20;

std::int64_t changed_at(const struct ::stat& status) {
  return static_cast<std::int64_t>(status.st_ctim.tv_sec) * 1'000'000'000 + status.st_ctim.tv_nsec;
}

/// When the file was last changed, by our clock, which a test may have moved.
base::Instant last_change(const struct ::stat& status, base::Instant now) {
  const auto machine = std::chrono::floor<base::Seconds>(std::chrono::system_clock::now());
  const base::Seconds age = machine - base::from_unix(status.st_ctim.tv_sec);
  return now - std::max(age, base::Seconds{0});
}

/// Object and name that the file staging/<session>.<n> was on its way to, by the list of its
/// session: lines "n TAB path". The front wrote it, so it is a claim; what it does not tell, or not
/// rightly, goes by the name in staging/.
std::pair<std::string, std::string> named_in_list(const Directory& staging,
                                                  const std::string& name) {
  const std::pair<std::string, std::string> unknown{"", name};
  const auto dot = name.rfind('.');
  if (dot == std::string::npos || dot == 0) return unknown;
  const auto list = staging.open_file(name.substr(0, dot) + std::string(list_ending));
  if (!list) return unknown;
  std::string text(longest_list, '\0');
  const ssize_t got = ::pread(list->get(), text.data(), text.size(), 0);
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  const std::string wanted = name.substr(dot + 1) + "\t/Incoming/";
  std::istringstream lines(text);
  std::pair<std::string, std::string> result = unknown;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(wanted)) continue;
    const std::string path = line.substr(wanted.size());
    if (!split_name(path)) continue;
    const auto slash = path.find('/');
    if (slash == std::string::npos) {
      result = {"", path};
    } else {
      result = {path.substr(0, slash), path.substr(slash + 1)};
    }
  }
  return result;
}

}  // namespace

void WaitingFiles::noticed() {
  const std::int64_t soon = base::to_unix(context_.now() + look_after);
  if (next_ > soon) next_ = soon;
  context_.waker.wake(name());
}

std::optional<base::Instant> WaitingFiles::earliest() {
  const base::Instant next = base::from_unix(next_);
  // Farther away than it was when it was set: the clock went back.
  return next > context_.now() + look_every ? context_.now() : next;
}

bool WaitingFiles::run_pass(base::Instant now) {
  if (base::to_unix(now) < next_ && base::from_unix(next_) <= now + look_every) return false;
  next_ = base::to_unix(now + look_every);
  for (auto& [path, sight] : sights_) sight.still_there = false;
  const auto partners = context_.store.read([](Unit& unit) { return store::list_partners(unit); });
  std::string trouble;
  for (const auto& partner : partners) {
    try {
      const auto incoming = context_.partner_directory(partner.name).find("tree/Incoming");
      if (incoming) look_at_folder(partner, *incoming, "", "", 0, now);
      look_at_staging(partner, now);
      remove_old_receipts(partner, now);
    } catch (const store::Error&) {
      throw;
    } catch (const base::Error& error) {
      // Of this partner alone: the others have their turn.
      trouble = "What " + partner.name + " has put here cannot be looked at: " + error.what();
      base::log_error("files.unseen", {{"partner", partner.name}}, "{}", trouble);
    }
  }
  context_.health.set("files.unseen", !trouble.empty(), trouble);
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

bool WaitingFiles::is_over(const store::Partner& partner, const std::string& object,
                           const std::string& path, const struct ::stat& status,
                           base::Instant now) {
  Sight& sight = sights_[path];
  sight.still_there = true;
  if (sight.changed != changed_at(status)) {
    sight.changed = changed_at(status);
    sight.since = last_change(status, now);
  }
  const base::Instant end = sight.since + context_.policy(partner, object).waiting_lifetime;
  if (end <= now) return true;
  next_ = std::min<std::int64_t>(next_, base::to_unix(end));
  return false;
}

void WaitingFiles::look_at_file(const store::Partner& partner, const Directory& folder,
                                const std::string& object, const std::string& name,
                                base::Instant now) {
  const std::string last = split_last(name).name;
  const auto status = folder.look(last);
  if (!status || !is_over(partner, object, join(folder.path(), last), *status, now)) return;
  expire(partner, folder, last, object, name, sftp::is_partial(status->st_mode), now);
}

void WaitingFiles::look_at_staging(const store::Partner& partner, base::Instant now) {
  const auto staging = context_.partner_directory(partner.name).find("staging");
  if (!staging) return;
  for (const std::string& name : staging->list()) {
    const bool is_list = name.ends_with(list_ending) || sftp::parse_intents_name(name);
    if (!is_component(name) || is_list) continue;
    const auto status = staging->look(name);
    if (!status || !S_ISREG(status->st_mode)) continue;
    const auto [object, own_name] = named_in_list(*staging, name);
    if (!is_over(partner, object, join(staging->path(), name), *status, now)) continue;
    expire(partner, *staging, name, object, own_name, true, now);
  }
}

void WaitingFiles::expire(const store::Partner& partner, const Directory& folder,
                          const std::string& source, const std::string& object,
                          const std::string& name, bool is_partial, base::Instant now) {
  const std::string lifetime =
      base::format_duration(context_.policy(partner, object).waiting_lifetime);
  File file;
  file.id = base::random_id();
  file.partner = partner.name;
  file.object = object;
  file.name = name;
  file.spool_name = file.id;
  file.state = FileState::receiving;
  file.created = now;
  file.next_due = now + finish_after;
  file.reason_code = is_partial ? partial_code : waiting_code;
  file.reason = is_partial
                    ? "The upload of this file was interrupted and not resumed within " + lifetime +
                          ". Upload it again."
                    : "This file was uploaded under a name that says that it is not ready, and was "
                      "not renamed within " +
                          lifetime + ". Upload it again, or rename it in time.";
  context_.store.write([&](Unit& unit) {
    store::insert_file(unit, file);
    store::insert_file_step(unit, {file.id, file.state, now, "waited for " + lifetime});
  });
  if (move_file(folder, source, context_.spool(partner.name), file.spool_name) != Moved::yes) {
    file.state = FileState::aborted;
    file.next_due.reset();
    commit_file(context_, file, "resumed, renamed or removed at the last moment");
    return;
  }
  inbound_.give_up(file);
}

}  // namespace sallyport::daemon

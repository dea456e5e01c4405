#include "daemon/files/retention.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/log.h"
#include "daemon/files/announce.h"
#include "daemon/files/backup.h"
#include "daemon/files/journal.h"
#include "daemon/files/names.h"
#include "daemon/files/reason_note.h"
#include "daemon/files/steps.h"

namespace sallyport::daemon {
namespace {

using store::Direction;
using store::File;
using store::FileState;
using store::Unit;

constexpr unsigned batch = 20;
constexpr base::Seconds target_pause{60};
constexpr base::Seconds look_again{86400};

const std::vector<FileState>& lying() {
  static const std::vector<FileState> states{FileState::archived, FileState::failed,
                                             FileState::available, FileState::downloaded};
  return states;
}

/// When the partner first had all of it; nullopt if never. Deleting it is what collects it.
std::optional<base::Instant> first_download(Unit& unit, const File& file) {
  for (const store::FileStep& step : store::file_steps(unit, file.id)) {
    if (step.state == FileState::downloaded) return step.at;
  }
  return std::nullopt;
}

/// Why files cannot be encrypted to the key and read again; empty if they can.
std::string trouble_with(const std::optional<pgp::Key>& key, base::Instant now) {
  if (!key) return "is not in the PGP keyring ('sallyportctl pgp list' names ours)";
  if (key->revoked) return "is revoked";
  if (key->is_expired(now)) return "has expired";
  if (!key->can_encrypt(now)) return "has no part that can encrypt";
  if (!key->has_secret) return "is not a key of ours: backups could not be read again";
  return "";
}

// What goes wrong with a partner's own folders is a matter of that file, and keeps no other from
// its turn: only a backup that cannot be reached does.
template <class Work>
auto of_this_file(const File& file, Work work) {
  try {
    return work();
  } catch (const base::SystemError& error) {
    // What somebody who may rename and change modes there can make of it; a broken disk is another
    // matter.
    constexpr std::array made_so{ENOTDIR, EACCES, EPERM, ELOOP, EISDIR, ENXIO};
    if (std::find(made_so.begin(), made_so.end(), error.code()) == made_so.end()) throw;
    throw OriginalChanged(file.partner + ":" + file.published_as +
                          " cannot be reached: " + error.what());
  }
}

}  // namespace

std::optional<base::Instant> Retention::earliest() {
  if (looked_at_key_.get() != context_.config.get()->backup.encrypt_to) return context_.now();
  const auto due =
      context_.store.read([](Unit& unit) { return store::earliest_file_due(unit, lying()); });
  if (!due) return std::nullopt;
  return must_pause(context_.now()) ? std::max(*due, base::from_unix(not_before_)) : *due;
}

/// Not if the pause ends later than it did when it began: then the clock went back.
bool Retention::must_pause(base::Instant now) const {
  const base::Instant end = base::from_unix(not_before_);
  return now < end && end <= now + target_pause;
}

void Retention::look_at_key(base::Instant now) {
  const std::string wanted = context_.config.get()->backup.encrypt_to;
  if (looked_at_key_.get() == wanted) return;
  const std::string which = "The key " + wanted + " of backup.encrypt_to ";
  try {
    const std::string trouble =
        wanted.empty() ? "" : trouble_with(context_.pgp.find_key(wanted), now);
    context_.health.set("backup.key", !trouble.empty(),
                        which + trouble + "; set it to the fingerprint of a key of ours");
  } catch (const pgp::PgpError& error) {
    // No reason to leave alone what needs no key; looked at again with the next pass.
    context_.health.raise("backup.key", which + "cannot be looked up: " + error.what());
    return;
  }
  looked_at_key_.set(wanted);
}

bool Retention::run_pass(base::Instant now) {
  look_at_key(now);
  if (must_pause(now)) return false;
  auto files =
      context_.store.read([&](Unit& unit) { return store::due_files(unit, lying(), now, batch); });
  for (File& file : files) {
    try {
      look_at(file, now);
    } catch (const Overtaken&) {
      // Downloaded, collected or retried at this very moment; its new row says when it is due.
    } catch (const store::Error&) {
      throw;
    } catch (const OriginalChanged& error) {
      postpone(file, now, error.what());
    } catch (const base::Error& error) {
      context_.health.raise(
          "backup.unreachable",
          std::string("Files wait for their move to the backup: ") + error.what());
      base::log_error("backup.failed", {{"file", file.id}}, "{} stays where it is: {}",
                      file.published_as, error.what());
      not_before_ = base::to_unix(now + target_pause);
      return false;
    }
  }
  return files.size() == batch;
}

void Retention::postpone(File& file, base::Instant now, const std::string& sentence) {
  context_.health.raise("files.changed", "A file cannot move to the backup: " + sentence +
                                             "; see 'sallyportctl files show " + file.id + "'");
  base::log_error("file.changed", {{"file", file.id}, {"partner", file.partner}}, "{}", sentence);
  file.next_due = now + look_again;
  try {
    commit_file(context_, file, "not moved to the backup: " + sentence);
  } catch (const Overtaken&) {  // its new row says when it is due
  }
}

void Retention::look_at(File& file, base::Instant now) {
  if (file.direction == Direction::inbound) {
    move_to_backup(file, now);
    return;
  }
  const PartnerPolicy policy = context_.policy(context_.partner(file.partner), file.object);
  if (now >= file.received + policy.collect_until) {
    move_to_backup(file, now);
  } else {
    remind(file, now);
  }
}

void Retention::remind(File& file, base::Instant now) {
  const store::Partner partner = context_.partner(file.partner);
  const PartnerPolicy policy = context_.policy(partner, file.object);
  const auto config = context_.config.get();
  std::optional<base::Seconds> reached;
  base::Instant next = file.received + policy.collect_until;
  for (const base::Seconds reminder : policy.collect_reminders) {
    const base::Instant at = file.received + reminder;
    if (at > now) {
      next = std::min(next, at);
    } else if (!reached || reminder > *reached) {
      reached = reminder;
    }
  }
  file.next_due = next;
  commit_file(context_, file, "", [&](Unit& unit) {
    if (!reached) return;
    FileNotice notice;
    notice.kind = notify::Kind::outbound_not_collected;
    notice.to_administrators = false;
    notice.cycle = file.received;
    notice.offset = *reached;
    notice.deadline = file.received + policy.collect_until;
    notice.downloaded_at = first_download(unit, file);
    announce(unit, *config, partner, file, notice, now);
  });
  if (reached) context_.waker.wake("outbox");
}

void Retention::move_to_backup(File& file, base::Instant now) {
  const SplitPath place = split_last(file.published_as);
  const Directory home = context_.partner_directory(file.partner);
  const auto directory = of_this_file(file, [&] { return home.find("tree" + place.directory); });
  const bool is_outbound = file.direction == Direction::outbound;
  const bool is_failed = file.state == FileState::failed;
  if (file.backup_at.empty()) {
    const auto there =
        of_this_file(file, [&] { return directory ? directory->look(place.name) : std::nullopt; });
    if (there && !S_ISREG(there->st_mode)) {
      throw OriginalChanged(file.partner + ":" + file.published_as + " is no file any more");
    }
    const auto original =
        of_this_file(file, [&] { return there ? directory->open_file(place.name) : std::nullopt; });
    if (!original) {
      // Somebody removed it by hand; it may be put back. It stays in the journal as it is.
      file.next_due = now + look_again;
      commit_file(context_, file, "is no longer at " + file.published_as + ": nothing to back up");
      context_.health.raise("files.missing", "A file disappeared before it was backed up: " +
                                                 file.partner + ":" + file.published_as +
                                                 "; 'sallyportctl files check' lists all of them");
      base::log_error("file.missing", {{"file", file.id}, {"partner", file.partner}},
                      "{} of {} disappeared before it was backed up", file.published_as,
                      file.partner);
      return;
    }
    put_backup(context_, file, original->get());
    commit_file(context_, file, "copied to " + file.backup_at);
    context_.health.clear("backup.unreachable");
  }
  if (directory) {
    of_this_file(file, [&] {
      bool removed = directory->remove_file(place.name);
      if (is_failed) removed = directory->remove_file(reason_note_name(place.name)) || removed;
      if (removed) directory->sync();
    });
  }
  if (!is_failed) file.state = FileState::backed_up;
  file.next_due.reset();
  const store::Partner partner = context_.partner(file.partner);
  const auto config = context_.config.get();
  commit_file(context_, file, "moved to " + file.backup_at, [&](Unit& unit) {
    if (!is_outbound) return;
    FileNotice notice;
    notice.kind = notify::Kind::outbound_returned;
    notice.cycle = file.received;
    notice.to_contacts = false;
    notice.downloaded_at = first_download(unit, file);
    announce(unit, *config, partner, file, notice, now);
  });
  if (is_outbound) context_.waker.wake("outbox");
  base::log_info("file.backed_up",
                 {{"file", file.id}, {"partner", file.partner}, {"location", file.backup_at}},
                 "{} of {} moved to {}", file.published_as, file.partner, file.backup_at);
}

}  // namespace sallyport::daemon

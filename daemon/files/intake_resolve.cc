// What lists of intents hold beyond what was told: uploads that an interruption cut short.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "base/bytes.h"
#include "base/file_io.h"
#include "base/log.h"
#include "daemon/activity/activity_log.h"
#include "daemon/files/intake.h"
#include "daemon/files/intent_lists.h"
#include "daemon/files/names.h"
#include "daemon/partners/session_id.h"
#include "store/error.h"

namespace sallyport::daemon {
namespace {

using store::File;
using store::FileState;
using store::Unit;
using store::UploadIntent;

/// A session of a program before this one leaves within seconds; an fsync may hold it longer. Then
/// nobody is at its lists any more.
constexpr std::chrono::minutes grace{10};
constexpr unsigned intents_page = 500;
constexpr std::chrono::seconds first_again{1};
constexpr std::chrono::seconds longest_again{60};

/// This row is at fault, not the store's present condition.
bool is_its_own(const store::Error& error) {
  return error.kind() == store::Failure::duplicate || error.kind() == store::Failure::broken;
}

}  // namespace

void Intake::resolve() {
  {
    const std::lock_guard lock(mutex_);
    resolve_ = true;
  }
  changed_.notify_all();
}

void Intake::resolve_asked() {
  {
    const std::lock_guard lock(mutex_);
    if (!std::exchange(resolve_, false)) return;
    told_.insert(told_.end(), deferred_.begin(), deferred_.end());
    deferred_.clear();
  }
  try {
    resolve_now();
  } catch (...) {
    resolve();
    throw;
  }
  looked_through_ = true;
  const std::lock_guard lock(mutex_);
  if (unreadable_.empty()) {
    again_pause_ = first_again;
    return;
  }
  resolve_again(again_pause_);
  again_pause_ = std::min(2 * again_pause_, longest_again);
}

struct Intake::Found {
  UploadIntent intent;
  std::optional<struct stat> spooled;
  std::string session_id;  ///< "" in the table
  bool is_last_look = false;

  /// When it came into the spool: that rename was the last change of the file.
  [[nodiscard]] auto order() const {
    const timespec came = spooled ? spooled->st_ctim : timespec{};
    return std::tuple(came.tv_sec, came.tv_nsec, intent.ordinal);
  }
};

/// Whether the lists end with what was told last. Throws base::Error if nobody can tell.
bool Intake::was_all_told(const std::string& session_id, const Session& session) const {
  const Directory staging = context_.staging(session.partner);
  std::string last = session.last_id;
  for (std::uint64_t part =
           std::max(session.removed_parts, session.last_line / sftp::intents_of_a_part) + 1;
       ; ++part) {
    const auto list = read_intents(staging, sftp::intents_name(session_id, part));
    if (!list) return last == session.last_id;
    if (!list->intents.empty()) last = list->intents.back().file_id;
  }
}

void Intake::close_ended() {
  for (;;) {
    std::string session_id;
    Session session;
    {
      const std::lock_guard lock(mutex_);
      if (ended_.empty()) return;
      session_id = *ended_.begin();
      session = sessions_[session_id];
    }
    bool all_told = false;
    try {
      all_told = was_all_told(session_id, session);
      if (all_told) {
        remove_intents(context_.staging(session.partner), session_id, session.removed_parts + 1);
      }
    } catch (const base::Error& error) {
      all_told = false;
      base::log_warning("file.list_kept", {{"partner", session.partner}}, "{}", error.what());
    }
    if (!all_told) {
      Left left;
      left.partner = session.partner;
      left.since = context_.now();
      left_.emplace(session_id, std::move(left));
    }
    const std::lock_guard lock(mutex_);
    if (!all_told) resolve_ = true;
    ended_.erase(session_id);
    sessions_.erase(session_id);
  }
}

void Intake::look_for_left() {
  const auto config = context_.config.get();
  if (looked_for_left_ && !config->store.shared) return;
  const std::string node = node_name(*config);
  const auto partners = context_.store.read([](Unit& unit) { return store::list_partners(unit); });
  bool all = true;
  for (const store::Partner& partner : partners) {
    try {
      for (const std::string& id : sessions_with_intents(context_.staging(partner.name))) {
        const bool foreign = config->store.shared && !is_session_of(id, node);
        if (looked_for_left_ && !foreign) continue;
        {
          const std::lock_guard lock(mutex_);
          if (sessions_.contains(id)) continue;
        }
        Left left;
        left.partner = partner.name;
        left.since = context_.now();
        left.may_run = true;
        left.foreign = foreign;
        left_.emplace(id, std::move(left));
      }
    } catch (const base::Error& error) {
      unreadable_ = error.what();
      all = false;
    }
  }
  looked_for_left_ = looked_for_left_ || all;
}

/// Intents that a program of before kept in the store.
void Intake::add_of_table(std::vector<Found>& all) {
  std::string after;
  for (;;) {
    const auto page = context_.store.read(
        [&](Unit& unit) { return store::list_upload_intents(unit, after, intents_page); });
    for (const UploadIntent& intent : page) {
      try {
        all.push_back({intent, context_.spool(intent.partner).look(intent.id), "",
                       context_.now() >= intent.created + grace});
      } catch (const base::Error& error) {
        unreadable_ = error.what();
      }
    }
    if (page.size() < intents_page) return;
    after = page.back().id;
  }
}

void Intake::add_of_lists(std::vector<Found>& all) {
  for (auto& [session_id, left] : left_) {
    left.unsettled = 1;  // should it fail
    try {
      add_of_list(session_id, left, all);
    } catch (const store::Error&) {
      throw;
    } catch (const base::Error& error) {
      unreadable_ = error.what();
    }
  }
}

void Intake::add_of_list(const std::string& session_id, Left& left, std::vector<Found>& all) {
  const Directory staging = context_.staging(left.partner);
  const Directory spool = context_.spool(left.partner);
  const base::Instant now = context_.now();
  std::vector<Found> found;
  std::int64_t ordinal = 0;
  for (const std::uint64_t part : parts_of(staging, session_id)) {
    const auto list = read_intents(staging, sftp::intents_name(session_id, part));
    if (!list) continue;
    for (const sftp::Intent& intent : list->intents) {
      ++ordinal;
      if (left.settled.contains(intent.file_id)) continue;
      Found one;
      one.intent = intent_of(intent, left.partner, uploader_of(*list), now);
      one.intent.ordinal = ordinal;
      one.session_id = session_id;
      one.is_last_look = !left.foreign && now >= left.since + grace;
      found.push_back(std::move(one));
    }
  }
  left.lines = static_cast<std::size_t>(ordinal);
  left.unsettled = 0;
  std::vector<std::optional<File>> rows;
  context_.store.read([&](Unit& unit) {
    rows.clear();
    for (const Found& one : found) rows.push_back(store::find_file(unit, one.intent.id));
  });
  for (std::size_t i = 0; i < found.size(); ++i) {
    Found& one = found[i];
    const bool has_row = rows[i].has_value();
    if (has_row && rows[i]->state != FileState::aborted) {
      left.settled.insert(one.intent.id);
      continue;
    }
    one.spooled = spool.look(one.intent.id);
    if (has_row && !one.spooled) {
      left.settled.insert(one.intent.id);
      continue;
    }
    if (one.spooled) one.intent.created = base::from_unix(one.spooled->st_ctim.tv_sec);
    ++left.unsettled;
    // What another node has just moved it records itself.
    if (left.foreign && (!one.spooled || now < one.intent.created + grace)) continue;
    all.push_back(std::move(one));
  }
}

void Intake::resolve_now() {
  unreadable_.clear();
  look_for_left();
  std::vector<Found> all;
  add_of_table(all);
  add_of_lists(all);
  std::sort(all.begin(), all.end(),
            [](const Found& a, const Found& b) { return a.order() < b.order(); });
  for (const Found& found : all) {
    try {
      if (!settle(found) || found.session_id.empty()) continue;
      Left& left = left_.at(found.session_id);
      left.settled.insert(found.intent.id);
      --left.unsettled;
    } catch (const store::Error& error) {
      if (!is_its_own(error)) throw;
      unreadable_ = error.what();
    } catch (const base::Error& error) {
      unreadable_ = error.what();
    }
  }
  forget_settled();
  if (!unreadable_.empty()) {
    base::log_error("file.unresolved", {}, "an interrupted upload cannot be looked at for now: {}",
                    unreadable_);
  }
}

/// True: there is nothing left to wait for.
bool Intake::settle(const Found& found) {
  UploadIntent intent = found.intent;
  Place place = Place::absent;
  std::string_view step = "interrupted before it was ours";
  if (!found.spooled) {
    if (!found.is_last_look) return false;
    base::log_notice("file.upload_dropped", {{"file", intent.id}, {"partner", intent.partner}},
                     "upload of {} by {} was interrupted before it was ours; the partner was not "
                     "told that it was",
                     intent.name, intent.partner);
  } else {
    const Directory spool = context_.spool(intent.partner);
    const std::string path = join(spool.path(), intent.id);
    if (!S_ISREG(found.spooled->st_mode)) throw base::Error(path + " is not a file; remove it");
    const bool says_all = !intent.sha256.empty();
    place = Place::damaged;
    if (!says_all || static_cast<std::uint64_t>(found.spooled->st_size) == intent.size) {
      const auto fd = spool.open_file(intent.id);
      if (!fd) throw base::Error(path + " was there, and is no longer");
      // The rename is only durable once the directory is: what we record must not disappear again.
      base::fsync_file(fd->get(), path);
      spool.sync();
      place = Place::whole;
      // Only what a machine that went down may have damaged is read again.
      if (!says_all || !looked_through_) {
        const base::FileDigest digest = base::digest_file(fd->get(), path);
        const std::string sha256 = base::to_hex(digest.sha256);
        if (!says_all) {
          intent.size = digest.size;
          intent.sha256 = sha256;
        }
        if (digest.size != intent.size || sha256 != intent.sha256) place = Place::damaged;
      }
    }
    step = "found whole in the spool after an interruption";
  }
  std::optional<File> file;
  context_.store.write([&](Unit& unit) {
    if (found.session_id.empty()) static_cast<void>(store::delete_upload_intent(unit, intent.id));
    const auto objects = objects_of(unit, intent.partner);
    file = record(unit, intent, place, holds(objects, intent.object), step);
  });
  if (file) tell(*file);
  return true;
}

void Intake::forget_settled() {
  for (auto left = left_.begin(); left != left_.end();) {
    const auto& [session_id, it] = *left;
    const bool is_over = !it.may_run || context_.now() >= it.since + grace;
    bool forget = it.foreign && it.lines == 0;
    if (!it.foreign && it.unsettled == 0 && is_over) {
      try {
        const Directory staging = context_.staging(it.partner);
        const auto parts = parts_of(staging, session_id);
        if (!parts.empty()) remove_intents(staging, session_id, *parts.begin());
        forget = true;
      } catch (const base::Error& error) {
        unreadable_ = error.what();
      }
    }
    left = forget ? left_.erase(left) : std::next(left);
  }
}

}  // namespace sallyport::daemon

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
#include "store/cluster.h"
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
/// What is looked at in one go, of the lists of one partner, and what goes into one commit.
constexpr std::size_t most_of_a_partner = 20000;
constexpr std::size_t most_bytes_of_a_partner = 32UL << 20;
constexpr std::size_t most_dropped = 64;
/// More connections than any partner has.
constexpr std::size_t most_left_of_a_partner = 2000;
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
    told_.insert(told_.begin(), deferred_.begin(), deferred_.end());
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
  // What another node left comes with the sweep of who leads; what is ours has no other clock.
  const bool is_ours = std::any_of(left_.begin(), left_.end(),
                                   [](const auto& left) { return !left.second.foreign; });
  if (is_ours || !all_left_known_) resolve_again(resolve_soon_ ? first_again : longest_again);
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

/// Whether the lists end with what was told last, and can go. Throws base::Error if nobody can
/// tell.
bool Intake::was_all_told(const std::string& session_id, const Session& session) const {
  if (session.cut_off || session.list_kept) return false;
  const Directory staging = context_.staging(session.partner);
  std::string last = session.last_id;
  const std::uint64_t first =
      std::max(session.removed_parts, session.last_line / sftp::intents_of_a_part) + 1;
  for (std::uint64_t part = first; part <= first + 1; ++part) {
    const auto list = read_intents(staging, session_id, part);
    if (!list) break;
    if (!list->intents.empty()) last = list->intents.back().file_id;
  }
  return last == session.last_id;
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
        const Directory staging = context_.staging(session.partner);
        const std::uint64_t first = session.removed_parts + 1;
        for (std::uint64_t part = first; part < first + sftp::most_open_parts; ++part) {
          if (!staging.remove_file(sftp::intents_name(session_id, part))) break;
        }
      }
    } catch (const base::Error& error) {
      all_told = false;
      base::log_warning("file.list_kept", {{"partner", session.partner}}, "{}", error.what());
    }
    if (!all_told) {
      Left left;
      left.uploader = session.uploader;
      left.since = context_.now();
      left.may_run = session.cut_off;
      left_.emplace(LeftKey{session.partner, session_id}, std::move(left));
    }
    const std::lock_guard lock(mutex_);
    if (!all_told) resolve_ = true;
    ended_.erase(session_id);
    sessions_.erase(session_id);
  }
}

/// Sessions of a program before this one leave within seconds, but for as long as one may be at its
/// work they can begin a list.
void Intake::look_for_left() {
  const auto config = context_.config.get();
  if (all_left_known_ && !config->store.shared) return;
  const std::string own = node_name(*config);
  const base::Instant now = context_.now();
  std::vector<store::Partner> partners;
  std::vector<store::Node> nodes;
  context_.store.read([&](Unit& unit) {
    partners = store::list_partners(unit);
    if (config->store.shared) nodes = store::list_nodes(unit);
  });
  const auto is_foreign = [&](const std::string& id) {
    return std::any_of(nodes.begin(), nodes.end(), [&](const store::Node& node) {
      return node.name != own && is_session_of(id, node.name);
    });
  };
  if (!first_look_) first_look_ = now;
  bool all = true;
  for (const store::Partner& partner : partners) {
    try {
      const Lists lists = find_lists(context_.staging(partner.name));
      std::size_t known = 0;
      for (auto left = left_.lower_bound({partner.name, ""});
           left != left_.end() && left->first.first == partner.name; ++left) {
        ++known;
      }
      if (lists.are_more || lists.sessions.size() > most_left_of_a_partner) {
        all = false;
        unreadable_ = "there are more lists of intents in the staging folder of " + partner.name +
                      " than sessions leave; they are looked at some at a time";
      }
      for (const auto& [id, parts] : lists.sessions) {
        const bool foreign = is_foreign(id);
        if (all_left_known_ && !foreign) continue;
        {
          const std::lock_guard lock(mutex_);
          if (sessions_.contains(id)) continue;
        }
        if (known >= most_left_of_a_partner) break;
        Left left;
        left.since = now;
        left.may_run = true;
        left.foreign = foreign;
        known += left_.emplace(LeftKey{partner.name, id}, std::move(left)).second ? 1 : 0;
      }
    } catch (const base::Error& error) {
      unreadable_ = error.what();
      all = false;
    }
  }
  if (all && now >= *first_look_ + grace) all_left_known_ = true;
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

std::set<std::string> Intake::partners_with_left() const {
  std::set<std::string> partners;
  for (const auto& [key, left] : left_) partners.insert(key.first);
  return partners;
}

void Intake::add_of_partner(const std::string& partner, std::vector<Found>& all) {
  const auto begin = left_.lower_bound({partner, ""});
  const auto is_the_partners = [&](const auto& left) {
    return left != left_.end() && left->first.first == partner;
  };
  for (auto left = begin; is_the_partners(left); ++left) {
    left->second.is_read = false;
    left->second.unsettled = 0;
  }
  const Lists lists = find_lists(context_.staging(partner));
  const std::size_t before = all.size();
  std::size_t bytes = 0;
  for (auto left = begin; is_the_partners(left); ++left) {
    const auto parts = lists.sessions.find(left->first.second);
    if (parts == lists.sessions.end()) {
      left->second.is_read = !lists.are_more;
      continue;
    }
    if (all.size() - before >= most_of_a_partner || bytes >= most_bytes_of_a_partner) {
      resolve_soon_ = true;
      return;
    }
    try {
      bytes += add_of_session(left->first, parts->second, left->second, all);
    } catch (const store::Error&) {
      throw;
    } catch (const base::Error& error) {
      unreadable_ = error.what();
    }
  }
}

/// How many bytes were read.
std::size_t Intake::add_of_session(const LeftKey& key, const std::set<std::uint64_t>& parts,
                                   Left& left, std::vector<Found>& all) {
  const auto& [partner, session_id] = key;
  const Directory staging = context_.staging(partner);
  const Directory spool = context_.spool(partner);
  const base::Instant now = context_.now();
  const auto old = std::chrono::system_clock::now() - grace;
  std::set<std::string> seen;
  std::int64_t ordinal = 0;
  std::size_t bytes = 0;
  for (const std::uint64_t number : parts) {
    const auto part = read_intents(staging, session_id, number);
    const auto list = staging.look(sftp::intents_name(session_id, number));
    if (!part || !list) continue;
    bytes += part->bytes;
    const std::string uploader = left.uploader.empty() ? claimed_uploader(*part) : left.uploader;
    struct Open {
      const sftp::Intent* intent;
      std::optional<struct stat> spooled;
      std::optional<FileState> state;
    };
    std::vector<Open> open;
    for (const sftp::Intent& intent : part->intents) {
      if (left.settled.contains(intent.file_id) || !seen.insert(intent.file_id).second) continue;
      std::optional<struct stat> spooled;
      try {
        spooled = spool.look(intent.file_id);
      } catch (const base::Error& error) {
        unreadable_ = error.what();
        ++left.unsettled;
        continue;
      }
      // What another node has just moved it records itself.
      if (left.foreign && (!spooled || base::from_unix(spooled->st_ctim.tv_sec) > old)) continue;
      open.push_back({&intent, spooled, std::nullopt});
    }
    context_.store.read([&](Unit& unit) {
      for (Open& one : open) {
        const auto file = store::find_file(unit, one.intent->file_id);
        one.state = file ? std::optional(file->state) : std::nullopt;
      }
    });
    for (const Open& one : open) {
      ++ordinal;
      if (one.state && (*one.state != FileState::aborted || !one.spooled)) {
        left.settled.insert(one.intent->file_id);
        continue;
      }
      ++left.unsettled;
      const timespec written = one.spooled ? one.spooled->st_ctim : list->st_mtim;
      const base::Instant came = std::min(base::from_unix(written.tv_sec), now);
      Found found{intent_of(*one.intent, partner, uploader, came), one.spooled, session_id,
                  !left.foreign && now >= left.since + grace};
      found.intent.ordinal = ordinal;
      all.push_back(std::move(found));
    }
  }
  left.is_read = true;
  return bytes;
}

void Intake::resolve_now() {
  unreadable_.clear();
  resolve_soon_ = false;
  look_for_left();
  std::vector<Found> all;
  add_of_table(all);
  const std::set<std::string> partners = partners_with_left();
  for (const std::string& partner : partners) {
    try {
      add_of_partner(partner, all);
    } catch (const store::Error&) {
      throw;
    } catch (const base::Error& error) {
      unreadable_ = error.what();
    }
  }
  std::sort(all.begin(), all.end(),
            [](const Found& a, const Found& b) { return a.order() < b.order(); });
  std::vector<const Found*> absent;
  for (const Found& found : all) {
    if (!found.spooled) {
      if (found.is_last_look) absent.push_back(&found);
      continue;
    }
    try {
      take_up(found);
    } catch (const store::Error& error) {
      if (!is_its_own(error)) throw;
      unreadable_ = error.what();
    } catch (const base::Error& error) {
      unreadable_ = error.what();
    }
  }
  drop(absent);
  for (const std::string& partner : partners) {
    try {
      forget_settled(partner);
    } catch (const base::Error& error) {
      unreadable_ = error.what();
    }
  }
  if (!unreadable_.empty()) {
    base::log_error("file.unresolved", {}, "an interrupted upload cannot be looked at for now: {}",
                    unreadable_);
  }
}

void Intake::is_settled(const Found& found) {
  const auto left = left_.find({found.intent.partner, found.session_id});
  if (left == left_.end()) return;
  left->second.settled.insert(found.intent.id);
  --left->second.unsettled;
}

void Intake::take_up(const Found& found) {
  UploadIntent intent = found.intent;
  const Directory spool = context_.spool(intent.partner);
  const std::string path = join(spool.path(), intent.id);
  if (!S_ISREG(found.spooled->st_mode)) throw base::Error(path + " is not a file; remove it");
  const bool says_all = !intent.sha256.empty();
  const auto size = static_cast<std::uint64_t>(found.spooled->st_size);
  Place place = Place::damaged;
  if (!says_all || size == intent.size) {
    const auto fd = spool.open_file(intent.id);
    if (!fd) throw base::Error(path + " was there, and is no longer");
    // The rename is only durable once the directory is: what we record must not disappear again.
    base::fsync_file(fd->get(), path);
    spool.sync();
    place = Place::whole;
    // Only what a machine that went down may have damaged is read again; and nothing that is for
    // the most part a hole, which nobody has uploaded, and which can be larger than any disk.
    const bool is_hole = static_cast<std::uint64_t>(found.spooled->st_blocks) * 512 < size / 16;
    if (!says_all || (!looked_through_ && !is_hole)) {
      const base::FileDigest digest = base::digest_file(fd->get(), path);
      const std::string sha256 = base::to_hex(digest.sha256);
      if (!says_all) {
        intent.size = digest.size;
        intent.sha256 = sha256;
      }
      if (digest.size != intent.size || sha256 != intent.sha256) place = Place::damaged;
    }
  }
  std::optional<File> file;
  context_.store.write([&](Unit& unit) {
    if (found.session_id.empty()) static_cast<void>(store::delete_upload_intent(unit, intent.id));
    const auto objects = objects_of(unit, intent.partner);
    file = record(unit, intent, place, holds(objects, intent.object), true,
                  "found whole in the spool after an interruption");
  });
  if (file) tell(*file);
  is_settled(found);
}

/// Nobody was told that these are ours, and nobody is at them any more.
void Intake::drop(const std::vector<const Found*>& absent) {
  for (std::size_t first = 0; first < absent.size(); first += most_dropped) {
    const std::size_t end = std::min(first + most_dropped, absent.size());
    try {
      context_.store.write([&](Unit& unit) {
        for (std::size_t i = first; i < end; ++i) {
          const UploadIntent& intent = absent[i]->intent;
          if (absent[i]->session_id.empty()) {
            static_cast<void>(store::delete_upload_intent(unit, intent.id));
          }
          static_cast<void>(
              record(unit, intent, Place::absent, true, true, "interrupted before it was ours"));
        }
      });
    } catch (const store::Error& error) {
      if (!is_its_own(error)) throw;
      unreadable_ = error.what();
      continue;
    }
    for (std::size_t i = first; i < end; ++i) {
      const UploadIntent& intent = absent[i]->intent;
      base::log_notice("file.upload_dropped", {{"file", intent.id}, {"partner", intent.partner}},
                       "upload of {} by {} was interrupted before it was ours; the partner was "
                       "not told that it was",
                       intent.name, intent.partner);
      is_settled(*absent[i]);
    }
  }
}

void Intake::forget_settled(const std::string& partner) {
  std::optional<Lists> lists;
  for (auto left = left_.lower_bound({partner, ""});
       left != left_.end() && left->first.first == partner;) {
    const auto& [key, it] = *left;
    const bool is_over = !it.may_run || context_.now() >= it.since + grace;
    bool forget = false;
    if (it.is_read && it.unsettled == 0 && (it.foreign || is_over)) {
      const Directory staging = context_.staging(partner);
      if (!lists) lists = find_lists(staging);
      const auto parts = lists->sessions.find(key.second);
      const bool is_there = parts != lists->sessions.end();
      forget = !is_there && !lists->are_more;
      if (is_there && !it.foreign) {
        for (const std::uint64_t part : parts->second) {
          static_cast<void>(staging.remove_file(sftp::intents_name(key.second, part)));
        }
        // There may be more of them than were looked at.
        forget = parts->second.size() < sftp::most_open_parts;
      }
    }
    left = forget ? left_.erase(left) : std::next(left);
  }
}

}  // namespace sallyport::daemon

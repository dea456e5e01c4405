#include "daemon/files/intake.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "base/bytes.h"
#include "base/log.h"
#include "daemon/config/options.h"
#include "daemon/files/names.h"
#include "sftp/intents.h"
#include "store/error.h"

namespace sallyport::daemon {
namespace {

using store::File;
using store::FileState;
using store::Unit;
using store::UploadIntent;

/// Somebody else waits for the store meanwhile: a few milliseconds.
constexpr std::size_t most_together = 64;
constexpr std::chrono::seconds first_pause{1};
constexpr std::chrono::seconds longest_pause{10};
constexpr std::chrono::seconds given_up_for{60};
/// Between them 1, 2, 4 and 8 s: for so long the others wait, so that the order stays.
constexpr int most_looks = 5;
/// Then what else has to be done comes, too.
constexpr int most_rounds = 64;

/// A session has no more uploads than this that come to nothing, and a partner gets no farther
/// ahead of the store, all its sessions together, before they are cut off.
constexpr unsigned most_given_up = 1000;
constexpr std::size_t most_unrecorded = 20000;

/// A partner who sends many small files has the next one here within this time, on a busy machine,
/// too.
constexpr std::chrono::milliseconds calm_after{10};
/// For so long the processors are left to who sends them.
constexpr std::chrono::milliseconds longest_burst{800};

/// The rows themselves are at fault, not the store's present condition.
bool is_lasting(const store::Error& error) {
  return error.kind() == store::Failure::duplicate;
}

File file_of(const UploadIntent& intent) {
  File file;
  file.id = intent.id;
  file.spool_name = intent.id;
  file.partner = intent.partner;
  file.object = intent.object;
  file.name = intent.name;
  file.uploader = intent.uploader;
  file.created = intent.created;
  file.size = intent.size;
  file.sha256 = intent.sha256;
  return file;
}

void insert_announced(Unit& unit, const File& file) {
  store::insert_file(unit, file);
  store::insert_file_step(unit, {file.id, FileState::receiving, file.created,
                                 "announced by its session, not yet ours"});
}

}  // namespace

/// What the files of one commit have in common, looked up once.
class Intake::Shared {
 public:
  Shared(const Intake& intake, Unit& unit) : intake_(intake), unit_(unit) {}

  /// Throws base::Error if nobody can tell.
  [[nodiscard]] Place place_of(const UploadIntent& intent) {
    auto spool = spools_.find(intent.partner);
    if (spool == spools_.end()) {
      spool = spools_.emplace(intent.partner, intake_.context_.spool(intent.partner)).first;
    }
    const auto spooled = spool->second.look(intent.id);
    if (!spooled || !S_ISREG(spooled->st_mode)) return Place::absent;
    const bool as_said = static_cast<std::uint64_t>(spooled->st_size) == intent.size;
    return as_said ? Place::whole : Place::damaged;
  }
  [[nodiscard]] bool has_object(const UploadIntent& intent) {
    auto objects = objects_.find(intent.partner);
    if (objects == objects_.end()) {
      objects = objects_.emplace(intent.partner, intake_.objects_of(unit_, intent.partner)).first;
    }
    return holds(objects->second, intent.object);
  }

 private:
  const Intake& intake_;
  Unit& unit_;
  std::map<std::string, Directory> spools_;
  std::map<std::string, std::vector<std::string>> objects_;
};

void Intake::start() {
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
}

void Intake::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

bool Intake::has_work() const {
  return !told_.empty() || !ended_.empty() || resolve_;
}

// Under the mutex. One by itself is no burst.
Intake::Clock::time_point Intake::burst_is_over() const {
  if (last_told_ == burst_began_) return last_told_;
  return std::min(last_told_ + calm_after, burst_began_ + longest_burst);
}

void Intake::wait_for_work(std::unique_lock<std::mutex>& lock) {
  for (;;) {
    const auto now = Clock::now();
    if (again_at_ && now >= *again_at_) {
      again_at_.reset();
      resolve_ = true;
    }
    if (stopping_ || !ended_.empty() || resolve_) return;
    std::optional<Clock::time_point> then = again_at_;
    if (!told_.empty()) {
      if (now >= burst_is_over()) return;
      then = then ? std::min(*then, burst_is_over()) : burst_is_over();
    }
    if (then) {
      changed_.wait_until(lock, *then);
    } else {
      changed_.wait(lock);
    }
  }
}

void Intake::run() {
  // Who waits for an answer comes first at the store: behind them, many of these go into one
  // commit.
  store::work_in_background();
  bool failed = false;
  std::chrono::seconds pause = first_pause;
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      working_ = false;
      changed_.notify_all();
      if (failed) changed_.wait_for(lock, pause, [this] { return stopping_; });
      if (stopping_ && (failed || !has_work())) return;
      wait_for_work(lock);
      working_ = true;
    }
    std::string trouble;
    try {
      work();
      failed = false;
      pause = first_pause;
      trouble = unreadable_;
      const std::lock_guard lock(mutex_);
      if (!deferred_.empty()) {
        trouble = why_deferred_;
      } else {
        deferred_pause_ = first_pause;
      }
    } catch (const std::exception& error) {
      trouble = error.what();
      if (std::exchange(failed, true)) pause = std::min(2 * pause, longest_pause);
    }
    context_.health.set(
        "files.unrecorded", !trouble.empty(),
        "Files are received and safe in the spool, but cannot be recorded: " + trouble);
  }
}

void Intake::wait_idle(Clock::time_point deadline) {
  std::unique_lock lock(mutex_);
  changed_.wait_until(lock, deadline, [this] { return stopping_ || (!working_ && !has_work()); });
}

void Intake::work() {
  resolve_asked();
  for (int round = 0; round < most_rounds && record_some(); ++round) {
  }
  close_ended();
}

void Intake::session_began(const std::string& session_id, const std::string& partner,
                           std::string uploader) {
  const std::lock_guard lock(mutex_);
  Session& session = sessions_[session_id];
  session.partner = partner;
  session.uploader = std::move(uploader);
}

void Intake::uploaded(const std::string& session_id, UploadIntent intent, std::uint64_t line,
                      bool in_spool) {
  bool is_first = false;
  {
    const std::lock_guard lock(mutex_);
    const auto found = sessions_.find(session_id);
    if (found == sessions_.end() || found->second.ended) {
      throw base::Error("The front reported an upload of a session that is not there: " +
                        intent.id);
    }
    Session& session = found->second;
    std::size_t& unrecorded = unrecorded_[session.partner];
    // Each line is told of, in their order. Then no file of an honest session is missed, whatever
    // happens to what it said of it.
    if (line != session.last_line + 1 || session.given_up > most_given_up ||
        unrecorded >= most_unrecorded) {
      throw base::Error("A session of " + session.partner + " reported line " +
                        std::to_string(line) + " of its uploads after line " +
                        std::to_string(session.last_line) + ", with " + std::to_string(unrecorded) +
                        " of its partner's not recorded yet");
    }
    const auto now = Clock::now();
    if (now > last_told_ + calm_after) burst_began_ = now;
    last_told_ = now;
    is_first = told_.empty();
    std::string id = intent.id;
    told_.push_back({std::move(intent), session_id, line, in_spool, false});
    session.unrecorded.insert(line);
    ++unrecorded;
    if (!in_spool) ++session.given_up;
    session.last_id = std::move(id);
    session.last_line = line;
  }
  // Else it is awake, or wakes up when the burst is over.
  if (is_first) changed_.notify_all();
}

void Intake::session_ended(const std::string& session_id, bool cut_off) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = sessions_.find(session_id);
    if (found == sessions_.end()) return;
    found->second.ended = true;
    found->second.cut_off = cut_off;
    if (found->second.unrecorded.empty()) ended_.insert(session_id);
  }
  changed_.notify_all();
}

std::vector<Intake::Told> Intake::first_told(std::size_t most) {
  const std::lock_guard lock(mutex_);
  const auto count = static_cast<std::ptrdiff_t>(std::min(most, told_.size()));
  return {told_.begin(), told_.begin() + count};
}

bool Intake::record_some() {
  if (first_told(1).empty()) return false;
  std::vector<Told> batch;
  std::vector<Told> deferred;
  std::vector<File> files;
  std::vector<std::string> absent;
  std::string blocked;
  try {
    context_.store.write([&](Unit& unit) {
      // When the store has turned to this: what has come meanwhile goes along.
      batch = first_told(together_);
      deferred.clear();
      files.clear();
      absent.clear();
      blocked.clear();
      Shared shared(*this, unit);
      for (std::size_t i = 0; i < batch.size(); ++i) {
        const Told& told = batch[i];
        Place place = Place::absent;
        try {
          place = shared.place_of(told.intent);
        } catch (const base::Error& error) {
          if (is_given_up(told.intent.partner)) {
            given_up_[told.intent.partner] = Clock::now() + given_up_for;
            why_deferred_ = error.what();
            deferred.push_back(told);
            continue;
          }
          blocked = error.what();
          batch.resize(i);
          return;
        }
        std::string_view step = "received";
        if (!told.in_spool) {
          // Not even taking it back went well where it is there all the same.
          if (place != Place::whole) place = Place::absent;
          step = place == Place::whole ? "received, though its session was not sure of it"
                                       : "the session gave up";
        } else if (place == Place::absent) {
          step = "reported as done, but not found in the spool";
        }
        auto file =
            record(unit, told.intent, place, shared.has_object(told.intent), told.tried, step);
        if (file) {
          files.push_back(std::move(*file));
        } else if (told.in_spool && place == Place::absent) {
          absent.push_back(told.intent.id);
        }
      }
    });
    together_ = std::min(together_ * 2, most_together);
  } catch (const store::Error& error) {
    if (!is_lasting(error) || batch.empty()) {
      const std::lock_guard lock(mutex_);
      for (std::size_t i = 0; i < batch.size(); ++i) told_[i].tried = true;
      throw;
    }
    together_ = 1;
    if (batch.size() > 1) return true;  // one at a time shows which
    base::log_error("file.unrecordable", {{"file", batch.front().intent.id}},
                    "upload {} is in the spool, and is tried again later: {}",
                    batch.front().intent.id, error.what());
    why_deferred_ = error.what();
    deferred = batch;
  }
  if (batch.empty() && !blocked.empty()) return wait_for_the_first(blocked);
  looks_ = 0;
  {
    const std::lock_guard lock(mutex_);
    told_.erase(told_.begin(), told_.begin() + static_cast<std::ptrdiff_t>(batch.size()));
    if (!deferred.empty()) {
      deferred_.insert(deferred_.end(), deferred.begin(), deferred.end());
      resolve_again(deferred_pause_);
      deferred_pause_ = std::min(2 * deferred_pause_, given_up_for / 2);
    }
  }
  for (const File& file : files) tell(file);
  if (!absent.empty()) {
    const std::lock_guard lock(mutex_);
    for (const Told& told : batch) {
      const auto session = sessions_.find(told.session_id);
      if (session != sessions_.end() &&
          std::find(absent.begin(), absent.end(), told.intent.id) != absent.end()) {
        ++session->second.given_up;
      }
    }
  }
  for (const std::string& id : absent) {
    base::log_error("file.not_as_announced", {{"file", id}},
                    "upload {} was reported as done, but is not found in the spool", id);
  }
  std::erase_if(batch, [&](const Told& told) {
    return std::any_of(deferred.begin(), deferred.end(), [&](const Told& other) {
      return other.session_id == told.session_id && other.line == told.line;
    });
  });
  recorded(batch);
  return true;
}

/// Lists go as far as their lines are rows.
void Intake::recorded(const std::vector<Told>& batch) {
  struct Part {
    std::string session_id;
    std::string partner;
    std::uint64_t number = 0;
  };
  std::vector<Part> parts;
  {
    const std::lock_guard lock(mutex_);
    for (const Told& told : batch) {
      const auto found = sessions_.find(told.session_id);
      if (found == sessions_.end()) continue;
      Session& session = found->second;
      const auto count = unrecorded_.find(session.partner);
      if (session.unrecorded.erase(told.line) > 0 && count != unrecorded_.end() &&
          --count->second == 0) {
        unrecorded_.erase(count);
      }
      const bool all = session.unrecorded.empty();
      const std::uint64_t first_open = all ? session.last_line + 1 : *session.unrecorded.begin();
      while ((session.removed_parts + 1) * sftp::intents_of_a_part < first_open) {
        parts.push_back({told.session_id, session.partner, ++session.removed_parts});
      }
      if (all && session.ended) ended_.insert(told.session_id);
    }
  }
  for (const Part& part : parts) {
    try {
      context_.staging(part.partner).remove_file(sftp::intents_name(part.session_id, part.number));
    } catch (const base::Error& error) {
      base::log_warning("file.list_kept", {{"partner", part.partner}}, "{}", error.what());
      const std::lock_guard lock(mutex_);
      const auto session = sessions_.find(part.session_id);
      if (session != sessions_.end()) session->second.list_kept = true;
    }
  }
}

/// The first in line cannot be looked at: it is waited for, for a while, or files of its partner
/// would overtake it.
bool Intake::wait_for_the_first(const std::string& blocked) {
  const auto first = first_told(1);
  if (++looks_ < most_looks) throw base::Error(blocked);
  looks_ = 0;
  given_up_[first.front().intent.partner] = Clock::now() + given_up_for;
  return true;
}

/// Of a partner whose files could not be looked at a moment ago, none is waited for.
bool Intake::is_given_up(const std::string& partner) {
  const auto found = given_up_.find(partner);
  if (found == given_up_.end()) return false;
  if (found->second > Clock::now()) return true;
  given_up_.erase(found);
  return false;
}

// Under the mutex.
void Intake::resolve_again(std::chrono::seconds pause) {
  const auto then = Clock::now() + pause;
  again_at_ = again_at_ ? std::min(*again_at_, then) : then;
}

std::optional<File> Intake::record(Unit& unit, const UploadIntent& intent, Place place,
                                   bool has_object, bool tried, std::string_view step) const {
  const base::Instant now = context_.now();
  std::optional<File> known = store::find_file(unit, intent.id);
  if (known) {
    // A line is a claim, and an id is for ever.
    if (known->partner != intent.partner || known->direction != store::Direction::inbound ||
        known->object != intent.object || known->name != intent.name)
      return std::nullopt;
    if (known->state == FileState::received && tried) return known;  // it went well after all
    // One that was given up is late, and welcome.
    if (known->state != FileState::aborted || place != Place::whole) return std::nullopt;
  }
  File file = known ? std::move(*known) : file_of(intent);
  file.size = intent.size;
  file.sha256 = intent.sha256;
  if (place == Place::absent) {
    file.state = FileState::aborted;
  } else if (place == Place::damaged || !has_object) {
    // Parked, with its reason, by the pipeline.
    file.state = FileState::receiving;
    file.next_due = now;
    file.reason_code = has_object ? "damaged" : "no-such-object";
    file.reason = has_object
                      ? "An interruption on our side has damaged this file after it was received. "
                        "Upload it again."
                      : "No files of this kind are taken from you any more.";
  } else {
    file.state = FileState::received;
    file.received = now;
    file.sequence = store::next_file_sequence(unit, file.partner, file.object);
  }
  if (!known) {
    insert_announced(unit, file);
  } else if (!store::update_file(unit, file)) {
    throw store::Error(store::Failure::conflict, 0, "Upload " + file.id + " changed meanwhile");
  } else {
    ++file.version;
  }
  if (file.state != FileState::receiving) {
    store::insert_file_step(unit, {file.id, file.state, now, std::string(step)});
  }
  if (file.state == FileState::aborted) return std::nullopt;
  return file;
}

/// Policies hang on the object, so it has to be one of the partner's.
std::vector<std::string> Intake::objects_of(Unit& unit, const std::string& partner) const {
  store::Partner bare;
  bare.name = partner;
  const auto known = store::find_partner(unit, partner);
  return policy_for(*context_.config.get(), known ? *known : bare).objects;
}

bool Intake::holds(const std::vector<std::string>& objects, const std::string& object) {
  return object.empty() || std::find(objects.begin(), objects.end(), object) != objects.end();
}

void Intake::tell(const File& file) const {
  const std::string path = virtual_path("", file.object, file.name);
  if (file.state == FileState::received) {
    base::log_info("file.received",
                   {{"file", file.id},
                    {"partner", file.partner},
                    {"object", file.object},
                    {"name", file.name},
                    {"bytes", file.size},
                    {"sha256", file.sha256}},
                   "received {} from {}", path, file.partner);
  } else {
    base::log_error("file." + file.reason_code, {{"file", file.id}, {"partner", file.partner}},
                    "{} of {} is in the spool, and cannot be received ({}); SHA-256 announced: {}",
                    path, file.partner, file.reason_code, file.sha256);
  }
  received_(file);
}

}  // namespace sallyport::daemon

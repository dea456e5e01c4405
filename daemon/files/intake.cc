#include "daemon/files/intake.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "base/bytes.h"
#include "base/file_io.h"
#include "base/log.h"
#include "daemon/files/names.h"
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

/// The rows themselves are at fault, not the store's present condition.
bool is_lasting(const store::Error& error) {
  return error.kind() == store::Failure::duplicate;
}

/// Whether it is in the spool as it was announced. Throws base::Error if nobody can tell.
bool is_in_place(const FileContext& context, const UploadIntent& intent) {
  const auto spooled = context.spool(intent.partner).look(intent.id);
  return spooled && S_ISREG(spooled->st_mode) &&
         static_cast<std::uint64_t>(spooled->st_size) == intent.size;
}

}  // namespace

File announced_file(const UploadIntent& intent) {
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
  return !finished_.empty() || !dropped_.empty() || resolve_ != Resolve::nothing;
}

void Intake::wait_for_work(std::unique_lock<std::mutex>& lock) {
  for (;;) {
    if (again_ != Resolve::nothing && std::chrono::steady_clock::now() >= again_at_) {
      resolve_ = std::max(resolve_, std::exchange(again_, Resolve::nothing));
    }
    if (stopping_ || has_work()) return;
    if (again_ == Resolve::nothing) {
      changed_.wait(lock);
    } else {
      changed_.wait_until(lock, again_at_);
    }
  }
}

void Intake::run() {
  // Partners who wait for the answer to a CLOSE come first at the store: behind them, many of these
  // go into one commit.
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
    } catch (const std::exception& error) {
      trouble = error.what();
      if (std::exchange(failed, true)) pause = std::min(2 * pause, longest_pause);
    }
    context_.health.set(
        "files.unrecorded", !trouble.empty(),
        "Files are received and safe in the spool, but cannot be recorded: " + trouble);
  }
}

void Intake::wait_idle(std::chrono::steady_clock::time_point deadline) {
  std::unique_lock lock(mutex_);
  changed_.wait_until(lock, deadline, [this] { return stopping_ || (!working_ && !has_work()); });
}

void Intake::work() {
  resolve_asked();
  for (int round = 0; round < most_rounds && record_some(); ++round) {
  }
  while (drop_some()) {
  }
}

std::int64_t Intake::next_ordinal() {
  const std::int64_t now = std::chrono::duration_cast<std::chrono::microseconds>(
                               std::chrono::system_clock::now().time_since_epoch())
                               .count();
  auto last = last_ordinal_.lock();
  *last = std::max(*last + 1, now);
  return *last;
}

void Intake::begin(UploadIntent intent, const std::string& replaces) {
  intent.ordinal = next_ordinal();
  context_.store.write([&](Unit& unit) {
    if (!replaces.empty()) static_cast<void>(store::delete_upload_intent(unit, replaces));
    store::insert_upload_intent(unit, intent);
  });
  auto begun = begun_.lock();
  if (!replaces.empty()) begun->erase(replaces);
  begun->emplace(intent.id, std::move(intent));
}

void Intake::finish(const std::string& id) {
  {
    auto begun = begun_.lock();
    auto node = begun->extract(id);
    if (!node) throw base::Error("The front reported an upload that was never begun: " + id);
    const std::lock_guard lock(mutex_);
    finished_.push_back(std::move(node.mapped()));
  }
  changed_.notify_all();
}

void Intake::abort(const std::string& id) {
  begun_.lock()->erase(id);
  {
    const std::lock_guard lock(mutex_);
    dropped_.insert(id);
  }
  changed_.notify_all();
}

void Intake::ended(const std::vector<std::string>& ids) {
  {
    auto begun = begun_.lock();
    for (const std::string& id : ids) begun->erase(id);
  }
  resolve(true);
}

bool Intake::is_under_way(const std::string& id) {
  if (begun_.lock()->contains(id)) return true;
  const std::lock_guard lock(mutex_);
  return std::any_of(finished_.begin(), finished_.end(),
                     [&](const UploadIntent& intent) { return intent.id == id; });
}

std::vector<UploadIntent> Intake::first_finished(std::size_t most) {
  const std::lock_guard lock(mutex_);
  const auto count = static_cast<std::ptrdiff_t>(std::min(most, finished_.size()));
  return {finished_.begin(), finished_.begin() + count};
}

bool Intake::record_some() {
  if (first_finished(1).empty()) return false;
  std::vector<UploadIntent> batch;
  std::vector<UploadIntent> skipped;
  std::vector<File> received;
  std::string blocked;
  try {
    context_.store.write([&](Unit& unit) {
      // When the store has turned to this: what has come meanwhile goes along.
      batch = first_finished(together_);
      skipped.clear();
      received.clear();
      blocked.clear();
      for (std::size_t i = 0; i < batch.size(); ++i) {
        const UploadIntent& intent = batch[i];
        bool in_place = false;
        try {
          in_place = is_in_place(context_, intent);
        } catch (const base::Error& error) {
          if (!is_given_up(intent.partner)) {
            blocked = error.what();
            batch.resize(i);
            return;
          }
        }
        if (!in_place) {
          skipped.push_back(intent);
        } else if (auto file = make_received(unit, intent, "received")) {
          received.push_back(std::move(*file));
        }
      }
    });
    together_ = std::min(together_ * 2, most_together);
  } catch (const store::Error& error) {
    if (!is_lasting(error) || batch.empty()) throw;
    together_ = 1;
    if (batch.size() > 1) return true;  // one at a time shows which
    base::log_error("file.unrecordable", {{"file", batch.front().id}},
                    "upload {} is in the spool, and is tried again later: {}", batch.front().id,
                    error.what());
    skipped = batch;
  }
  if (batch.empty() && !blocked.empty()) return wait_for_the_first(blocked);
  looks_ = 0;
  {
    const std::lock_guard lock(mutex_);
    finished_.erase(finished_.begin(),
                    finished_.begin() + static_cast<std::ptrdiff_t>(batch.size()));
    if (!skipped.empty()) resolve_again(first_pause);
  }
  for (const File& file : received) tell(file);
  for (const UploadIntent& intent : skipped) report(intent);
  return true;
}

/// The first in line cannot be looked at: it is waited for, for a while, or files of its partner
/// would overtake it.
bool Intake::wait_for_the_first(const std::string& blocked) {
  const auto first = first_finished(1);
  if (++looks_ < most_looks) throw base::Error(blocked);
  looks_ = 0;
  given_up_[first.front().partner] = std::chrono::steady_clock::now() + given_up_for;
  return true;
}

/// Of a partner whose files could not be looked at a moment ago, none is waited for.
bool Intake::is_given_up(const std::string& partner) {
  const auto found = given_up_.find(partner);
  if (found == given_up_.end()) return false;
  if (found->second > std::chrono::steady_clock::now()) return true;
  given_up_.erase(found);
  return false;
}

// Under the mutex.
void Intake::resolve_again(std::chrono::seconds pause) {
  const auto then = std::chrono::steady_clock::now() + pause;
  again_at_ = again_ == Resolve::nothing ? then : std::min(again_at_, then);
  again_ = Resolve::all;
}

void Intake::report(const UploadIntent& skipped) const {
  const auto row =
      context_.store.read([&](Unit& unit) { return store::find_file(unit, skipped.id); });
  if (row && row->state != FileState::aborted) return;  // taken up already, and on its way
  base::log_error("file.not_as_announced", {{"file", skipped.id}, {"partner", skipped.partner}},
                  "upload {} was reported as done, but is not found in the spool as it was "
                  "announced",
                  skipped.id);
}

std::optional<File> Intake::make_received(Unit& unit, const UploadIntent& intent,
                                          std::string_view step) const {
  const base::Instant now = context_.now();
  const bool is_new = store::delete_upload_intent(unit, intent.id);
  std::optional<File> file = is_new ? announced_file(intent) : store::find_file(unit, intent.id);
  if (!file) return std::nullopt;
  if (!is_new && file->state == FileState::received) return file;  // by a commit of unknown end
  // One that was given up is late, and welcome.
  if (!is_new && file->state != FileState::aborted) return std::nullopt;
  file->state = FileState::received;
  file->size = intent.size;
  file->sha256 = intent.sha256;
  file->received = now;
  file->sequence = store::next_file_sequence(unit, file->partner, file->object);
  if (is_new) {
    insert_announced(unit, *file);
  } else if (!store::update_file(unit, *file)) {
    throw store::Error(store::Failure::conflict, 0, "Upload " + file->id + " changed meanwhile");
  } else {
    ++file->version;
  }
  store::insert_file_step(unit, {file->id, file->state, now, std::string(step)});
  return file;
}

void Intake::tell(const File& file) const {
  base::log_info("file.received",
                 {{"file", file.id},
                  {"partner", file.partner},
                  {"object", file.object},
                  {"name", file.name},
                  {"bytes", file.size},
                  {"sha256", file.sha256}},
                 "received {} from {}", virtual_path("", file.object, file.name), file.partner);
  received_(file);
}

bool Intake::drop_some() {
  std::vector<std::string> ids;
  {
    const std::lock_guard lock(mutex_);
    for (auto id = dropped_.begin(); id != dropped_.end() && ids.size() < most_together; ++id) {
      ids.push_back(*id);
    }
  }
  if (ids.empty()) return false;
  context_.store.write([&](Unit& unit) {
    for (const std::string& id : ids) {
      const auto intent = store::find_upload_intent(unit, id);
      if (!intent || !store::delete_upload_intent(unit, id)) continue;
      File file = announced_file(*intent);
      file.state = FileState::aborted;
      insert_announced(unit, file);
      store::insert_file_step(unit, {id, file.state, context_.now(), "the session gave up"});
    }
  });
  const std::lock_guard lock(mutex_);
  for (const std::string& id : ids) dropped_.erase(id);
  return true;
}

}  // namespace sallyport::daemon

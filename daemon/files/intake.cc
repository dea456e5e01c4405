#include "daemon/files/intake.h"

#include <sys/stat.h>

#include <algorithm>
#include <tuple>
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

/// A session sends UploadDone right after the rename. Within this time it may still be at its
/// fsync; later nobody is.
constexpr std::chrono::minutes upload_grace{10};

constexpr unsigned intents_page = 500;
/// Somebody else waits for the store meanwhile: about a millisecond.
constexpr std::size_t most_together = 64;
constexpr std::chrono::seconds first_pause{1};
constexpr std::chrono::seconds longest_pause{10};
constexpr std::chrono::seconds longest_again{60};

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

void insert_with_first_step(Unit& unit, const File& file) {
  store::insert_file(unit, file);
  store::insert_file_step(unit, {file.id, FileState::receiving, file.created,
                                 "announced by its session, not yet ours"});
}

/// The rows themselves are at fault, not the store's present condition.
bool is_lasting(const store::Error& error) {
  return error.kind() == store::Failure::duplicate;
}

/// Whether it is in the spool as it was announced. Throws base::SystemError if nobody can tell.
bool is_in_place(const FileContext& context, const UploadIntent& intent) {
  const auto spooled = context.spool(intent.partner).look(intent.id);
  return spooled && S_ISREG(spooled->st_mode) &&
         static_cast<std::uint64_t>(spooled->st_size) == intent.size;
}

}  // namespace

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
  while (record_some()) {
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
  auto node = begun_.lock()->extract(id);
  if (!node) throw base::Error("The front reported an upload that was never begun: " + id);
  {
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
  try {
    context_.store.write([&](Unit& unit) {
      // When the store has turned to this: what has come meanwhile goes along.
      batch = first_finished(together_);
      skipped.clear();
      received.clear();
      for (const UploadIntent& intent : batch) {
        try {
          if (!is_in_place(context_, intent)) {
            skipped.push_back(intent);
            continue;
          }
        } catch (const base::SystemError&) {
          skipped.push_back(intent);
          continue;
        }
        if (auto file = make_received(unit, intent, "received")) {
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
    resolve(true);
  }
  {
    const std::lock_guard lock(mutex_);
    finished_.erase(finished_.begin(),
                    finished_.begin() + static_cast<std::ptrdiff_t>(batch.size()));
  }
  for (const File& file : received) tell(file);
  for (const UploadIntent& intent : skipped) look_after(intent);
  return true;
}

/// One that is not in the spool as it was announced, or that could not be looked at.
void Intake::look_after(const UploadIntent& skipped) {
  const auto row =
      context_.store.read([&](Unit& unit) { return store::find_file(unit, skipped.id); });
  if (row && row->state != FileState::aborted) return;  // taken up already, and on its way
  base::log_error("file.not_as_announced", {{"file", skipped.id}, {"partner", skipped.partner}},
                  "upload {} was reported as done, but is not found in the spool as it was "
                  "announced",
                  skipped.id);
  const std::lock_guard lock(mutex_);
  if (again_ == Resolve::nothing) again_at_ = std::chrono::steady_clock::now() + first_pause;
  again_ = Resolve::all;
}

std::optional<File> Intake::make_received(Unit& unit, const UploadIntent& intent,
                                          std::string_view step) const {
  const base::Instant now = context_.now();
  const bool is_new = store::delete_upload_intent(unit, intent.id);
  std::optional<File> file = is_new ? file_of(intent) : store::find_file(unit, intent.id);
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
    insert_with_first_step(unit, *file);
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
      File file = file_of(*intent);
      file.state = FileState::aborted;
      insert_with_first_step(unit, file);
      store::insert_file_step(unit, {id, file.state, context_.now(), "the session gave up"});
    }
  });
  const std::lock_guard lock(mutex_);
  for (const std::string& id : ids) dropped_.erase(id);
  return true;
}

void Intake::resolve(bool all) {
  {
    const std::lock_guard lock(mutex_);
    resolve_ = std::max(resolve_, all ? Resolve::all : Resolve::old);
  }
  changed_.notify_all();
}

void Intake::resolve_asked() {
  Resolve asked = Resolve::nothing;
  {
    const std::lock_guard lock(mutex_);
    asked = std::exchange(resolve_, Resolve::nothing);
  }
  if (asked == Resolve::nothing) return;
  try {
    resolve_now(asked);
  } catch (...) {
    resolve(asked == Resolve::all);
    throw;
  }
  const std::lock_guard lock(mutex_);
  if (unreadable_.empty()) {
    again_pause_ = first_pause;
    return;
  }
  again_ = std::max(again_, asked);
  again_at_ = std::chrono::steady_clock::now() + again_pause_;
  again_pause_ = std::min(2 * again_pause_, longest_again);
}

struct Intake::Found {
  UploadIntent intent;
  std::optional<struct stat> spooled;

  /// When it came into the spool: that rename was the last change of the file.
  [[nodiscard]] auto order() const {
    const timespec came = spooled ? spooled->st_ctim : timespec{};
    return std::tuple(came.tv_sec, came.tv_nsec, intent.ordinal);
  }
};

void Intake::resolve_now(Resolve asked) {
  unreadable_.clear();
  std::vector<Found> all;
  std::string after;
  for (;;) {
    const auto page = context_.store.read(
        [&](Unit& unit) { return store::list_upload_intents(unit, after, intents_page); });
    for (const UploadIntent& intent : page) {
      if (is_under_way(intent.id)) continue;
      try {
        all.push_back({intent, context_.spool(intent.partner).look(intent.id)});
      } catch (const base::Error& error) {
        unreadable_ = error.what();
      }
    }
    if (page.size() < intents_page) break;
    after = page.back().id;
  }
  std::sort(all.begin(), all.end(),
            [](const Found& a, const Found& b) { return a.order() < b.order(); });
  for (const Found& found : all) {
    try {
      resolve_one(found, asked == Resolve::all);
    } catch (const store::Error& error) {
      if (!is_lasting(error)) throw;
      unreadable_ = error.what();
    } catch (const base::Error& error) {
      unreadable_ = error.what();
    }
  }
  if (!unreadable_.empty()) {
    base::log_error("file.unresolved", {}, "an interrupted upload cannot be looked at for now: {}",
                    unreadable_);
  }
}

void Intake::resolve_one(const Found& found, bool all) {
  UploadIntent intent = found.intent;
  const bool is_old = context_.now() >= intent.created + upload_grace;
  if (!all && !is_old) return;
  const Directory spool = context_.spool(intent.partner);
  if (!found.spooled) {
    if (!is_old) return;
    base::log_notice("file.upload_dropped", {{"file", intent.id}, {"partner", intent.partner}},
                     "upload of {} by {} was interrupted before it was ours; the partner was not "
                     "told that it was",
                     intent.name, intent.partner);
    const std::lock_guard lock(mutex_);
    dropped_.insert(intent.id);
    return;
  }
  const bool says_all = !intent.sha256.empty();
  if (says_all && S_ISREG(found.spooled->st_mode) &&
      static_cast<std::uint64_t>(found.spooled->st_size) != intent.size) {
    return refuse_damaged(intent);
  }
  const std::string path = join(spool.path(), intent.id);
  const auto fd = spool.open_file(intent.id);
  if (!fd) throw base::Error(path + " was there, and is no longer");
  // The rename is only durable once the directory is: what we record must not disappear again.
  base::fsync_file(fd->get(), path);
  spool.sync();
  const base::FileDigest digest = base::digest_file(fd->get(), path);
  const std::string sha256 = base::to_hex(digest.sha256);
  if (!says_all) {
    intent.size = digest.size;
    intent.sha256 = sha256;
  }
  if (digest.size != intent.size || sha256 != intent.sha256) return refuse_damaged(intent);
  std::optional<File> received;
  context_.store.write([&](Unit& unit) {
    received = make_received(unit, intent, "found whole in the spool after an interruption");
  });
  if (received) tell(*received);
}

/// Parked, with its reason, by the pipeline.
void Intake::refuse_damaged(const UploadIntent& intent) {
  File file = file_of(intent);
  file.next_due = context_.now();
  file.reason_code = "damaged";
  file.reason =
      "An interruption on our side has damaged this file after it was received. Upload it again.";
  bool is_new = false;
  context_.store.write([&](Unit& unit) {
    is_new = store::delete_upload_intent(unit, file.id);
    if (!is_new) return;
    insert_with_first_step(unit, file);
  });
  if (!is_new) return;
  base::log_error("file.damaged", {{"file", file.id}, {"partner", file.partner}},
                  "{} of {} is in the spool, but is not what was uploaded (SHA-256 {})", file.name,
                  file.partner, intent.sha256);
  received_(file);
}

}  // namespace sallyport::daemon

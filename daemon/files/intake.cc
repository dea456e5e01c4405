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

/// A session sends UploadDone right after the rename. Within this time it may still be at its
/// fsync; later nobody is.
constexpr std::chrono::minutes upload_grace{10};

/// More than sessions can have under way at once; what is forgotten is read from the store.
constexpr std::size_t most_begun = 4096;
constexpr unsigned intents_page = 500;
/// Somebody else waits for the store meanwhile: about a millisecond.
constexpr std::size_t most_together = 64;
constexpr std::chrono::seconds first_pause{1};
constexpr std::chrono::seconds longest_pause{10};

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

/// Of an upload that is announced, or was when it was given up.
std::optional<UploadIntent> intent_of(Unit& unit, const std::string& id) {
  if (auto intent = store::find_upload_intent(unit, id)) return intent;
  const auto file = store::find_file(unit, id);
  if (!file) return std::nullopt;
  UploadIntent intent;
  intent.id = file->id;
  intent.partner = file->partner;
  intent.object = file->object;
  intent.name = file->name;
  intent.uploader = file->uploader;
  intent.created = file->created;
  intent.size = file->size;
  intent.sha256 = file->sha256;
  return intent;
}

void insert_with_first_step(Unit& unit, const File& file) {
  store::insert_file(unit, file);
  store::insert_file_step(unit, {file.id, FileState::receiving, file.created,
                                 "announced by its session, not yet ours"});
}

/// The rows themselves are at fault, not the store's present condition.
bool is_lasting(const store::Error& error) {
  return error.kind() == store::Failure::duplicate || error.kind() == store::Failure::broken;
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
  return !finished_.empty() || !aborted_.empty() || resolve_ != Resolve::nothing;
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
      changed_.wait(lock, [this] { return stopping_ || has_work(); });
      working_ = true;
    }
    try {
      work();
      failed = false;
      pause = first_pause;
      context_.health.clear("files.unrecorded");
    } catch (const std::exception& error) {
      if (std::exchange(failed, true)) {
        pause = std::min(2 * pause, longest_pause);
      } else {
        base::log_error("file.unrecorded", {}, "uploads cannot be recorded for now: {}",
                        error.what());
      }
      context_.health.raise(
          "files.unrecorded",
          std::string("Files are received and safe in the spool, but cannot be recorded: ") +
              error.what());
    }
  }
}

void Intake::wait_idle(std::chrono::steady_clock::time_point deadline) {
  std::unique_lock lock(mutex_);
  changed_.wait_until(lock, deadline, [this] { return stopping_ || (!working_ && !has_work()); });
}

void Intake::work() {
  record_aborts();
  const std::string unreadable = resolve_asked();
  while (record_some()) {
  }
  if (!unreadable.empty()) throw base::Error(unreadable);
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
  if (begun->size() >= most_begun) begun->clear();
  begun->emplace(intent.id, std::move(intent));
}

std::optional<UploadIntent> Intake::begun(const std::string& id) {
  if (auto node = begun_.lock()->extract(id)) return std::move(node.mapped());
  return context_.store.read([&](Unit& unit) { return intent_of(unit, id); });
}

void Intake::finish(const std::string& id) {
  auto intent = begun(id);
  if (!intent) throw base::Error("The front reported an upload that was never begun: " + id);
  std::optional<struct stat> spooled;
  try {
    spooled = context_.spool(intent->partner).look(id);
  } catch (const base::SystemError&) {
    return resolve(true);  // which is tried until it can be looked at
  }
  if (!spooled || !S_ISREG(spooled->st_mode)) {
    const auto row = context_.store.read([&](Unit& unit) { return store::find_file(unit, id); });
    if (row && row->state != FileState::aborted) return;  // taken up already, and on its way
    throw base::Error("The front reported upload " + id + " as done, but it is not in the spool");
  }
  if (static_cast<std::uint64_t>(spooled->st_size) != intent->size) {
    throw base::Error("The front reported upload " + id + " with another size than it has");
  }
  {
    const std::lock_guard lock(mutex_);
    finished_.push_back(std::move(*intent));
  }
  changed_.notify_all();
}

std::vector<UploadIntent> Intake::first_finished(std::size_t most) {
  const std::lock_guard lock(mutex_);
  const auto count = static_cast<std::ptrdiff_t>(std::min(most, finished_.size()));
  return {finished_.begin(), finished_.begin() + count};
}

bool Intake::record_some() {
  if (first_finished(1).empty()) return false;
  std::vector<UploadIntent> batch;
  std::vector<File> received;
  try {
    context_.store.write([&](Unit& unit) {
      // When the store has turned to this: what has come meanwhile goes along.
      batch = first_finished(together_);
      received.clear();
      for (const UploadIntent& intent : batch) {
        if (auto file = make_received(unit, intent, "received")) {
          received.push_back(std::move(*file));
        }
      }
    });
    together_ = std::min(together_ * 2, most_together);
  } catch (const store::Error& error) {
    if (!is_lasting(error)) throw;
    together_ = 1;
    if (batch.size() > 1) return true;  // one at a time shows which
    base::log_error("file.unrecordable", {{"file", batch.front().id}},
                    "upload {} is in the spool, and is tried again later: {}", batch.front().id,
                    error.what());
  }
  {
    const std::lock_guard lock(mutex_);
    finished_.erase(finished_.begin(),
                    finished_.begin() + static_cast<std::ptrdiff_t>(batch.size()));
  }
  for (const File& file : received) tell(file);
  return true;
}

std::optional<File> Intake::make_received(Unit& unit, const UploadIntent& intent,
                                          std::string_view step) const {
  const base::Instant now = context_.now();
  const bool is_new = store::delete_upload_intent(unit, intent.id);
  // A report that comes twice finds its work done; one that comes late, that it was given up.
  std::optional<File> file = is_new ? file_of(intent) : store::find_file(unit, intent.id);
  if (!file || (!is_new && file->state != FileState::aborted)) return std::nullopt;
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

void Intake::abort(const std::string& id) {
  begun_.lock()->erase(id);
  {
    const std::lock_guard lock(mutex_);
    aborted_.insert(id);
  }
  changed_.notify_all();
}

void Intake::record_aborts() {
  std::set<std::string> ids;
  {
    const std::lock_guard lock(mutex_);
    ids = aborted_;
  }
  for (const std::string& id : ids) {
    drop(id);
    const std::lock_guard lock(mutex_);
    aborted_.erase(id);
  }
}

void Intake::drop(const std::string& id) {
  context_.store.write([&](Unit& unit) {
    const auto intent = store::find_upload_intent(unit, id);
    if (!intent || !store::delete_upload_intent(unit, id)) return;
    File file = file_of(*intent);
    file.state = FileState::aborted;
    insert_with_first_step(unit, file);
    store::insert_file_step(unit, {id, file.state, context_.now(), "the session gave up"});
  });
}

void Intake::resolve(bool all) {
  {
    const std::lock_guard lock(mutex_);
    resolve_ = std::max(resolve_, all ? Resolve::all : Resolve::old);
  }
  changed_.notify_all();
}

std::string Intake::resolve_asked() {
  Resolve asked = Resolve::nothing;
  {
    const std::lock_guard lock(mutex_);
    asked = resolve_;
  }
  if (asked == Resolve::nothing) return "";
  std::vector<UploadIntent> intents;
  for (;;) {
    const std::string after = intents.empty() ? "" : intents.back().id;
    const auto page = context_.store.read(
        [&](Unit& unit) { return store::list_upload_intents(unit, after, intents_page); });
    intents.insert(intents.end(), page.begin(), page.end());
    if (page.size() < intents_page) break;
  }
  std::sort(intents.begin(), intents.end(),
            [](const UploadIntent& a, const UploadIntent& b) { return a.ordinal < b.ordinal; });
  std::string unreadable;
  for (const UploadIntent& intent : intents) {
    try {
      resolve_one(intent, asked == Resolve::all);
    } catch (const base::SystemError& error) {
      unreadable = error.what();
    }
  }
  const std::lock_guard lock(mutex_);
  if (unreadable.empty() && resolve_ == asked) resolve_ = Resolve::nothing;
  return unreadable;
}

void Intake::resolve_one(const UploadIntent& announced, bool all) {
  UploadIntent intent = announced;
  const base::Instant given_up = intent.created + upload_grace;
  if (!all && context_.now() < given_up) return;
  const Directory spool = context_.spool(intent.partner);
  const std::string path = join(spool.path(), intent.id);
  const auto fd = spool.open_file(intent.id);
  if (!fd) {
    if (context_.now() < given_up) return;
    base::log_notice("file.upload_dropped", {{"file", intent.id}, {"partner", intent.partner}},
                     "upload of {} by {} was interrupted before it was ours; the partner was not "
                     "told that it was",
                     intent.name, intent.partner);
    drop(intent.id);
    return;
  }
  // The rename is only durable once the directory is: what we record must not disappear again.
  base::fsync_file(fd->get(), path);
  spool.sync();
  const base::FileDigest digest = base::digest_file(fd->get(), path);
  const std::string sha256 = base::to_hex(digest.sha256);
  if (intent.sha256.empty()) {
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

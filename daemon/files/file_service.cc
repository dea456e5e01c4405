#include "daemon/files/file_service.h"

#include <cerrno>

#include "base/file_io.h"
#include "base/log.h"
#include "daemon/files/after_delivery.h"
#include "daemon/files/names.h"
#include "daemon/files/originals.h"
#include "daemon/files/reason_note.h"

namespace sallyport::daemon {

using store::File;
using store::FileState;
using store::Unit;

FileService::FileService(const FileContext& context)
    : context_(context),
      inbound_(context_),
      outbound_(context_),
      pipeline_(context_, inbound_, &outbound_),
      journal_(
          context_, [this](const File& file) { pipeline_.offer(file); },
          [this] { waiting_.noticed(); }),
      watch_(context_, outbound_, [this](const File& file) { pipeline_.offer(file); }),
      retention_(context_),
      tasks_(context_),
      waiting_(context_, inbound_),
      expectations_(context_) {
  pipeline_.set_intake(journal_.intake());
  inbound_.set_offer([this](const File& file) { pipeline_.offer(file); });
}

FileService::~FileService() {
  stop();
}

std::vector<DueWork*> FileService::due_work() {
  return {&pipeline_, &retention_, &tasks_, &waiting_, &expectations_};
}

void FileService::start() {
  journal_.intake().start();
  try {
    Check(context_).settle([this](const File& file) { pipeline_.offer(file); });
    watch_.start();
  } catch (const std::exception& error) {
    context_.health.raise("files.unavailable",
                          std::string("Files are received, but not processed: ") + error.what());
    throw;
  }
  context_.health.clear("files.unavailable");
  pipeline_.start();
  tasks_.start();
  for (DueWork* work : due_work()) context_.waker.wake(work->name());
}

void FileService::stop() {
  watch_.stop();
  journal_.intake().stop();
  pipeline_.stop();
  tasks_.stop();
}

void FileService::partners_changed() {
  watch_.rescan();
  constexpr unsigned page = 500;
  std::optional<File> last;
  for (;;) {
    const auto held = context_.store.read([&](Unit& unit) {
      return store::files_in_states(unit, {FileState::held}, last ? &*last : nullptr, page);
    });
    for (const File& file : held) pipeline_.offer(file);
    if (held.size() < page) return;
    last = held.back();
  }
}

void FileService::bring_back(const File& file) const {
  const Directory spool = context_.spool(file.partner);
  if (spool.look(file.spool_name)) return;
  const SplitPath place = split_last(file.published_as);
  const auto parked = context_.partner_directory(file.partner).find("tree" + place.directory);
  if (parked && move_file(*parked, place.name, spool, file.spool_name) == Moved::yes) return;
  const auto original = open_original(context_, file);
  if (!original) {
    throw ProblemError(409, "FILE_ORIGINAL_MISSING",
                       "The original is no longer at " + file.published_as + ".");
  }
  // A copy of a backup gets its name only when it is whole.
  const std::string temporary = file.spool_name + ".restored";
  const base::UniqueFd copy = spool.make_file(temporary, shared_file_mode);
  copy_content(original->get(), copy.get(), "the backup of " + file.id);
  base::fsync_file(copy.get(), join(spool.path(), temporary));
  if (move_file(spool, temporary, spool, file.spool_name) == Moved::no_source) {
    throw base::SystemError(ENOENT, "restore " + join(spool.path(), file.spool_name));
  }
}

bool FileService::retry_tasks(const File& file, const Caller& caller) {
  const base::Instant now = context_.now();
  bool any = false;
  context_.store.write([&](Unit& unit) {
    any = !retry_given_up_tasks(unit, file, caller.actor(), now).empty();
    if (any) record_retry(unit, file, caller);
  });
  if (any) context_.waker.wake("file-tasks");
  return any;
}

void FileService::record_retry(Unit& unit, const File& file, const Caller& caller) const {
  ActivityEntry entry;
  entry.actor = caller.actor();
  entry.source = caller.source;
  entry.operation = "RETRY";
  entry.resource_type = "FILE";
  entry.resource_id = file.id;
  entry.resource_name = file.name;
  context_.activity.append(unit, entry);
}

File FileService::retry(const std::string& id, const Caller& caller) {
  const std::string actor = caller.actor();
  auto file = context_.store.read([&](Unit& unit) { return store::find_file(unit, id); });
  if (!file) throw ProblemError(404, "FILE_NOT_FOUND", "There is no file " + id + ".");
  if (file->state != FileState::failed && retry_tasks(*file, caller)) return *file;
  if (file->state != FileState::failed) {
    throw ProblemError(409, "FILE_NOT_FAILED",
                       "Only failed files can be retried; this one is " +
                           std::string(to_string(file->state)) + ".");
  }
  // Back into the spool first: until the row changes, an interruption parks it again.
  bring_back(*file);
  const SplitPath place = split_last(file->published_as);
  clear_retry(*file);
  file->state = FileState::received;
  file->published_as.clear();
  const base::Instant now = context_.now();
  context_.store.write([&](Unit& unit) {
    file->sequence = store::next_file_sequence(unit, file->partner, file->object);
    if (!store::update_file(unit, *file)) {
      throw ProblemError(409, "FILE_CHANGED", "Somebody else is working on this file.");
    }
    store::insert_file_step(unit, {file->id, file->state, now, "retried by " + actor});
    // What followed the failure: it is followed by what the new run comes to.
    store::delete_file_task(unit, file->id, "receipt");
    for (const auto& task : store::given_up_tasks(unit, file->id)) {
      store::delete_given_up_task(unit, file->id, task.kind);
    }
    record_retry(unit, *file, caller);
  });
  context_.waker.wake("file-tasks");
  ++file->version;
  if (const auto parked =
          context_.partner_directory(file->partner).find("tree" + place.directory)) {
    parked->remove_file(reason_note_name(place.name));
  }
  base::log_notice("file.retried", {{"file", id}, {"actor", actor}}, "{} of {} is retried by {}",
                   file->name, file->partner, actor);
  pipeline_.offer(*file);
  return *file;
}

}  // namespace sallyport::daemon

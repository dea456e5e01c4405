#include "daemon/files/journal.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/bytes.h"
#include "base/file_io.h"
#include "base/log.h"
#include "daemon/files/names.h"
#include "daemon/http/json.h"
#include "store/notices.h"

namespace sallyport::daemon {
namespace {

using store::File;
using store::FileState;
using store::Unit;

/// A session sends UploadDone right after the rename. Within this time it may still be at its
/// fsync; later nobody is.
constexpr std::chrono::minutes upload_grace{10};

/// More than sessions can have under way at once; what is forgotten is read from the store.
constexpr std::size_t most_begun = 4096;
constexpr unsigned intents_page = 500;

constexpr std::array<std::pair<FileState, std::string_view>, 14> state_names{{
    {FileState::receiving, "receiving"},
    {FileState::received, "received"},
    {FileState::decrypted, "decrypted"},
    {FileState::delivered, "delivered"},
    {FileState::archived, "archived"},
    {FileState::backed_up, "backed_up"},
    {FileState::failed, "failed"},
    {FileState::aborted, "aborted"},
    {FileState::queued, "queued"},
    {FileState::held, "held"},
    {FileState::encrypted, "encrypted"},
    {FileState::available, "available"},
    {FileState::downloaded, "downloaded"},
    {FileState::collected, "collected"},
}};

[[noreturn]] void overtaken(const File& file) {
  throw Overtaken("File " + file.id + " was changed by somebody else");
}

File file_of(const store::UploadIntent& intent) {
  File file;
  file.id = intent.id;
  file.spool_name = intent.id;
  file.partner = intent.partner;
  file.object = intent.object;
  file.name = intent.name;
  file.uploader = intent.uploader;
  file.created = intent.created;
  return file;
}

/// Of an upload that is announced, or was when it was given up.
std::optional<store::UploadIntent> intent_of(Unit& unit, const std::string& id) {
  if (auto intent = store::find_upload_intent(unit, id)) return intent;
  const auto file = store::find_file(unit, id);
  if (!file) return std::nullopt;
  return store::UploadIntent{file->id,   file->partner,  file->object,
                             file->name, file->uploader, file->created};
}

void insert_with_first_step(Unit& unit, const File& file) {
  store::insert_file(unit, file);
  store::insert_file_step(unit, {file.id, FileState::receiving, file.created,
                                 "announced by its session, not yet ours"});
}

/// The name below the object's folder. The path is the whole truth: it has the sub-folders too.
std::string name_in_object(const UploadIntent& intent) {
  const std::string folder = virtual_path("/Incoming", intent.object, "");
  if (intent.virtual_path.size() > folder.size() && intent.virtual_path.starts_with(folder)) {
    return intent.virtual_path.substr(folder.size());
  }
  return intent.name;
}

}  // namespace

std::string_view to_string(FileState state) {
  for (const auto& [known, name] : state_names) {
    if (known == state) return name;
  }
  return "unknown";
}

std::optional<FileState> parse_file_state(std::string_view text) {
  for (const auto& [state, name] : state_names) {
    if (name == text) return state;
  }
  return std::nullopt;
}

void commit_file(const FileContext& context, File& next, std::string_view step,
                 const std::function<void(Unit&)>& also) {
  const base::Instant now = context.now();
  context.store.write([&](Unit& unit) {
    if (!store::update_file(unit, next)) overtaken(next);
    if (!step.empty()) {
      store::insert_file_step(unit, {next.id, next.state, now, std::string(step)});
    }
    if (also) also(unit);
  });
  ++next.version;
}

UploadTicket Journal::begin_upload(const SessionPeer& peer, const UploadIntent& described) {
  store::UploadIntent intent;
  intent.id = base::random_id();
  intent.partner = peer.partner;
  intent.object = described.object;
  intent.name = name_in_object(described);
  if (!split_name(intent.name) || (!intent.object.empty() && !is_component(intent.object))) {
    throw base::Error("The front named an upload \"" + described.virtual_path +
                      "\", which no file can be called");
  }
  intent.created = context_.now();
  intent.uploader = Json::object({{"address", peer.address},
                                  {"banner", peer.banner},
                                  {"method", peer.method},
                                  {"fingerprint", peer.fingerprint}})
                        .dump();
  context_.store.write([&](Unit& unit) { store::insert_upload_intent(unit, intent); });
  remember(intent);
  return {intent.id, intent.id};
}

void Journal::remember(const store::UploadIntent& intent) {
  auto begun = begun_.lock();
  if (begun->size() >= most_begun) begun->clear();
  begun->emplace(intent.id, intent);
}

std::optional<store::UploadIntent> Journal::begun(const std::string& id) {
  if (auto node = begun_.lock()->extract(id)) return std::move(node.mapped());
  return context_.store.read([&](Unit& unit) { return intent_of(unit, id); });
}

void Journal::finish_upload(const std::string& id, std::uint64_t size, const base::Sha256& sha256) {
  const auto intent = begun(id);
  if (!intent) throw base::Error("The front reported an upload that was never begun: " + id);
  const auto spooled = context_.spool(intent->partner).look(id);
  if (!spooled || !S_ISREG(spooled->st_mode)) {
    const auto row = context_.store.read([&](Unit& unit) { return store::find_file(unit, id); });
    if (row && row->state != FileState::aborted) return;  // taken up already, and on its way
    throw base::Error("The front reported upload " + id + " as done, but it is not in the spool");
  }
  if (static_cast<std::uint64_t>(spooled->st_size) != size) {
    throw base::Error("The front reported upload " + id + " with another size than it has");
  }
  record_received(*intent, size, base::to_hex(sha256), "received");
}

void Journal::record_received(const store::UploadIntent& intent, std::uint64_t size,
                              const std::string& sha256, std::string_view step) {
  const std::size_t line = std::hash<std::string>{}(intent.partner + '/' + intent.object);
  const std::lock_guard lock(lines_[line % lines_.size()]);
  const base::Instant now = context_.now();
  std::optional<File> received;
  context_.store.write([&](Unit& unit) {
    received.reset();
    const bool is_new = store::delete_upload_intent(unit, intent.id);
    // A report that comes twice finds its work done; one that comes late, that it was given up.
    std::optional<File> file = is_new ? file_of(intent) : store::find_file(unit, intent.id);
    if (!file || (!is_new && file->state != FileState::aborted)) return;
    file->state = FileState::received;
    file->size = size;
    file->sha256 = sha256;
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
    received = std::move(file);
  });
  if (!received) return;
  base::log_info("file.received",
                 {{"file", received->id},
                  {"partner", received->partner},
                  {"object", received->object},
                  {"name", received->name},
                  {"bytes", received->size},
                  {"sha256", received->sha256}},
                 "received {} from {}", virtual_path("", received->object, received->name),
                 received->partner);
  received_(*received);
}

void Journal::abort_upload(const std::string& id) {
  begun_.lock()->erase(id);
  try {
    record_abort(id);
  } catch (...) {
    unrecorded_aborts_.lock()->insert(id);
    context_.waker.wake("files");
    throw;
  }
}

void Journal::settle_aborts() {
  const std::set<std::string> ids = unrecorded_aborts_.get();
  for (const std::string& id : ids) {
    record_abort(id);
    unrecorded_aborts_.lock()->erase(id);
  }
}

void Journal::record_abort(const std::string& id) {
  context_.store.write([&](Unit& unit) {
    const auto intent = store::find_upload_intent(unit, id);
    if (!intent || !store::delete_upload_intent(unit, id)) return;
    File file = file_of(*intent);
    file.state = FileState::aborted;
    insert_with_first_step(unit, file);
    store::insert_file_step(unit, {id, file.state, context_.now(), "the session gave up"});
  });
}

std::vector<std::string> Journal::unresolved_uploads(bool all) {
  const base::Instant old = context_.now() - upload_grace;
  std::vector<std::string> ids;
  std::string after;
  for (;;) {
    const auto intents = context_.store.read(
        [&](Unit& unit) { return store::list_upload_intents(unit, after, intents_page); });
    for (const store::UploadIntent& intent : intents) {
      if (all || intent.created <= old) ids.push_back(intent.id);
    }
    if (intents.size() < intents_page) return ids;
    after = intents.back().id;
  }
}

void Journal::resolve_upload(const std::string& id) {
  const auto intent =
      context_.store.read([&](Unit& unit) { return store::find_upload_intent(unit, id); });
  if (!intent) return;
  const Directory spool = context_.spool(intent->partner);
  if (const auto fd = spool.open_file(id)) {
    // The rename is only durable once the directory is: what we record must not disappear again.
    base::fsync_file(fd->get(), join(spool.path(), id));
    spool.sync();
    const base::FileDigest digest = base::digest_file(fd->get(), join(spool.path(), id));
    record_received(*intent, digest.size, base::to_hex(digest.sha256),
                    "found whole in the spool after an interruption");
    return;
  }
  if (context_.now() < intent->created + upload_grace) return;
  base::log_notice(
      "file.upload_dropped", {{"file", id}, {"partner", intent->partner}},
      "upload of {} by {} was interrupted before it was ours; the partner was not told "
      "that it was",
      intent->name, intent->partner);
  abort_upload(id);
}

void Journal::downloaded(const SessionPeer& peer, const std::string& path, std::uint64_t bytes,
                         bool complete) {
  if (!complete || !path.starts_with("/Outgoing/")) return;
  context_.store.write([&](Unit& unit) {
    auto file = store::find_published(unit, peer.partner, path);
    if (!file || file->direction != store::Direction::outbound) return;
    const std::string detail = "by " + peer.address + ", " + std::to_string(bytes) + " bytes";
    if (file->state == FileState::available) {
      file->state = FileState::downloaded;
      if (!store::update_file(unit, *file)) {
        throw store::Error(store::Failure::conflict, 0, "File " + file->id + " changed meanwhile");
      }
    }
    store::insert_file_step(unit, {file->id, FileState::downloaded, context_.now(), detail});
  });
}

void Journal::left_waiting(const SessionPeer&, const std::string&, bool) {
  if (waiting_) waiting_();
}

void Journal::deleted(const SessionPeer& peer, const std::string& path) {
  if (!path.starts_with("/Outgoing/")) return;
  context_.store.write([&](Unit& unit) {
    auto file = store::find_published(unit, peer.partner, path);
    if (!file || file->direction != store::Direction::outbound) return;
    if (file->state != FileState::available && file->state != FileState::downloaded) return;
    const bool unread = file->state == FileState::available;
    file->state = FileState::collected;
    file->next_due.reset();
    if (!store::update_file(unit, *file)) {
      throw store::Error(store::Failure::conflict, 0, "File " + file->id + " changed meanwhile");
    }
    const base::Instant now = context_.now();
    store::insert_file_step(
        unit, {file->id, file->state, now,
               "removed by " + peer.address + (unread ? " without a full download" : "")});
    static_cast<void>(store::cancel_notices(unit, "file", file->id, "outbound_not_collected", now));
  });
}

}  // namespace sallyport::daemon

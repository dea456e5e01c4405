#include "daemon/files/journal.h"

#include <array>
#include <utility>

#include "base/bytes.h"
#include "daemon/files/intent_lists.h"
#include "daemon/files/names.h"
#include "daemon/http/json.h"
#include "store/notices.h"

namespace sallyport::daemon {
namespace {

using store::File;
using store::FileState;
using store::Unit;

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

void Journal::uploaded(const SessionPeer& peer, const std::string& session_id,
                       const Uploaded& upload) {
  if (!sftp::is_id(upload.id) || !sftp::is_incoming_file(upload.path)) {
    throw base::Error("The front named an upload as no file can be called");
  }
  const sftp::Intent described{upload.id, upload.path, upload.size, upload.sha256};
  intake_.uploaded(session_id,
                   intent_of(described, peer.partner, uploader_facts(peer), context_.now()),
                   upload.line, upload.in_spool);
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

// What sessions report about files. Names and paths are claims of the front: checked here for form,
// and never used as paths.
#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <thread>

#include "base/bytes.h"
#include "base/log.h"
#include "daemon/activity/activity_log.h"
#include "daemon/partners/broker_impl.h"
#include "daemon/partners/session_id.h"
#include "sftp/areas.h"
#include "sftp/intents.h"
#include "sftp/recovery.h"

namespace sallyport::daemon {
namespace {

constexpr std::chrono::seconds sessions_leave_within{6};
using Listing = base::CHandle<DIR, ::closedir>;

// The fields are numbers of the store's, which has a sign.
std::int64_t counted(std::uint64_t value) {
  constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max();
  return static_cast<std::int64_t>(std::min(value, most));
}

// As a session writes it: absolute, without "." and "..", every name one that a file can have.
bool is_good_path(const std::string& path) {
  const auto resolved = sftp::VirtualPath::resolve("/", path);
  return resolved && resolved->text() == path;
}

sftp::Recorded recorded(sftp::Status status, std::string sentence = "") {
  return {status, std::move(sentence)};
}

std::string_view folder_of(std::string_view path) {
  return path.substr(0, path.rfind('/'));
}

constexpr const char* try_again = "The file could not be recorded; please try again.";

}  // namespace

void BrokerServer::Impl::audit(const BrokerConnection& connection, std::string event,
                               std::string path, std::uint64_t bytes, std::uint64_t duration_ms,
                               std::string detail) {
  store::SessionEvent row;
  row.at = parts_.clock.now();
  row.partner = connection.peer.partner;
  row.event = std::move(event);
  row.path = std::move(path);
  row.address = connection.peer.address;
  row.banner = connection.peer.banner;
  row.fingerprint = connection.peer.fingerprint;
  row.bytes = static_cast<std::uint64_t>(counted(bytes));
  row.duration_ms = counted(duration_ms);
  row.detail = std::move(detail);
  audit_->add(std::move(row));
}

void BrokerServer::Impl::on_done(const ConnectionPtr& connection, const sftp::UploadDone& done) {
  const std::string& partner = connection->peer.partner;
  if (!sftp::is_id(done.file_id) || !sftp::is_incoming_file(done.path)) {
    return out_of_order(connection, "an upload under a name that no file can have");
  }
  Uploaded upload;
  upload.id = done.file_id;
  upload.path = done.path;
  upload.size = static_cast<std::uint64_t>(counted(done.size));
  upload.sha256 = done.sha256;
  upload.line = done.line;
  upload.in_spool = done.in_spool;
  if (done.in_spool) {
    const auto memory = parts_.config.get()->gateway.taken_memory;
    taken_.remember(partner, done.path,
                    {done.size, done.modified, std::chrono::steady_clock::now() + memory});
  }
  try {
    parts_.journal.uploaded(connection->peer, connection->session_id, upload);
  } catch (const base::Error& error) {
    base::log_error("sftp.upload_failed", {{"partner", partner}},
                    "The upload of {} by {} was reported as done, and is not taken up now: {}",
                    done.path, partner, error.what());
    return out_of_order(connection, "what no session says of an upload");
  }
  if (!done.in_spool) return;
  base::log_info("sftp.upload",
                 {{"partner", partner},
                  {"file", done.file_id},
                  {"path", done.path},
                  {"address", connection->peer.address},
                  {"fingerprint", connection->peer.fingerprint},
                  {"banner", connection->peer.banner},
                  {"bytes", upload.size},
                  {"duration_ms", done.duration_ms}},
                 "{} uploaded {} ({} bytes) as file {}", partner, done.path, upload.size,
                 done.file_id);
  audit(*connection, "upload", done.path, upload.size, done.duration_ms, done.file_id);
}

void BrokerServer::Impl::on_event(const ConnectionPtr& connection, std::uint32_t id,
                                  const sftp::FileEvent& event) {
  if (!is_good_path(event.path) || (!event.target.empty() && !is_good_path(event.target)) ||
      base::has_control(event.detail)) {
    base::log_warning("broker.order", {{"partner", connection->peer.partner}},
                      "A session of {} reported on something that is no path",
                      connection->peer.partner);
    answer(connection, id, recorded(sftp::Status::refused));
    return;
  }
  const SessionPeer& peer = connection->peer;
  std::string what;
  std::string detail = event.detail.substr(0, 500);
  try {
    switch (event.kind) {
      case sftp::FileEventKind::upload:
        what = "upload";
        break;
      case sftp::FileEventKind::download:
        what = "download";
        // Of /Outgoing: then its session waits for the answer.
        if (id != 0) parts_.journal.downloaded(peer, event.path, event.bytes, event.complete);
        if (!event.complete) detail = "partial " + detail;
        break;
      case sftp::FileEventKind::remove:
        what = "delete";
        if (id != 0) parts_.journal.deleted(peer, event.path);
        break;
      case sftp::FileEventKind::rename:
        what = "rename";
        detail = event.target;
        if (folder_of(event.path) != folder_of(event.target)) usage_.moved(peer.partner);
        break;
      case sftp::FileEventKind::make_directory:
        what = "mkdir";
        break;
      case sftp::FileEventKind::remove_directory:
        what = "rmdir";
        break;
      case sftp::FileEventKind::partial:
      case sftp::FileEventKind::waiting:
        what = event.kind == sftp::FileEventKind::partial ? "partial" : "waiting";
        parts_.journal.left_waiting(peer, event.path, event.kind == sftp::FileEventKind::partial);
        break;
      case sftp::FileEventKind::refused:
        what = "refused";
        break;
    }
  } catch (const base::Error& error) {
    base::log_error("sftp.event_failed", {{"partner", peer.partner}},
                    "What {} did to {} could not be recorded: {}", peer.partner,
                    for_log(event.path), error.what());
    answer(connection, id, recorded(sftp::Status::failed, try_again));
    return;
  }
  base::log_info("sftp." + what,
                 {{"partner", peer.partner},
                  {"path", event.path},
                  {"address", peer.address},
                  {"fingerprint", peer.fingerprint},
                  {"banner", peer.banner},
                  {"bytes", event.bytes},
                  {"duration_ms", event.duration_ms},
                  {"detail", detail}},
                 "{}: {} {}", peer.partner, what, event.path);
  audit(*connection, what, event.path, event.bytes, event.duration_ms, detail);
  answer(connection, id, recorded(sftp::Status::ok));
}

void BrokerServer::Impl::on_taken(const ConnectionPtr& connection, std::uint32_t id,
                                  const sftp::TakenQuery& query) {
  sftp::TakenAnswer reply;
  if (query.used_up && sftp::is_incoming_file(query.path)) {
    const auto memory = parts_.config.get()->gateway.taken_memory;
    taken_.remember(connection->peer.partner, query.path,
                    {query.size, query.set_modified, std::chrono::steady_clock::now() + memory});
  }
  if (const auto taken = taken_.find(connection->peer.partner, query.path, query.set_modified,
                                     std::chrono::steady_clock::now())) {
    reply.taken = true;
    reply.size = taken->size;
    reply.modified = taken->modified;
  }
  answer(connection, id, reply);
}

void BrokerServer::Impl::on_usage(const ConnectionPtr& connection, std::uint32_t id,
                                  const sftp::UsageReport& report) {
  const std::string& partner = connection->peer.partner;
  // No session adds, frees or wants more than this; sums of more would overflow.
  constexpr std::int64_t most = std::int64_t{1} << 50;
  const auto claimed = [](std::uint64_t bytes, std::uint64_t files) {
    constexpr auto limit = static_cast<std::uint64_t>(most);
    return Usage{std::min(bytes, limit), std::min(files, limit)};
  };
  hears_of_held(connection, report);
  if (report.freed_bytes != 0 || report.freed_files != 0)
    ask_what_is_held(partner, connection.get(), claimed(report.freed_bytes, report.freed_files));
  sftp::UsageAnswer reply;
  try {
    const QuotaLeft left =
        usage_.left(partner, connection->policy,
                    {std::clamp(report.bytes, -most, most), std::clamp(report.files, -most, most),
                     claimed(report.wanted_bytes, report.wanted_files)});
    reply.bytes_left = left.bytes;
    reply.files_left = left.files;
    reply.granted = left.granted;
    reply.settles = left.settles;
  } catch (const base::Error& error) {
    base::log_error("sftp.quota", {{"partner", partner}}, "The quota of {} cannot be measured: {}",
                    partner, error.what());
    reply = {0, 0, false, false};
  }
  answer(connection, id, reply);
}

// Sessions tell what they have written and freed before the walk meets it, and what they hold,
// which it does not; and what they moved under it, after.
Usage BrokerServer::Impl::measure(const std::string& partner) {
  constexpr std::chrono::milliseconds to_tell{20};
  constexpr std::chrono::milliseconds to_be_heard{70};  // events rest for 50 ms
  ask_what_is_held(partner, nullptr, {});
  std::this_thread::sleep_for(to_tell);
  const Usage usage = measure_usage(*parts_.config.get(), partner);
  std::this_thread::sleep_for(to_be_heard);
  return usage;
}

void BrokerServer::Impl::hears_of_held(const ConnectionPtr& connection,
                                       const sftp::UsageReport& report) {
  UsageTable::Held held;
  for (const sftp::HeldFile& file : report.held)
    held[{file.device, file.inode}] = std::min(file.bytes, std::uint64_t{1} << 50);
  const std::string& partner = connection->peer.partner;
  const std::lock_guard lock(mutex_);
  // It has ended meanwhile, and with it what it held.
  if (connection->gone || !has_quota(*connection)) return;
  usage_.holds(partner, connection->session_id, std::move(held));
  if (report.answers != connection->usage_asked) return;
  connection->usage_answered = report.answers;
  usage_.heard(partner, connection->session_id, report.answers);
  if (std::exchange(connection->usage_again, false)) static_cast<void>(ask_of_usage(*connection));
}

// A session keeps the policies that it was let in with: one without a quota counts nothing.
bool BrokerServer::Impl::has_quota(const BrokerConnection& connection) {
  return connection.policy.quota_bytes != no_limit || connection.policy.quota_files != no_limit;
}

std::uint32_t BrokerServer::Impl::ask_of_usage(BrokerConnection& connection) {
  // One at a time: they would fill the socket of a session that is at work for long.
  if (connection.usage_asked != connection.usage_answered) {
    connection.usage_again = true;
    return connection.usage_asked + 1;
  }
  const sftp::UsageQuery query{++connection.usage_asked};
  if (!sftp::send_message(connection.fd.get(), 0, query))
    ::shutdown(connection.fd.get(), SHUT_RDWR);  // the loop sees the end of it
  return query.number;
}

// `freed` counts until all that are asked have answered or gone.
void BrokerServer::Impl::ask_what_is_held(const std::string& partner,
                                          const BrokerConnection* freed_by, const Usage& freed) {
  const std::lock_guard lock(mutex_);
  UsageTable::Queries asked;
  for (const auto& [fd, other] : connections_) {
    if (other.get() == freed_by || !other->logged_in || other->peer.partner != partner ||
        !has_quota(*other))
      continue;
    asked[other->session_id] = ask_of_usage(*other);
  }
  usage_.freed(partner, freed, std::move(asked));
}

void BrokerServer::Impl::on_end(const ConnectionPtr& connection, const sftp::SessionEnd& end) {
  const SessionPeer& peer = connection->peer;
  base::log_info("sftp.logout",
                 {{"partner", peer.partner},
                  {"address", peer.address},
                  {"fingerprint", peer.fingerprint},
                  {"banner", peer.banner},
                  {"received", end.bytes_received},
                  {"sent", end.bytes_sent},
                  {"duration_ms", end.duration_ms}},
                 "{} left: {}", peer.partner, for_log(end.reason));
  audit(*connection, "logout", "", end.bytes_received + end.bytes_sent, end.duration_ms,
        for_log(end.reason));
}

void BrokerServer::Impl::recover(const std::string& partner, const std::string& session_id,
                                 const SessionPeer& peer) {
  try {
    const base::UniqueFd directory = open_partner_directory(*parts_.config.get(), partner);
    for (const sftp::LeftUpload& left : sftp::recover_staging(directory.get(), session_id)) {
      if (left.path.empty()) continue;
      base::log_info("sftp.partial", {{"partner", partner}, {"path", left.path}},
                     "{} left {} unfinished ({} bytes)", partner, left.path, left.bytes);
      parts_.journal.left_waiting(peer, left.path, true);
    }
  } catch (const base::Error& error) {
    base::log_error("sftp.recover", {{"partner", partner}},
                    "What a session of {} left behind cannot be brought back: {}", partner,
                    error.what());
  }
}

std::map<std::string, std::set<std::string>> BrokerServer::Impl::left_sessions() {
  std::map<std::string, std::set<std::string>> left;
  try {
    const auto config = parts_.config.get();
    const auto partners =
        parts_.store.read([](store::Unit& unit) { return store::list_partners(unit); });
    for (const store::Partner& partner : partners) {
      const std::string path = config->gateway.partners_root + "/" + partner.name + "/staging";
      const Listing listing(::opendir(path.c_str()));
      if (!listing) continue;
      while (const dirent* entry = ::readdir(listing.get())) {
        const std::string_view name = entry->d_name;
        const std::string_view id = name.substr(0, name.find('.'));
        // On a file system that nodes share, other nodes' sessions are at theirs.
        const bool ours = !config->store.shared || is_session_of(id, node_name(*config));
        if (sftp::is_id(id) && ours) left[partner.name].emplace(id);
      }
    }
  } catch (const base::Error& error) {
    base::log_error("sftp.recover", {}, "What sessions left behind cannot be looked for: {}",
                    error.what());
  }
  return left;
}

// Sessions of before leave within seconds when their daemon is gone; only then is what they wrote
// complete.
void BrokerServer::Impl::recover_left(std::map<std::string, std::set<std::string>> left) {
  {
    std::unique_lock lock(mutex_);
    if (left.empty()) return;
    changed_.wait_for(lock, sessions_leave_within, [this] { return stopping_; });
    if (stopping_) return;
  }
  for (const auto& partner : left) {
    SessionPeer peer;
    peer.partner = partner.first;
    for (const std::string& session : partner.second) recover(partner.first, session, peer);
  }
}

}  // namespace sallyport::daemon

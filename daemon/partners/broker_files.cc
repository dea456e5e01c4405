// What sessions report about files. Names and paths are claims of the front: checked here for form,
// and never used as paths.
#include <dirent.h>
#include <fcntl.h>

#include <algorithm>
#include <limits>

#include "base/bytes.h"
#include "base/log.h"
#include "daemon/http/json.h"
#include "daemon/partners/broker_impl.h"
#include "sftp/areas.h"
#include "sftp/recovery.h"

namespace sallyport::daemon {
namespace {

constexpr std::size_t longest_path = 4096;
constexpr std::size_t longest_name = 255;
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

bool is_good_name(std::string_view name) {
  return !name.empty() && name.size() <= longest_name && name != "." && name != ".." &&
         base::is_utf8(name) && !base::has_control(name) && name.find('/') == name.npos;
}

// "/Incoming/Invoices/2026/a.pdf" with object "Invoices": "2026/a.pdf". Empty if it is not so.
std::string name_below_object(const sftp::UploadIntent& intent) {
  std::string prefix = "/Incoming/";
  if (!intent.object.empty()) prefix += intent.object + "/";
  if (!intent.object.empty() && !is_good_name(intent.object)) return "";
  if (intent.path.size() > longest_path || intent.path.rfind(prefix, 0) != 0) return "";
  std::string below = intent.path.substr(prefix.size());
  std::string_view rest = below;
  std::string_view last;
  while (!rest.empty()) {
    const std::size_t slash = rest.find('/');
    last = rest.substr(0, slash);
    if (!is_good_name(last)) return "";
    rest = slash == rest.npos ? std::string_view{} : rest.substr(slash + 1);
  }
  if (last != intent.name || (intent.object.empty() && below.find('/') != below.npos)) return "";
  return below;
}

sftp::Recorded recorded(sftp::Status status, std::string sentence = "") {
  return {status, std::move(sentence)};
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

// Policies hang on the object, so it has to be one of the partner's. It may have been added since
// the login.
bool BrokerServer::Impl::has_object(const BrokerConnection& connection, const std::string& object) {
  const auto holds = [&object](const PartnerPolicy& policy) {
    return std::find(policy.objects.begin(), policy.objects.end(), object) != policy.objects.end();
  };
  if (object.empty() || holds(connection.policy)) return true;
  const auto partner = parts_.store.read(
      [&](store::Unit& unit) { return store::find_partner(unit, connection.peer.partner); });
  return partner && holds(policy_for(*parts_.config.get(), *partner));
}

void BrokerServer::Impl::on_intent(const ConnectionPtr& connection, std::uint32_t id,
                                   sftp::UploadIntent intent) {
  sftp::UploadTicket ticket;
  const std::string name = name_below_object(intent);
  if (name.empty()) {
    ticket.status = sftp::Status::refused;
    ticket.sentence = "This is no name for a file in /Incoming.";
    answer(connection, id, ticket);
    return;
  }
  try {
    if (!has_object(*connection, intent.object)) {
      ticket.status = sftp::Status::refused;
      ticket.sentence = "No files of this kind are taken any more.";
      answer(connection, id, ticket);
      return;
    }
    {
      const std::lock_guard lock(mutex_);
      const std::size_t replaced = connection->uploads.count(intent.replaces);
      // An honest session has no more of them than open files.
      if ((replaced != 0) == intent.replaces.empty() ||
          connection->uploads.size() - replaced > connection->policy.handles) {
        ticket.status = sftp::Status::refused;
        answer(connection, id, ticket);
        return;
      }
    }
    const UploadIntent described{intent.object, name,          intent.path,
                                 intent.size,   intent.sha256, intent.replaces};
    ticket.file_id = parts_.journal.begin_upload(connection->peer, described);
    ticket.status = sftp::Status::ok;
    const std::lock_guard lock(mutex_);
    connection->uploads.erase(intent.replaces);
    connection->uploads[ticket.file_id] = {std::move(intent.path), intent.size};
  } catch (const base::Error& error) {
    base::log_error("sftp.upload_failed", {{"partner", connection->peer.partner}},
                    "The upload of {} by {} cannot be recorded: {}", for_log(intent.path),
                    connection->peer.partner, error.what());
    ticket.status = sftp::Status::failed;
    ticket.sentence = try_again;
  }
  answer(connection, id, ticket);
}

void BrokerServer::Impl::on_done(BrokerConnection& connection, const sftp::UploadDone& done) {
  BrokerConnection::Upload upload;
  {
    const std::lock_guard lock(mutex_);
    auto node = connection.uploads.extract(done.file_id);
    if (node) upload = std::move(node.mapped());
  }
  if (upload.path.empty()) {
    base::log_warning("broker.order", {{"partner", connection.peer.partner}},
                      "A session of {} reported an upload as done that it had not announced",
                      connection.peer.partner);
    return;
  }
  const auto memory = parts_.config.get()->gateway.taken_memory;
  taken_.remember(connection.peer.partner, upload.path,
                  {upload.size, done.modified, std::chrono::steady_clock::now() + memory});
  const std::string& path = upload.path;
  try {
    parts_.journal.finish_upload(done.file_id);
  } catch (const base::Error& error) {
    base::log_error("sftp.upload_failed", {{"partner", connection.peer.partner}},
                    "The upload of {} by {} was reported as done, and is not taken up: {}",
                    for_log(path), connection.peer.partner, error.what());
    return;
  }
  base::log_info("sftp.upload",
                 {{"partner", connection.peer.partner},
                  {"file", done.file_id},
                  {"path", path},
                  {"address", connection.peer.address},
                  {"fingerprint", connection.peer.fingerprint},
                  {"banner", connection.peer.banner},
                  {"bytes", upload.size},
                  {"duration_ms", done.duration_ms}},
                 "{} uploaded {} ({} bytes) as file {}", connection.peer.partner, path, upload.size,
                 done.file_id);
  audit(connection, "upload", std::move(upload.path), upload.size, done.duration_ms, done.file_id);
}

void BrokerServer::Impl::on_closed(BrokerConnection& connection) {
  std::vector<std::string> left;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, upload] : connection.uploads) left.push_back(id);
    connection.uploads.clear();
  }
  if (!left.empty()) parts_.journal.session_ended(left);
}

void BrokerServer::Impl::on_aborted(const ConnectionPtr& connection,
                                    const sftp::UploadAborted& aborted) {
  {
    const std::lock_guard lock(mutex_);
    if (connection->uploads.erase(aborted.file_id) == 0) return;
  }
  try {
    parts_.journal.abort_upload(aborted.file_id);
  } catch (const base::Error& error) {
    base::log_warning("sftp.abort", {{"file", aborted.file_id}},
                      "That upload {} was given up could not be recorded: {}", aborted.file_id,
                      error.what());
  }
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
  sftp::UsageAnswer reply;
  try {
    // No session adds or frees more than this; sums of more would overflow.
    constexpr std::int64_t most = std::int64_t{1} << 53;
    const QuotaLeft left =
        usage_.left(connection->peer.partner, connection->policy,
                    std::clamp(report.bytes, -most, most), std::clamp(report.files, -most, most));
    reply.bytes_left = left.bytes;
    reply.files_left = left.files;
  } catch (const base::Error& error) {
    base::log_error("sftp.quota", {{"partner", connection->peer.partner}},
                    "The quota of {} cannot be measured: {}", connection->peer.partner,
                    error.what());
    reply.bytes_left = 0;
    reply.files_left = 0;
  }
  answer(connection, id, reply);
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
  constexpr std::size_t id_length = 26;
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
        if (name.size() > id_length && name[id_length] == '.') {
          left[partner.name].emplace(name.substr(0, id_length));
        }
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

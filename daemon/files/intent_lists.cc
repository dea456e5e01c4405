#include "daemon/files/intent_lists.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <iterator>
#include <limits>
#include <utility>

#include "base/bytes.h"
#include "base/error.h"
#include "daemon/files/names.h"
#include "daemon/http/json.h"
#include "sftp/areas.h"

namespace sallyport::daemon {
namespace {

/// An honest part, every name of its greatest length, is shorter.
constexpr std::size_t longest_part = 8UL << 20;
constexpr std::size_t longest_heading = 4096;
/// Twice as many as a partner's connections can be.
constexpr std::size_t most_sessions = 20000;

std::string read_up_to(int fd, std::size_t most, const std::string& path) {
  std::string text;
  std::array<char, 16384> buffer;
  while (text.size() < most) {
    const ssize_t count = ::read(fd, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw base::SystemError(errno, "read " + path);
    if (count == 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(count));
  }
  return text;
}

}  // namespace

Lists find_lists(const Directory& staging) {
  Lists lists;
  for (const std::string& name : staging.list()) {
    auto parsed = sftp::parse_intents_name(name);
    if (!parsed) continue;
    const auto status = staging.look(name);
    if (!status || !S_ISREG(status->st_mode)) continue;
    auto session = lists.sessions.find(parsed->session_id);
    if (session == lists.sessions.end()) {
      if (lists.sessions.size() == most_sessions) {
        lists.are_more = true;
        continue;
      }
      session = lists.sessions.try_emplace(std::move(parsed->session_id)).first;
    }
    std::set<std::uint64_t>& parts = session->second;
    parts.insert(parsed->part);
    if (parts.size() > sftp::most_open_parts) {
      parts.erase(std::prev(parts.end()));
      lists.are_more = true;
    }
  }
  return lists;
}

std::optional<sftp::IntentsPart> read_intents(const Directory& staging,
                                              const std::string& session_id, std::uint64_t part) {
  const std::string name = sftp::intents_name(session_id, part);
  const auto status = staging.look(name);
  if (!status || !S_ISREG(status->st_mode)) return std::nullopt;
  const auto file = staging.open_file(name);
  if (!file) return std::nullopt;
  return sftp::parse_intents(read_up_to(file->get(), longest_part, join(staging.path(), name)));
}

std::set<std::string> listed_ids(const Directory& staging) {
  std::set<std::string> ids;
  for (const auto& [session_id, parts] : find_lists(staging).sessions) {
    for (const std::uint64_t number : parts) {
      const auto part = read_intents(staging, session_id, number);
      if (!part) continue;
      for (const sftp::Intent& intent : part->intents) ids.insert(intent.file_id);
    }
  }
  return ids;
}

IncomingName split_incoming(const std::string& path) {
  constexpr std::string_view area = "/Incoming/";
  const auto resolved = sftp::VirtualPath::resolve("/", path);
  IncomingName split;
  if (!resolved) return split;
  split.object = resolved->object();
  split.name = path.substr(area.size() + (split.object.empty() ? 0 : split.object.size() + 1));
  return split;
}

store::UploadIntent intent_of(const sftp::Intent& intent, const std::string& partner,
                              std::string uploader, base::Instant created) {
  IncomingName split = split_incoming(intent.path);
  store::UploadIntent result;
  result.id = intent.file_id;
  result.partner = partner;
  result.object = std::move(split.object);
  result.name = std::move(split.name);
  result.uploader = std::move(uploader);
  result.created = created;
  // The store's numbers have a sign.
  constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max();
  result.size = std::min(intent.size, most);
  result.sha256 = base::to_hex(intent.sha256);
  return result;
}

std::string claimed_uploader(const sftp::IntentsPart& part) {
  Json facts = Json::object({{"claimed", true}});
  try {
    if (part.heading.size() > longest_heading) return facts.dump();
    const Json said = parse_json(part.heading);
    for (const char* name : {"address", "banner", "method", "fingerprint"}) {
      if (const std::string* text = said[name].if_string()) facts.set(name, *text);
    }
  } catch (const base::Error&) {
    // It was cut short, or is none of ours.
  }
  return facts.dump();
}

}  // namespace sallyport::daemon

#include "daemon/files/intent_lists.h"

#include <unistd.h>

#include <array>
#include <cerrno>

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

std::optional<sftp::IntentsPart> read_intents(const Directory& staging, const std::string& name) {
  const auto file = staging.open_file(name);
  if (!file) return std::nullopt;
  return sftp::parse_intents(read_up_to(file->get(), longest_part, join(staging.path(), name)));
}

std::set<std::string> sessions_with_intents(const Directory& staging) {
  std::set<std::string> sessions;
  for (const std::string& name : staging.list()) {
    if (auto parsed = sftp::parse_intents_name(name)) {
      sessions.insert(std::move(parsed->session_id));
    }
  }
  return sessions;
}

std::set<std::uint64_t> parts_of(const Directory& staging, std::string_view session_id) {
  std::set<std::uint64_t> parts;
  for (const std::string& name : staging.list()) {
    const auto parsed = sftp::parse_intents_name(name);
    if (parsed && parsed->session_id == session_id) parts.insert(parsed->part);
  }
  return parts;
}

void remove_intents(const Directory& staging, std::string_view session_id, std::uint64_t first) {
  for (std::uint64_t part = first; staging.remove_file(sftp::intents_name(session_id, part));
       ++part) {
  }
}

std::set<std::string> listed_ids(const Directory& staging) {
  std::set<std::string> ids;
  for (const std::string& name : staging.list()) {
    if (!sftp::parse_intents_name(name)) continue;
    const auto part = read_intents(staging, name);
    if (!part) continue;
    for (const sftp::Intent& intent : part->intents) ids.insert(intent.file_id);
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
                              const std::string& uploader, base::Instant created) {
  IncomingName split = split_incoming(intent.path);
  store::UploadIntent result;
  result.id = intent.file_id;
  result.partner = partner;
  result.object = std::move(split.object);
  result.name = std::move(split.name);
  result.uploader = uploader;
  result.created = created;
  result.size = intent.size;
  result.sha256 = base::to_hex(intent.sha256);
  return result;
}

std::string uploader_of(const sftp::IntentsPart& part) {
  try {
    if (part.heading.size() <= longest_heading && parse_json(part.heading).if_object() != nullptr) {
      return part.heading;
    }
  } catch (const base::Error&) {
    // It was cut short, or is none of ours.
  }
  return "{}";
}

}  // namespace sallyport::daemon

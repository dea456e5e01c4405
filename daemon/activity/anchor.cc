#include "daemon/activity/anchor.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>

#include "base/bytes.h"
#include "base/file_io.h"
#include "daemon/http/json.h"
#include "daemon/http/uri.h"

namespace sallyport::daemon {
namespace {

constexpr std::string_view prefix = "activity-anchor-";
constexpr std::size_t largest_anchor = 16 * 1024;

[[noreturn]] void refuse(const std::string& path) {
  throw base::Error(path + " is no anchor of the activity log");
}

}  // namespace

std::string anchor_path(const std::string& directory, const std::string& node) {
  return directory + "/" + std::string(prefix) + percent_encode(node);
}

std::optional<store::ActivityCheckpoint> read_anchor(const std::string& directory,
                                                     const std::string& node) {
  const std::string path = anchor_path(directory, node);
  struct ::stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
    throw base::SystemError(errno, "look at " + path);
  }
  store::ActivityCheckpoint anchor;
  try {
    const Json json = parse_json(base::read_file(path, largest_anchor));
    const auto* name = json["node"].if_string();
    const auto* sequence = json["sequence"].if_int();
    const auto* hash = json["hash"].if_string();
    const auto* at = json["at"].if_int();
    const auto* authenticator = json["authenticator"].if_string();
    const auto bytes = hash == nullptr ? std::nullopt : base::from_hex(*hash);
    if (name == nullptr || *name != node || sequence == nullptr || at == nullptr ||
        authenticator == nullptr || !bytes || bytes->size() != anchor.hash.size()) {
      refuse(path);
    }
    anchor.node = node;
    anchor.sequence = *sequence;
    std::copy(bytes->begin(), bytes->end(), anchor.hash.begin());
    anchor.at = base::from_unix(*at);
    anchor.authenticator = *authenticator;
  } catch (const JsonError&) {
    refuse(path);
  }
  return anchor;
}

void write_anchor(const std::string& directory, const store::ActivityCheckpoint& checkpoint) {
  base::make_directories(directory);
  const Json json = Json::object({{"node", checkpoint.node},
                                  {"sequence", checkpoint.sequence},
                                  {"hash", base::to_hex(checkpoint.hash)},
                                  {"at", base::to_unix(checkpoint.at)},
                                  {"authenticator", checkpoint.authenticator}});
  base::write_file_durably(anchor_path(directory, checkpoint.node), json.dump() + "\n");
}

std::vector<std::string> anchored_nodes(const std::string& directory) {
  std::vector<std::string> nodes;
  std::error_code error;
  for (std::filesystem::directory_iterator it(directory, error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename();
    if (!name.starts_with(prefix)) continue;
    // Only what anchor_path() would name. The rest of a write that was cut short begins with a dot.
    const auto node = percent_decode(std::string_view(name).substr(prefix.size()), false);
    if (node && anchor_path(directory, *node) == it->path().string()) nodes.push_back(*node);
  }
  std::sort(nodes.begin(), nodes.end());
  return nodes;
}

}  // namespace sallyport::daemon

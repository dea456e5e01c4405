#include "sftp/recovery.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>
#include <sstream>

#include "base/error.h"
#include "sftp/areas.h"
#include "sftp/intents.h"
#include "sftp/tree.h"

namespace sallyport::sftp {
namespace {

constexpr std::string_view names_suffix = ".names";

// "<session id>.<n>" or "<session id>.names" -> the id; empty for anything else.
std::string_view session_of(std::string_view name) {
  return name.substr(0, name.find('.'));
}

// A session that was taken over could make its list as large as the disk; the daemon reads it.
constexpr std::size_t longest_list = 32UL << 20;

std::string read_list(int fd) {
  std::string text;
  char buffer[16384];
  for (ssize_t count = 0;
       text.size() < longest_list && (count = ::read(fd, buffer, sizeof(buffer))) > 0;) {
    text.append(buffer, static_cast<std::size_t>(count));
  }
  return text;
}

// The lines "n TAB path" of a session's list. The front wrote it, so it is a claim: paths are
// resolved like a peer's.
std::map<std::string, VirtualPath> names_of(int staging, const std::string& session) {
  std::map<std::string, VirtualPath> names;
  const base::UniqueFd file =
      open_beneath(staging, (session + std::string(names_suffix)).c_str(), O_RDONLY);
  if (!file) return names;
  std::istringstream lines(read_list(file.get()));
  for (std::string line; std::getline(lines, line);) {
    const std::size_t tab = line.find('\t');
    if (tab == std::string::npos) continue;
    const auto path = VirtualPath::resolve("/", std::string_view(line).substr(tab + 1));
    if (path && path->area() == Area::incoming && path->depth() >= 2) {
      names.insert_or_assign(session + "." + line.substr(0, tab), *path);
    }
  }
  return names;
}

// Puts staging/<name> under its own name, unless a complete file is there.
bool show(int staging, const std::string& name, int root, const VirtualPath& path) {
  const base::UniqueFd folder = open_beneath(root, path.parent().c_str(), O_PATH | O_DIRECTORY);
  if (!folder) return false;
  const std::string target(path.name());
  unsigned flags = RENAME_NOREPLACE;
  struct stat there {};
  if (::fstatat(folder.get(), target.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0 &&
      S_ISREG(there.st_mode) && is_partial(there.st_mode)) {
    flags = 0;
  }
  return ::renameat2(staging, name.c_str(), folder.get(), target.c_str(), flags) == 0;
}

}  // namespace

std::vector<LeftUpload> recover_staging(int partner_directory, std::string_view session_id) {
  base::UniqueFd staging = open_beneath(partner_directory, "staging", O_RDONLY | O_DIRECTORY);
  const base::UniqueFd root = open_beneath(partner_directory, "tree", O_PATH | O_DIRECTORY);
  if (!staging || !root) throw base::SystemError(errno, "open a partner's staging folder");

  std::map<std::string, std::vector<std::string>, std::less<>> sessions;
  base::UniqueFd listing = open_beneath(staging.get(), ".", O_RDONLY | O_DIRECTORY);
  DirectoryStream entries(std::move(listing));
  const bool read = entries.read([&](const DirectoryStream::Entry& entry) {
    const std::string_view id = session_of(entry.name);
    if (!id.empty() && S_ISREG(entry.status.st_mode) && (session_id.empty() || id == session_id)) {
      auto& files = sessions[std::string(id)];
      if (!entry.name.ends_with(names_suffix) && !parse_intents_name(entry.name)) {
        files.emplace_back(entry.name);
      }
    }
    return true;
  });
  if (!read) throw base::SystemError(errno, "read a partner's staging folder");

  std::vector<LeftUpload> left;
  for (const auto& [session, files] : sessions) {
    const auto names = names_of(staging.get(), session);
    bool all_shown = true;
    for (const std::string& file : files) {
      const base::UniqueFd fd = open_beneath(staging.get(), file.c_str(), O_RDONLY);
      struct stat status {};
      if (!fd || ::fstat(fd.get(), &status) != 0) continue;
      LeftUpload upload;
      upload.bytes = static_cast<std::uint64_t>(status.st_size);
      upload.modified = status.st_mtim.tv_sec;
      const auto name = names.find(file);
      bool shown = false;
      if (name != names.end()) {
        upload.path = name->second.text();
        // Its mode says already whether it is a partial: the daemon, which is not the file's owner,
        // could not change it.
        shown = show(staging.get(), file, root.get(), name->second);
      }
      if (!shown) {
        all_shown = false;
        upload.staging = file;
      }
      left.push_back(std::move(upload));
    }
    if (all_shown) ::unlinkat(staging.get(), (session + std::string(names_suffix)).c_str(), 0);
  }
  return left;
}

}  // namespace sallyport::sftp

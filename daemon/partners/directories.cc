#include "daemon/partners/directories.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file_io.h"
#include "base/log.h"
#include "daemon/partners/login.h"
#include "sftp/tree.h"

namespace sallyport::daemon {
namespace {

using Listing = base::CHandle<DIR, ::closedir>;

std::optional<gid_t> shared_group(const Config& config) {
  if (config.gateway.group.empty()) return std::nullopt;
  const group* found = ::getgrnam(config.gateway.group.c_str());
  if (found == nullptr) {
    throw base::Error(fmt::format("There is no group '{}': create it, or set gateway.group.",
                                  config.gateway.group));
  }
  return found->gr_gid;
}

base::UniqueFd open_below(int parent, const std::string& name, const std::string& path) {
  base::UniqueFd fd(
      ::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) throw base::SystemError(errno, "open the directory " + path);
  return fd;
}

base::UniqueFd make_below(int parent, const std::string& name, const std::string& path,
                          std::optional<gid_t> group) {
  const bool made = ::mkdirat(parent, name.c_str(), 0700) == 0;
  if (!made && errno != EEXIST) throw base::SystemError(errno, "make the directory " + path);
  base::UniqueFd fd = open_below(parent, name, path);
  if (!made) return fd;
  // A group of its own goes on to what is made below by the set-group-id bit; where the group is
  // our own that happens anyway, and a sandbox may forbid to set the bit.
  mode_t mode = 0770;
  if (group && *group != ::getegid()) {
    if (::fchown(fd.get(), static_cast<uid_t>(-1), *group) != 0) {
      throw base::SystemError(errno, "give " + path + " to the group of gateway.group");
    }
    mode |= S_ISGID;
  }
  if (::fchmod(fd.get(), mode) != 0) throw base::SystemError(errno, "set the mode of " + path);
  base::fsync_file(fd.get(), path);
  base::fsync_file(parent, path);
  return fd;
}

base::UniqueFd open_root(const Config& config) {
  base::UniqueFd root(
      ::open(config.gateway.partners_root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root) {
    throw base::SystemError(errno, "open gateway.partners_root " + config.gateway.partners_root);
  }
  return root;
}

// A quota nobody has.
constexpr std::uint64_t beyond_any_quota = std::uint64_t{1} << 62;

// Folders cost their file system about what files do: MKDIR takes one of the quota.
bool made_by_partner(std::string_view path) {
  if (path.starts_with("tree/Shared/")) return true;
  constexpr std::string_view incoming = "tree/Incoming/";
  return path.starts_with(incoming) && path.find('/', incoming.size()) != path.npos;
}

/// What lies in the folder; its folders go to `folders`. False if it cannot be looked into.
bool measure(int home, const std::string& folder, Usage& usage, std::vector<std::string>& folders) {
  // By its path and not down from folder to folder: a partner chooses how deep they lie.
  base::UniqueFd fd = sftp::open_beneath(home, folder.c_str(), O_RDONLY | O_DIRECTORY);
  if (!fd) return errno == ENOENT || errno == ENOTDIR;  // it has gone meanwhile
  const Listing listing(::fdopendir(fd.get()));
  if (!listing) return false;
  const int directory = fd.release();
  while (const dirent* entry = ::readdir(listing.get())) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    struct stat status {};
    if (::fstatat(directory, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno != ENOENT) return false;
    } else if (S_ISREG(status.st_mode)) {
      usage.bytes += static_cast<std::uint64_t>(status.st_size);
      ++usage.files;
    } else if (S_ISDIR(status.st_mode)) {
      std::string path = folder == "." ? std::string(name) : folder + "/" + std::string(name);
      // What we put there is ours to keep small.
      if (path == "tree/Outgoing") continue;
      if (made_by_partner(path)) ++usage.files;
      folders.push_back(std::move(path));
    }
  }
  return true;
}

}  // namespace

void make_partner_directories(const Config& config, std::string_view name,
                              const PartnerPolicy& policy) {
  if (!is_partner_name(name)) throw base::Error("This is no partner's name.");
  const auto group = shared_group(config);
  base::make_directories(config.gateway.partners_root, 0700);
  const base::UniqueFd root = open_root(config);
  const std::string path = config.gateway.partners_root + "/" + std::string(name);
  const base::UniqueFd home = make_below(root.get(), std::string(name), path, group);
  static_cast<void>(make_below(home.get(), "staging", path + "/staging", group));
  static_cast<void>(make_below(home.get(), "spool", path + "/spool", group));
  const base::UniqueFd tree = make_below(home.get(), "tree", path + "/tree", group);
  const auto folder = [&](std::initializer_list<std::string> parts, bool with_objects) {
    std::string at = path + "/tree";
    base::UniqueFd last(::fcntl(tree.get(), F_DUPFD_CLOEXEC, 0));
    for (const std::string& part : parts) {
      at += "/" + part;
      last = make_below(last.get(), part, at, group);
    }
    if (!with_objects) return;
    for (const std::string& object : policy.objects) {
      static_cast<void>(make_below(last.get(), object, at + "/" + object, group));
    }
  };
  folder({"Incoming"}, true);
  folder({"Outgoing"}, true);
  folder({"Archive", "Incoming"}, true);
  folder({"Archive", "Failed"}, true);
  if (policy.receipts) folder({"Outgoing", "Receipts"}, false);
  if (policy.shared) folder({"Shared"}, false);
}

base::UniqueFd open_partner_directory(const Config& config, std::string_view name) {
  const base::UniqueFd root = open_root(config);
  base::UniqueFd home(::openat(root.get(), std::string(name).c_str(),
                               O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!home) {
    throw base::SystemError(
        errno, fmt::format("open the directory {}/{}", config.gateway.partners_root, name));
  }
  return home;
}

Usage measure_usage(const Config& config, std::string_view name) {
  Usage usage;
  const base::UniqueFd root = open_root(config);
  const base::UniqueFd home = open_below(root.get(), std::string(name), std::string(name));
  std::vector<std::string> folders{"."};
  while (!folders.empty()) {
    const std::string folder = std::move(folders.back());
    folders.pop_back();
    if (measure(home.get(), folder, usage, folders)) continue;
    base::log_warning(
        "quota.unmeasured", {{"partner", name}, {"folder", folder}},
        "A folder of {} cannot be looked into ({}): its quota counts as used up until "
        "the folder is opened to its group, moved up or removed",
        name, std::strerror(errno));
    return {beyond_any_quota, beyond_any_quota};
  }
  return usage;
}

}  // namespace sallyport::daemon

#include "daemon/files/directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <utility>

#include "base/error.h"
#include "base/file_io.h"
#include "daemon/files/names.h"

namespace sallyport::daemon {
namespace {

using base::SystemError;
using base::UniqueFd;

UniqueFd open_beneath(int directory, const std::string& path, int flags, mode_t mode) {
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC);
  how.mode = mode;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  for (;;) {
    const long fd = ::syscall(SYS_openat2, directory, path.c_str(), &how, sizeof how);
    if (fd >= 0) return UniqueFd(static_cast<int>(fd));
    // EAGAIN: something below was renamed while the kernel looked.
    if (errno != EINTR && errno != EAGAIN) return UniqueFd();
  }
}

std::string checked(std::string_view name, const std::string& directory) {
  if (!is_component(name)) {
    throw base::Error("\"" + std::string(name) + "\" cannot be a name in " + directory);
  }
  return std::string(name);
}

struct ::stat look_at(int fd, const std::string& path) {
  struct ::stat status {};
  if (::fstat(fd, &status) != 0) throw SystemError(errno, "look at " + path);
  return status;
}

/// The group of the directory it is in, and the mode whatever the umask. A sandbox may forbid to
/// set the set-group-id bit; it is not needed where the group is right without it.
void share_directory(int made, int parent, mode_t mode, const std::string& path) {
  const struct ::stat above = look_at(parent, path);
  struct ::stat status = look_at(made, path);
  if ((mode & 0070) != 0 && status.st_gid != above.st_gid &&
      ::fchown(made, static_cast<uid_t>(-1), above.st_gid) == 0) {
    status = look_at(made, path);
  }
  if ((status.st_mode & 07777) == mode) return;
  if (::fchmod(made, mode) == 0) return;
  if (errno != EPERM || ::fchmod(made, mode & 0777) != 0) {
    throw SystemError(errno, "set the mode of " + path);
  }
}

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

}  // namespace

Directory Directory::open(const std::filesystem::path& path) {
  return Directory(base::open_file(path, O_RDONLY | O_DIRECTORY), path.string());
}

std::optional<Directory> Directory::find(std::string_view relative) const {
  const std::string where = relative.empty() ? "." : std::string(relative);
  UniqueFd fd = open_beneath(fd_.get(), where, O_RDONLY | O_DIRECTORY, 0);
  const std::string path = join(path_, relative);
  if (!fd) {
    if (errno == ENOENT) return std::nullopt;
    throw SystemError(errno, "open directory " + path);
  }
  return Directory(std::move(fd), path);
}

Directory Directory::make(std::string_view relative, mode_t mode) const {
  if (auto there = find(relative)) return std::move(*there);
  const auto parts = split_name(relative);
  if (!parts) throw base::Error("\"" + std::string(relative) + "\" cannot be below " + path_);
  auto current = find("");
  for (const std::string& part : *parts) {
    auto next = current->find(part);
    if (!next) {
      const std::string path = join(current->path_, part);
      const bool made = ::mkdirat(current->fd(), part.c_str(), mode & 0777) == 0;
      if (!made && errno != EEXIST) throw SystemError(errno, "make directory " + path);
      next = current->find(part);
      if (!next) throw SystemError(ENOENT, "open directory " + path);
      if (made) {
        share_directory(next->fd(), current->fd(), mode, path);
        current->sync();
      }
    }
    current = std::move(next);
  }
  return std::move(*current);
}

std::optional<struct ::stat> Directory::look(std::string_view name) const {
  struct ::stat result {};
  if (::fstatat(fd_.get(), checked(name, path_).c_str(), &result, AT_SYMLINK_NOFOLLOW) == 0) {
    return result;
  }
  if (errno == ENOENT) return std::nullopt;
  throw SystemError(errno, "look at " + join(path_, name));
}

std::optional<UniqueFd> Directory::open_file(std::string_view name) const {
  const std::string path = join(path_, name);
  // Non-blocking: a FIFO somebody put there must not hold us up before fstat tells.
  UniqueFd fd =
      open_beneath(fd_.get(), checked(name, path_), O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
  if (!fd) {
    if (errno == ENOENT) return std::nullopt;
    throw SystemError(errno, "open " + path);
  }
  struct ::stat status {};
  if (::fstat(fd.get(), &status) != 0) throw SystemError(errno, "look at " + path);
  if (!S_ISREG(status.st_mode)) throw base::Error(path + " is not a regular file");
  return fd;
}

UniqueFd Directory::make_file(std::string_view name, mode_t mode) const {
  constexpr int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW;
  const std::string file = checked(name, path_);
  UniqueFd fd = open_beneath(fd_.get(), file, flags, mode);
  if (!fd && errno == EEXIST) {
    remove_file(name);
    fd = open_beneath(fd_.get(), file, flags, mode);
  }
  if (!fd) throw SystemError(errno, "make " + join(path_, name));
  return fd;
}

bool Directory::link_file(std::string_view name, std::string_view second) const {
  const std::string file = checked(name, path_);
  const std::string other = checked(second, path_);
  const auto link = [&] {
    return ::linkat(fd_.get(), file.c_str(), fd_.get(), other.c_str(), 0) == 0;
  };
  if (link()) return true;
  if (errno == EEXIST) {
    remove_file(second);
    if (link()) return true;
  }
  if (errno == EPERM || errno == EOPNOTSUPP || errno == ENOSYS || errno == EMLINK) return false;
  throw SystemError(errno, "link " + join(path_, name) + " to " + other);
}

bool Directory::remove_file(std::string_view name) const {
  if (::unlinkat(fd_.get(), checked(name, path_).c_str(), 0) == 0) return true;
  if (errno == ENOENT) return false;
  throw SystemError(errno, "remove " + join(path_, name));
}

std::vector<std::string> Directory::list() const {
  // A descriptor of its own: reading moves the position.
  UniqueFd copy = open_beneath(fd_.get(), ".", O_RDONLY | O_DIRECTORY, 0);
  if (!copy) throw SystemError(errno, "read directory " + path_);
  const std::unique_ptr<DIR, CloseDirectory> directory(::fdopendir(copy.get()));
  if (!directory) throw SystemError(errno, "read directory " + path_);
  static_cast<void>(copy.release());
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(directory.get());
    if (entry == nullptr) break;
    const std::string_view name(entry->d_name);
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) throw SystemError(errno, "read directory " + path_);
  return names;
}

void Directory::sync() const {
  base::fsync_file(fd_.get(), path_);
}

Moved move_file(const Directory& from, std::string_view name, const Directory& to,
                std::string_view new_name) {
  const std::string source = checked(name, from.path());
  const std::string target = checked(new_name, to.path());
  if (::renameat2(from.fd(), source.c_str(), to.fd(), target.c_str(), RENAME_NOREPLACE) != 0) {
    if (errno == EEXIST) return Moved::name_taken;
    if (errno == ENOENT && !from.look(source)) return Moved::no_source;
    throw SystemError(errno,
                      "move " + join(from.path(), source) + " to " + join(to.path(), target));
  }
  to.sync();
  from.sync();
  return Moved::yes;
}

void share_file(int fd, const Directory& directory, mode_t mode, const std::string& what) {
  const struct ::stat above = look_at(directory.fd(), directory.path());
  const struct ::stat status = look_at(fd, what);
  if (status.st_gid != above.st_gid && ::fchown(fd, static_cast<uid_t>(-1), above.st_gid) != 0) {
    throw SystemError(errno, "give " + what + " to the group of " + directory.path());
  }
  if ((status.st_mode & 0777) != mode && ::fchmod(fd, mode) != 0) {
    throw SystemError(errno, "set the mode of " + what);
  }
}

void copy_content(int from, int to, const std::string& what) {
  struct ::stat status {};
  if (::fstat(from, &status) != 0) throw SystemError(errno, "look at " + what);
  if (::ioctl(to, FICLONE, from) == 0) return;
  off_t in = 0;
  off_t out = 0;
  bool in_kernel = true;
  std::string buffer;
  for (;;) {
    if (in_kernel) {
      const ssize_t done = ::copy_file_range(from, &in, to, &out, 1U << 30, 0);
      if (done > 0) continue;
      if (done == 0 && in >= status.st_size) return;
      if (done < 0 && errno == EINTR) continue;
      if (done < 0 && errno != EXDEV && errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP) {
        throw SystemError(errno, "copy " + what);
      }
      in_kernel = false;
      buffer.resize(256 * 1024);
    }
    const ssize_t got = ::pread(from, buffer.data(), buffer.size(), in);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw SystemError(errno, "read " + what);
    if (got == 0) return;
    in += got;
    for (std::size_t written = 0; written < static_cast<std::size_t>(got);) {
      const ssize_t put =
          ::pwrite(to, buffer.data() + written, static_cast<std::size_t>(got) - written, out);
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) throw SystemError(errno, "write a copy of " + what);
      written += static_cast<std::size_t>(put);
      out += put;
    }
  }
}

}  // namespace sallyport::daemon

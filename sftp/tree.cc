#include "sftp/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>

#include "base/error.h"

namespace sallyport::sftp {
namespace {

constexpr int open_flags = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
constexpr int path_flags = O_CLOEXEC | O_NOFOLLOW;

// What getdents64 writes.
struct RawEntry {
  std::uint64_t inode;
  std::int64_t offset;
  std::uint16_t length;
  std::uint8_t type;
  char name[1];
};

base::UniqueFd part_of(int partner, const char* name) {
  base::UniqueFd fd = open_beneath(partner, name, O_RDONLY | O_DIRECTORY);
  if (!fd) throw base::SystemError(errno, std::string("open the partner's folder ") + name);
  return fd;
}

}  // namespace

base::UniqueFd open_beneath(int directory, const char* path, int flags, mode_t mode) {
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags | ((flags & O_PATH) != 0 ? path_flags : open_flags));
  how.mode = mode;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  long fd = 0;
  // EAGAIN: somebody renamed a folder on the way while ".." was looked at; the kernel asks to
  // retry.
  for (int tries = 0; tries < 16; ++tries) {
    fd = ::syscall(SYS_openat2, directory, path, &how, sizeof(how));
    if (fd >= 0 || (errno != EAGAIN && errno != EINTR)) break;
  }
  return base::UniqueFd(static_cast<int>(fd));
}

Tree::Tree(base::UniqueFd partner_directory)
    : partner_(std::move(partner_directory)),
      root_(part_of(partner_.get(), "tree")),
      staging_(part_of(partner_.get(), "staging")),
      spool_(part_of(partner_.get(), "spool")) {}

int Tree::parent(const VirtualPath& path) {
  std::string wanted = path.parent();
  if (parent_ && path.area() != Area::shared && wanted == parent_path_) return parent_.get();
  parent_ = open_beneath(root_.get(), wanted.c_str(), O_PATH | O_DIRECTORY);
  parent_path_ = std::move(wanted);
  return parent_.get();
}

std::optional<struct stat> Tree::status(const VirtualPath& path) {
  struct stat result {};
  if (path.depth() == 0) {
    if (::fstat(root_.get(), &result) != 0) return std::nullopt;
    return result;
  }
  const int folder = parent(path);
  if (folder < 0) return std::nullopt;
  const std::string name(path.name());
  if (::fstatat(folder, name.c_str(), &result, AT_SYMLINK_NOFOLLOW) != 0) return std::nullopt;
  if (!S_ISREG(result.st_mode) && !S_ISDIR(result.st_mode)) {
    errno = ENOENT;
    return std::nullopt;
  }
  return result;
}

base::UniqueFd Tree::open_file(const VirtualPath& path, int flags, mode_t mode,
                               struct stat* status) {
  base::UniqueFd fd = open_beneath(root_.get(), path.relative(), flags, mode);
  if (!fd) return fd;
  struct stat found {};
  // What was made this moment is a file, and empty.
  if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL)) {
    if (status != nullptr) *status = found;
    return fd;
  }
  if (::fstat(fd.get(), &found) != 0) return base::UniqueFd();
  if (!S_ISREG(found.st_mode)) {
    fd.reset();
    errno = S_ISDIR(found.st_mode) ? EISDIR : EACCES;
  }
  if (status != nullptr) *status = found;
  return fd;
}

base::UniqueFd Tree::open_directory(const VirtualPath& path) {
  return open_beneath(root_.get(), path.relative(), O_RDONLY | O_DIRECTORY);
}

bool Tree::remove_file(const VirtualPath& path) {
  const int folder = parent(path);
  return folder >= 0 && ::unlinkat(folder, std::string(path.name()).c_str(), 0) == 0;
}

bool Tree::remove_directory(const VirtualPath& path) {
  const int folder = parent(path);
  return folder >= 0 && ::unlinkat(folder, std::string(path.name()).c_str(), AT_REMOVEDIR) == 0;
}

bool Tree::make_directory(const VirtualPath& path, mode_t mode) {
  const int folder = parent(path);
  return folder >= 0 && ::mkdirat(folder, std::string(path.name()).c_str(), mode) == 0;
}

bool Tree::rename(const VirtualPath& from, const VirtualPath& to, unsigned flags) {
  const base::UniqueFd source =
      open_beneath(root_.get(), from.parent().c_str(), O_PATH | O_DIRECTORY);
  if (!source) return false;
  const int target = parent(to);
  if (target < 0) return false;
  const bool done = ::renameat2(source.get(), std::string(from.name()).c_str(), target,
                                std::string(to.name()).c_str(), flags) == 0;
  const int error = errno;
  parent_.reset();  // it may have been what was moved
  errno = error;
  return done;
}

base::UniqueFd Tree::open_any(const VirtualPath& path) {
  const auto found = status(path);
  if (!found) return {};
  return S_ISDIR(found->st_mode) ? open_directory(path) : open_file(path, O_RDONLY, 0, nullptr);
}

bool Tree::sync_parent(const VirtualPath& path) {
  const base::UniqueFd folder =
      open_beneath(root_.get(), path.parent().c_str(), O_RDONLY | O_DIRECTORY);
  return folder && ::fsync(folder.get()) == 0;
}

DirectoryStream::DirectoryStream(base::UniqueFd directory)
    : directory_(std::move(directory)), buffer_(32 * 1024) {}

bool DirectoryStream::refill() {
  const long count = ::syscall(SYS_getdents64, directory_.get(), buffer_.data(), buffer_.size());
  if (count < 0) return false;
  at_ = 0;
  end_ = static_cast<std::size_t>(count);
  finished_ = count == 0;
  return true;
}

bool DirectoryStream::read(const std::function<bool(const Entry&)>& each) {
  while (!finished_) {
    if (at_ == end_ && !refill()) return false;
    while (at_ < end_) {
      const char* raw = buffer_.data() + at_;
      std::uint16_t length = 0;
      std::memcpy(&length, raw + offsetof(RawEntry, length), sizeof(length));
      const char* name = raw + offsetof(RawEntry, name);
      Entry entry{name, {}};
      // What has vanished meanwhile, and what is neither a file nor a folder, is not there.
      if (::fstatat(directory_.get(), name, &entry.status, AT_SYMLINK_NOFOLLOW) == 0 &&
          (S_ISREG(entry.status.st_mode) || S_ISDIR(entry.status.st_mode)) && !each(entry)) {
        return true;
      }
      at_ += length;
    }
  }
  return true;
}

}  // namespace sallyport::sftp

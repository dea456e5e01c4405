#include "sftp/staging.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>

#include "base/page_buffer.h"

namespace sallyport::sftp {
namespace {

// A hundredth of a second's work.
constexpr std::uint64_t look_every = 16 * 1024 * 1024;

}  // namespace

GrowingHash::~GrowingHash() {
  if (in_thread_) thread_->drop();
}

void GrowingHash::written(int fd, std::uint64_t offset, std::span<const std::uint8_t> data) {
  if (rewritten_ || offset > position_) return;
  if (offset < position_) return rewritten();
  position_ += data.size();
  if (in_thread_) return thread_->grown(position_);
  stream_.update(data);
  if (thread_ == nullptr || position_ < HashThread::least_bytes || !thread_->free()) return;
  thread_->take(std::move(stream_), fd, position_);
  in_thread_ = true;
}

void GrowingHash::truncated(std::uint64_t size) {
  if (size < position_) rewritten();
}

void GrowingHash::rewritten() {
  rewritten_ = true;
  if (in_thread_) thread_->drop();
  in_thread_ = false;
}

std::optional<base::Sha256> GrowingHash::finish(int fd, std::uint64_t size,
                                                const std::function<bool()>& stopped) {
  if (in_thread_) {
    in_thread_ = false;
    auto stream = thread_->finish(position_);
    if (!stream) return std::nullopt;
    stream_ = std::move(*stream);
  }
  if (rewritten_) {
    stream_ = base::Sha256Stream();
    position_ = 0;
  }
  if (position_ < size) {
    const base::PageBuffer buffer(256 * 1024);
    std::uint64_t next_look = position_ + look_every;
    while (position_ < size) {
      const ssize_t count =
          ::pread(fd, buffer.data(), buffer.size(), static_cast<off_t>(position_));
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) {
        if (count == 0) errno = EIO;
        return std::nullopt;
      }
      stream_.update(buffer.first(static_cast<std::size_t>(count)));
      position_ += static_cast<std::uint64_t>(count);
      if (position_ < next_look || !stopped) continue;
      next_look = position_ + look_every;
      if (!stopped()) continue;
      errno = ECANCELED;
      return std::nullopt;
    }
  }
  return stream_.finish();
}

Staging::~Staging() {
  if (names_ && !left_behind_) ::unlinkat(tree_.staging(), (session_id_ + ".names").c_str(), 0);
}

bool Staging::add_name(const VirtualPath& path, std::string& staging_name) {
  if (!names_) {
    names_ = open_beneath(tree_.staging(), (session_id_ + ".names").c_str(),
                          O_WRONLY | O_CREAT | O_APPEND, 0660);
    if (!names_) return false;
  }
  const std::string number = std::to_string(++count_);
  // One write: a line is there as a whole or not at all when the session is killed.
  const std::string line = number + "\t" + path.text() + "\n";
  if (::write(names_.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size()))
    return false;
  staging_name = session_id_ + "." + number;
  return true;
}

std::unique_ptr<Upload> Staging::create(const VirtualPath& path) {
  auto upload = std::make_unique<Upload>(hash_thread_);
  upload->path = path;
  if (!add_name(path, upload->staging_name)) return nullptr;
  upload->fd = open_beneath(tree_.staging(), upload->staging_name.c_str(),
                            O_RDWR | O_CREAT | O_EXCL, partial_mode);
  return upload->fd ? std::move(upload) : nullptr;
}

std::unique_ptr<Upload> Staging::resume(const VirtualPath& path, Use use) {
  auto upload = std::make_unique<Upload>(hash_thread_);
  upload->path = path;
  if (!add_name(path, upload->staging_name)) return nullptr;
  const int folder = tree_.parent(path);
  if (folder < 0 || ::renameat(folder, std::string(path.name()).c_str(), tree_.staging(),
                               upload->staging_name.c_str()) != 0) {
    return nullptr;
  }
  upload->fd = open_beneath(tree_.staging(), upload->staging_name.c_str(), O_RDWR);
  if (!upload->fd) return nullptr;
  // What it is now: another session may have replaced what the caller has seen.
  struct stat status {};
  if (::fstat(upload->fd.get(), &status) != 0) return nullptr;
  upload->size = static_cast<std::uint64_t>(status.st_size);
  upload->touched = !is_partial(status.st_mode);
  if (use == Use::write && ::fchmod(upload->fd.get(), partial_mode) != 0) return nullptr;
  (void)upload->written.add(0, upload->size);
  return upload;
}

Staging::Kept Staging::keep_partial(Upload& upload) {
  Kept kept = show_partial(upload);
  if (!kept.shown) left_behind_ = true;
  kept.done = kept.shown || errno == EEXIST;
  return kept;
}

Staging::Kept Staging::show_partial(const Upload& upload) {
  Kept kept;
  const int folder = tree_.parent(upload.path);
  if (folder < 0) return kept;
  const std::string name(upload.path.name());
  unsigned flags = RENAME_NOREPLACE;
  struct stat there {};
  // An older partial of the name gives way, a complete file does not: beside it the partial is kept
  // unseen.
  if (::fstatat(folder, name.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(there.st_mode) &&
      is_partial(there.st_mode)) {
    flags = 0;
  }
  kept.shown =
      ::renameat2(tree_.staging(), upload.staging_name.c_str(), folder, name.c_str(), flags) == 0;
  if (kept.shown && flags == 0) kept.replaced = static_cast<std::uint64_t>(there.st_size);
  return kept;
}

bool Staging::place_complete(Upload& upload, unsigned flags) {
  if (::fchmod(upload.fd.get(), complete_mode) != 0) return false;
  if (::fsync(upload.fd.get()) != 0) {
    const int error = errno;
    (void)::fchmod(upload.fd.get(), partial_mode);
    errno = error;
    return false;
  }
  const int folder = tree_.parent(upload.path);
  if (folder < 0) return false;
  const std::string name(upload.path.name());
  if (::renameat2(tree_.staging(), upload.staging_name.c_str(), folder, name.c_str(), flags) != 0)
    return false;
  return tree_.sync_parent(upload.path);
}

bool Staging::move_to_spool(Upload& upload, const std::string& file_id) {
  if (::fsync(upload.fd.get()) != 0) return false;
  if (::renameat2(tree_.staging(), upload.staging_name.c_str(), tree_.spool(), file_id.c_str(),
                  RENAME_NOREPLACE) != 0) {
    return false;
  }
  // The file's entry in staging/ may come back after a power cut beside the one in spool/ only if
  // the file system is not atomic about renames; what must not be lost is the new entry.
  // XFS that has shut itself down says 0 to an fsync of a directory whose last change it threw
  // away; fstat() tells (xfs_dir_fsync, xfs_vn_getattr).
  struct stat ignored {};
  return ::fsync(tree_.spool()) == 0 && ::fstat(upload.fd.get(), &ignored) == 0;
}

bool Staging::move_back(Upload& upload, const std::string& file_id) {
  return ::renameat2(tree_.spool(), file_id.c_str(), tree_.staging(), upload.staging_name.c_str(),
                     RENAME_NOREPLACE) == 0;
}

}  // namespace sallyport::sftp

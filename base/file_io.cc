#include "base/file_io.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>

#include "base/error.h"
#include "base/page_buffer.h"

namespace sallyport::base {

UniqueFd open_file(const std::filesystem::path& path, int flags, mode_t mode) {
  UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC, mode));
  if (!fd) throw SystemError(errno, "cannot open " + path.string());
  return fd;
}

void write_all(int fd, std::string_view data, const std::string& what) {
  while (!data.empty()) {
    const ssize_t written = ::write(fd, data.data(), data.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      throw SystemError(errno, "cannot write " + what);
    }
    data.remove_prefix(static_cast<std::size_t>(written));
  }
}

std::string read_file(const std::filesystem::path& path, std::size_t limit) {
  const UniqueFd fd = open_file(path, O_RDONLY);
  std::string content;
  std::array<char, 65536> buffer;
  for (;;) {
    const ssize_t count = ::read(fd.get(), buffer.data(), buffer.size());
    if (count < 0) {
      if (errno == EINTR) continue;
      throw SystemError(errno, "cannot read " + path.string());
    }
    if (count == 0) return content;
    if (content.size() + static_cast<std::size_t>(count) > limit)
      throw Error(path.string() + " is larger than " + std::to_string(limit) + " bytes");
    content.append(buffer.data(), static_cast<std::size_t>(count));
  }
}

void fsync_file(int fd, const std::string& what) {
  if (::fsync(fd) != 0) throw SystemError(errno, "cannot fsync " + what);
}

void fsync_directory(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory.empty() ? "." : directory;
  const UniqueFd fd = open_file(path, O_RDONLY | O_DIRECTORY);
  fsync_file(fd.get(), path.string());
}

void write_file_durably(const std::filesystem::path& path, std::string_view content, mode_t mode) {
  // Hidden: what a kill leaves behind must not pass for one of the directory's own files.
  const std::filesystem::path temporary =
      path.parent_path() / ("." + path.filename().string() + "." + random_id() + ".new");
  try {
    const UniqueFd fd = open_file(temporary, O_WRONLY | O_CREAT | O_EXCL, mode);
    write_all(fd.get(), content, temporary.string());
    fsync_file(fd.get(), temporary.string());
    if (::rename(temporary.c_str(), path.c_str()) != 0)
      throw SystemError(errno, "cannot rename " + temporary.string() + " to " + path.string());
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  fsync_directory(path.parent_path());
}

bool rename_durably(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) != 0) {
    if (errno == EEXIST) return false;
    throw SystemError(errno, "cannot rename " + from.string() + " to " + to.string());
  }
  fsync_directory(to.parent_path());
  if (from.parent_path() != to.parent_path()) fsync_directory(from.parent_path());
  return true;
}

void make_directories(const std::filesystem::path& path, mode_t mode) {
  if (path.has_parent_path() && path.parent_path() != path &&
      !std::filesystem::exists(path.parent_path()))
    make_directories(path.parent_path(), mode);
  if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST)
    throw SystemError(errno, "cannot make the directory " + path.string());
}

FileDigest digest_file(int fd, const std::string& what) {
  FileDigest result;
  Sha256Stream stream;
  const PageBuffer buffer(256 * 1024);
  for (;;) {
    const ssize_t count =
        ::pread(fd, buffer.data(), buffer.size(), static_cast<off_t>(result.size));
    if (count < 0) {
      if (errno == EINTR) continue;
      throw SystemError(errno, "cannot read " + what);
    }
    if (count == 0) break;
    stream.update(buffer.first(static_cast<std::size_t>(count)));
    result.size += static_cast<std::uint64_t>(count);
  }
  result.sha256 = stream.finish();
  return result;
}

}  // namespace sallyport::base

#include "daemon/files/originals.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/file_io.h"
#include "base/log.h"
#include "daemon/files/backup.h"
#include "daemon/files/names.h"
#include "daemon/http/router.h"

namespace sallyport::daemon {

namespace {

base::UniqueFd as_received(base::UniqueFd fd, const store::File& file) {
  struct ::stat status {};
  if (::fstat(fd.get(), &status) != 0) throw base::SystemError(errno, "look at an original");
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size == file.size || file.sha256.empty()) return fd;
  throw ProblemError(409, "FILE_CONTENT_CHANGED",
                     "What lies at " + file.published_as +
                         " is not the original any more: it has " + std::to_string(size) +
                         " bytes, the original had " + std::to_string(file.size) + ".");
}

}  // namespace

std::optional<base::UniqueFd> open_original(const FileContext& context, const store::File& file) {
  const Directory home = context.partner_directory(file.partner);
  const bool inbound = file.direction == store::Direction::inbound;
  if (const auto place = home.find(inbound ? "spool" : "sending")) {
    if (auto fd = place->open_file(inbound ? file.spool_name : file.id)) return fd;
  }
  if (!file.published_as.empty()) {
    const SplitPath at = split_last(file.published_as);
    if (const auto place = home.find("tree" + at.directory)) {
      if (auto fd = place->open_file(at.name)) return as_received(std::move(*fd), file);
    }
  }
  if (file.backup_at.empty()) return std::nullopt;
  const auto config = context.config.get();
  base::make_directories(config->files.state);
  base::UniqueFd copy = base::open_file(config->files.state, O_RDWR | O_TMPFILE, 0600);
  try {
    fetch_backup(context, file, copy.get());
  } catch (const base::Error& error) {
    base::log_error("backup.unreadable", {{"file", file.id}}, "{}", error.what());
    throw ProblemError(
        503, "BACKUP_UNREADABLE",
        std::string("The original is in the backup, which cannot be read: ") + error.what());
  }
  if (::lseek(copy.get(), 0, SEEK_SET) != 0) throw base::SystemError(errno, "rewind a copy");
  return copy;
}

}  // namespace sallyport::daemon

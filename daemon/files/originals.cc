#include "daemon/files/originals.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "base/file_io.h"
#include "daemon/files/backup.h"
#include "daemon/files/names.h"

namespace sallyport::daemon {

std::optional<base::UniqueFd> open_original(const FileContext& context, const store::File& file) {
  const Directory home = context.partner_directory(file.partner);
  const bool inbound = file.direction == store::Direction::inbound;
  if (const auto place = home.find(inbound ? "spool" : "sending")) {
    if (auto fd = place->open_file(inbound ? file.spool_name : file.id)) return fd;
  }
  if (!file.published_as.empty()) {
    const SplitPath at = split_last(file.published_as);
    if (const auto place = home.find("tree" + at.directory)) {
      if (auto fd = place->open_file(at.name)) return fd;
    }
  }
  if (file.backup_at.empty()) return std::nullopt;
  const auto config = context.config.get();
  base::make_directories(config->files.state);
  base::UniqueFd copy = base::open_file(config->files.state, O_RDWR | O_TMPFILE, 0600);
  fetch_backup(context, file, copy.get());
  if (::lseek(copy.get(), 0, SEEK_SET) != 0) throw base::SystemError(errno, "rewind a copy");
  return copy;
}

}  // namespace sallyport::daemon

#include "daemon/files/reason_note.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/error.h"
#include "base/file_io.h"
#include "daemon/files/context.h"
#include "daemon/files/names.h"

namespace sallyport::daemon {

std::string reason_note_name(std::string_view name) {
  return with_ending(name, ".reason.txt");
}

std::string reason_note_text(const store::File& file) {
  std::string text = fmt::format(
      "This file could not be processed:\n\n  {}\n\n"
      "Reason:    {}\n"
      "File:      {}\n"
      "Received:  {}\n"
      "Size:      {} bytes\n"
      "SHA-256:   {}\n"
      "Reference: {}\n",
      file.reason, file.reason_code, join(file.object, file.name), base::format_utc(file.received),
      file.size, file.sha256, file.id);
  return text;
}

void write_reason_note(const Directory& directory, const std::string& name,
                       const store::File& file) {
  const std::string path = join(directory.path(), name);
  const base::UniqueFd note = directory.make_file(name, shared_file_mode);
  share_file(note.get(), directory, shared_file_mode, path);
  base::write_all(note.get(), reason_note_text(file), path);
  base::fsync_file(note.get(), path);
  directory.sync();
}

}  // namespace sallyport::daemon

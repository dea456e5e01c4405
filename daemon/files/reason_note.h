// NAME.reason.txt, beside a file that could not be processed: what the partner reads about it.
#pragma once

#include <string>
#include <string_view>

#include "daemon/files/directory.h"
#include "store/files.h"

namespace sallyport::daemon {

[[nodiscard]] std::string reason_note_name(std::string_view name);
/// Pure.
[[nodiscard]] std::string reason_note_text(const store::File& file);
/// Durably; replaces a note of the same name. Throws base::SystemError.
void write_reason_note(const Directory& directory, const std::string& name,
                       const store::File& file);

}  // namespace sallyport::daemon

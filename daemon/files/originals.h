// The bytes of a file as they were received (or sent), wherever they lie now: spool, archive,
// /Outgoing or backup.
//
// Threads: any. Failures: base::SystemError, and ProblemError for who asked: a backup that cannot
// be read (503), a file that was changed by hand (409, where its size tells: SHA-256 is the
// reader's to compare). What is not there is a value.
#pragma once

#include <optional>

#include "base/c_handle.h"
#include "daemon/files/context.h"
#include "store/files.h"

namespace sallyport::daemon {

/// Open for reading at its start; nullopt if it is at none of its places. From a backup it comes
/// through a temporary file without a name.
[[nodiscard]] std::optional<base::UniqueFd> open_original(const FileContext& context,
                                                          const store::File& file);

}  // namespace sallyport::daemon

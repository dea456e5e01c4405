// Lists of intents (sftp/intents.h) as the daemon reads and removes them.
//
// Thread-safe as far as the file system is. Failures throw base::Error; what is not there is a
// value. What a list says was written by the front: it is a claim.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "base/instant.h"
#include "daemon/files/directory.h"
#include "sftp/intents.h"
#include "store/files.h"

namespace sallyport::daemon {

/// nullopt: there is none of that name.
[[nodiscard]] std::optional<sftp::IntentsPart> read_intents(const Directory& staging,
                                                            const std::string& name);
[[nodiscard]] std::set<std::string> sessions_with_intents(const Directory& staging);
[[nodiscard]] std::set<std::uint64_t> parts_of(const Directory& staging,
                                               std::string_view session_id);
/// Removes the parts from `first` to the first that is not there.
void remove_intents(const Directory& staging, std::string_view session_id, std::uint64_t first);
/// The ids in all lists of a partner.
[[nodiscard]] std::set<std::string> listed_ids(const Directory& staging);

/// "/Incoming/Invoices/2026/a.pdf": object "Invoices", name "2026/a.pdf".
struct IncomingName {
  std::string object;
  std::string name;
};
/// `path` is one that sftp::is_incoming_file() takes.
[[nodiscard]] IncomingName split_incoming(const std::string& path);

/// `created` is when it was found: nothing says when it was written.
[[nodiscard]] store::UploadIntent intent_of(const sftp::Intent& intent, const std::string& partner,
                                            const std::string& uploader, base::Instant created);
/// The heading of a list if it is facts of an uploader, else "{}".
[[nodiscard]] std::string uploader_of(const sftp::IntentsPart& part);

}  // namespace sallyport::daemon

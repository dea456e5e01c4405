// Lists of intents (sftp/intents.h) as the daemon reads and removes them.
//
// Thread-safe as far as the file system is. Failures throw base::Error; what is not there is a
// value. What a list says was written by the front: it is a claim.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "base/instant.h"
#include "daemon/files/directory.h"
#include "sftp/intents.h"
#include "store/files.h"

namespace sallyport::daemon {

/// Lists in a staging/, by session and part. What is more than an honest front leaves there is left
/// out for now, so that nobody is kept busy by it.
struct Lists {
  std::map<std::string, std::set<std::uint64_t>> sessions;
  bool are_more = false;
};
[[nodiscard]] Lists find_lists(const Directory& staging);
/// nullopt: there is no file of that name.
[[nodiscard]] std::optional<sftp::IntentsPart> read_intents(const Directory& staging,
                                                            const std::string& session_id,
                                                            std::uint64_t part);
/// The ids in the lists of a partner.
[[nodiscard]] std::set<std::string> listed_ids(const Directory& staging);

/// "/Incoming/Invoices/2026/a.pdf": object "Invoices", name "2026/a.pdf".
struct IncomingName {
  std::string object;
  std::string name;
};
/// `path` is one that sftp::is_incoming_file() takes.
[[nodiscard]] IncomingName split_incoming(const std::string& path);

/// `created` is an estimate: the list does not say when a line was written.
[[nodiscard]] store::UploadIntent intent_of(const sftp::Intent& intent, const std::string& partner,
                                            std::string uploader, base::Instant created);
/// What the heading of a list says of its uploader, marked as a claim.
[[nodiscard]] std::string claimed_uploader(const sftp::IntentsPart& part);

}  // namespace sallyport::daemon

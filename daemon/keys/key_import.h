// Taking over existing keys, as values or hashes of values (spec/api-keys.md 5 and 11).
//
// One call is all or nothing; a dry run checks everything, writes nothing and tells what the coming
// 60 days would bring. Nothing imported is disabled without its warnings: that is the rule for
// every key, imported or not.
#pragma once

#include <string>
#include <vector>

#include "daemon/keys/key_service.h"
#include "daemon/keys/look_ahead.h"

namespace sallyport::daemon {

struct ImportRequest {
  std::vector<Json> keys;      ///< members as of POST apikeys, plus value or sha256 and the dates
  std::int64_t first_row = 1;  ///< for messages
  bool dry_run = false;
};

struct ImportAnswer {
  std::vector<store::ApiKey> keys;
  std::vector<SimulatedEvent> next;  ///< of the coming 60 days
};

/// 400 or 409 that names the row.
[[nodiscard]] ImportAnswer import_keys(KeyService& service, const Caller& caller,
                                       const ImportRequest& request);

}  // namespace sallyport::daemon

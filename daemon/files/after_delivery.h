// What follows a file's delivery or failure without holding up anything: the hook (a program of the
// customer's), the webhook and the receipt. Each is a row of file_tasks that is written in the unit
// of its cause, done at least once, and retried with growing pauses for two days.
//
// The functions: any thread, inside a unit. FileTasks is the work that the scheduler drives
// ("file-tasks").
#pragma once

#include <string>
#include <vector>

#include "base/instant.h"
#include "daemon/config/config.h"
#include "store/files.h"
#include "store/store.h"

namespace sallyport::daemon {

/// A delivered file: hook, webhook and receipt, as far as they are configured. True if any is.
bool add_delivery_tasks(store::Unit& unit, const Config& config, const PartnerPolicy& policy,
                        const store::File& file, base::Instant now);
/// Those of a file that were given up are tried again, for two days as at first. Their kinds.
std::vector<std::string> retry_given_up_tasks(store::Unit& unit, const store::File& file,
                                              const std::string& actor, base::Instant now);
/// A failed file: its receipt.
void add_failure_tasks(store::Unit& unit, const PartnerPolicy& policy, const store::File& file,
                       base::Instant now);

}  // namespace sallyport::daemon

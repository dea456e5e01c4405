// What follows a file's delivery or failure without holding up anything: the hook (a program of the
// customer's), the webhook and the receipt. Each is a row of file_tasks that is written in the unit
// of its cause, done at least once, and retried with growing pauses for two days.
//
// add_*: any thread, inside a unit. FileTasks is the work that the scheduler drives ("file-tasks").
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/instant.h"
#include "daemon/config/config.h"
#include "store/files.h"
#include "store/store.h"

namespace sallyport::daemon {

/// A delivered file: hook, webhook and receipt, as far as they are configured. True if any is.
bool add_delivery_tasks(store::Unit& unit, const Config& config, const PartnerPolicy& policy,
                        const store::File& file, base::Instant now);
/// How the step of a file's history begins, after the kind, that says that a task was given up.
inline constexpr std::string_view given_up = " given up: ";
/// The kinds of those that were and that have not been tried again, by the file's history.
[[nodiscard]] std::vector<std::string> given_up_tasks(store::Unit& unit,
                                                      const std::string& file_id);
/// They are tried again, for two days as at first.
void add_tasks_again(store::Unit& unit, const store::File& file,
                     const std::vector<std::string>& kinds, const std::string& actor,
                     base::Instant now);
/// A failed file: its receipt.
void add_failure_tasks(store::Unit& unit, const PartnerPolicy& policy, const store::File& file,
                       base::Instant now);

}  // namespace sallyport::daemon

#include "daemon/files/after_delivery.h"

#include <string>
#include <vector>

namespace sallyport::daemon {
namespace {

void add(store::Unit& unit, const store::File& file, const char* kind, base::Instant now) {
  store::FileTask task;
  task.file_id = file.id;
  task.kind = kind;
  task.created = now;
  task.next_due = now;
  store::put_file_task(unit, task);
}

}  // namespace

bool add_delivery_tasks(store::Unit& unit, const Config& config, const PartnerPolicy& policy,
                        const store::File& file, base::Instant now) {
  const bool hook = !config.files.hook.empty() || !config.files.hook_socket.empty();
  const bool webhook = !config.files.webhook_url.empty();
  if (hook) add(unit, file, "hook", now);
  if (webhook) add(unit, file, "webhook", now);
  if (policy.receipts) add(unit, file, "receipt", now);
  return hook || webhook || policy.receipts;
}

std::vector<std::string> retry_given_up_tasks(store::Unit& unit, const store::File& file,
                                              const std::string& actor, base::Instant now) {
  std::vector<std::string> kinds;
  for (const store::GivenUpTask& task : store::given_up_tasks(unit, file.id)) {
    add(unit, file, task.kind.c_str(), now);
    store::delete_given_up_task(unit, file.id, task.kind);
    store::insert_file_step(unit,
                            {file.id, file.state, now, task.kind + " once more, by " + actor});
    kinds.push_back(task.kind);
  }
  return kinds;
}

void add_failure_tasks(store::Unit& unit, const PartnerPolicy& policy, const store::File& file,
                       base::Instant now) {
  if (policy.receipts) add(unit, file, "receipt", now);
}

}  // namespace sallyport::daemon

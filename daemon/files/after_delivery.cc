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

constexpr std::string_view again = " once more";

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

std::vector<std::string> given_up_tasks(store::Unit& unit, const std::string& file_id) {
  std::vector<std::string> kinds;
  for (const store::FileStep& step : store::file_steps(unit, file_id)) {
    for (const std::string kind : {"hook", "webhook", "receipt"}) {
      if (!step.detail.starts_with(kind)) continue;
      const std::string_view what = std::string_view(step.detail).substr(kind.size());
      if (what.starts_with(given_up)) kinds.push_back(kind);
      if (what.starts_with(again) || what == " done") std::erase(kinds, kind);
    }
  }
  return kinds;
}

void add_tasks_again(store::Unit& unit, const store::File& file,
                     const std::vector<std::string>& kinds, const std::string& actor,
                     base::Instant now) {
  for (const std::string& kind : kinds) {
    add(unit, file, kind.c_str(), now);
    store::insert_file_step(
        unit, {file.id, file.state, now, kind + std::string(again) + ", by " + actor});
  }
}

void add_failure_tasks(store::Unit& unit, const PartnerPolicy& policy, const store::File& file,
                       base::Instant now) {
  if (policy.receipts) add(unit, file, "receipt", now);
}

}  // namespace sallyport::daemon

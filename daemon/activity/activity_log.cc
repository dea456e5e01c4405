#include "daemon/activity/activity_log.h"

#include <unistd.h>

#include <array>

namespace sallyport::daemon {

std::string node_name(const Config& config) {
  if (!config.node.empty()) return config.node;
  std::array<char, 256> buffer{};
  if (::gethostname(buffer.data(), buffer.size() - 1) != 0) return "localhost";
  return buffer.data();
}

void ActivityLog::append(store::Unit& unit, const ActivityEntry& entry) const {
  store::Activity row;
  row.node = node_;
  row.id = base::random_id();
  row.at = clock_.now();
  row.actor = entry.actor;
  row.source = entry.source;
  row.operation = entry.operation;
  row.resource_type = entry.resource_type;
  row.resource_id = entry.resource_id;
  row.resource_name = entry.resource_name;
  row.result = entry.success ? "SUCCESS" : "FAILURE";
  if (!entry.changes.is_null()) row.changes = entry.changes.dump();
  store::append_activity(unit, row);
}

}  // namespace sallyport::daemon

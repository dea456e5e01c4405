// The activity log's pen: who did what to which resource, from where, with what result and change
// (spec/api-keys.md 10). A row is written in the unit of work of what it tells about, so there is
// never one without the other.
//
//   activity.append(unit, {.actor = caller.actor(), .source = caller.source,
//                          .operation = "DISABLE", .resource_type = "API_KEY",
//                          .resource_id = key.id, .resource_name = key.display_name});
//
// Thread-safe: it holds only constants. Failures are the store's. Never put a secret into a change.
#pragma once

#include <string>

#include "base/clock.h"
#include "daemon/config/config.h"
#include "daemon/http/json.h"
#include "store/activity.h"
#include "store/store.h"

namespace sallyport::daemon {

/// This machine among those that share a store: the configured name or the host's.
[[nodiscard]] std::string node_name(const Config& config);

struct ActivityEntry {
  std::string actor;   ///< Caller::actor(), a partner's name, or "scheduler"
  std::string source;  ///< Caller::source, or empty
  std::string operation;
  std::string resource_type;
  std::string resource_id;
  std::string resource_name;
  bool success = true;
  Json changes;  ///< {"field": {"old": ..., "new": ...}}, or other facts; null for none
};

class ActivityLog {
 public:
  ActivityLog(std::string node, const base::Clock& clock) : node_(std::move(node)), clock_(clock) {}

  void append(store::Unit& unit, const ActivityEntry& entry) const;
  [[nodiscard]] const std::string& node() const { return node_; }

 private:
  std::string node_;
  const base::Clock& clock_;
};

}  // namespace sallyport::daemon

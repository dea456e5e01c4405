// The webhooks that are told of a kind of notices. Pure.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "daemon/config/config.h"
#include "notify/facts.h"

namespace sallyport::daemon {

/// Names of those in [[notify.webhooks]] whose `kinds` are empty or hold this one.
[[nodiscard]] inline std::vector<std::string> webhooks_for(const Config& config,
                                                           notify::Kind kind) {
  std::vector<std::string> names;
  for (const TableEntry& webhook : config.notify.webhooks) {
    const std::vector<std::string> kinds = webhook.list("kinds");
    if (kinds.empty() ||
        std::find(kinds.begin(), kinds.end(), std::string(notify::to_string(kind))) != kinds.end())
      names.push_back(webhook.text("name"));
  }
  return names;
}

}  // namespace sallyport::daemon

// The last checkpoint of a node's activity chain, kept in a file outside of the store.
//
// Who can write to the database can take away its newest checkpoints together with the rows that
// they vouch for. This file says that they were there. It is the node's own, in the daemon's state
// directory, authenticated as a checkpoint is.
//
// Free functions, any thread; one node writes its own file only. Failures throw base::SystemError;
// a file that is there and is no anchor throws base::Error.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "store/activity.h"

namespace sallyport::daemon {

/// "<directory>/activity-anchor-<node>"
[[nodiscard]] std::string anchor_path(const std::string& directory, const std::string& node);
/// nullopt if there is none.
[[nodiscard]] std::optional<store::ActivityCheckpoint> read_anchor(const std::string& directory,
                                                                   const std::string& node);
void write_anchor(const std::string& directory, const store::ActivityCheckpoint& checkpoint);
/// The nodes that have an anchor here.
[[nodiscard]] std::vector<std::string> anchored_nodes(const std::string& directory);

}  // namespace sallyport::daemon

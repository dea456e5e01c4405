// What nodes that share a database agree on: leases and when each has flushed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/instant.h"
#include "store/store.h"

namespace sallyport::store {

using base::Instant;

/// Takes or renews the lease `name` for `node` until `until`, if it is free, expired at `now`, ours
/// already, or of a node whose clock was more than an hour ahead. Compare-and-swap; false if
/// another node holds it.
[[nodiscard]] bool take_lease(Unit& unit, std::string_view name, std::string_view node, Instant now,
                              Instant until);
void release_lease(Unit& unit, std::string_view name, std::string_view node);

struct Node {
  std::string name;
  Instant last_seen{};
  Instant usage_flushed{};  ///< every use up to this instant is in the store

  friend bool operator==(const Node&, const Node&) = default;
};
void put_node(Unit& unit, const Node& node);
[[nodiscard]] std::vector<Node> list_nodes(Unit& unit);

/// Small named facts (last simulated clock, schema of the configuration, ...).
[[nodiscard]] std::optional<std::string> get_setting(Unit& unit, std::string_view name);
void put_setting(Unit& unit, std::string_view name, std::string_view value);

}  // namespace sallyport::store

// The activity log: append-only, a hash chain a node (spec/api-keys.md 10).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/instant.h"
#include "store/store.h"

namespace sallyport::store {

using base::Instant;

struct Activity {
  std::string node;
  std::int64_t sequence = 0;  ///< 1, 2, 3, ... a node; set by append_activity
  std::string id;             ///< 26 base32 characters
  Instant at{};
  std::string actor;      ///< administrator's e-mail, "scheduler", "uid:1000", partner name, ...
  std::string source;     ///< address or socket it came from
  std::string operation;  ///< CREATE, UPDATE, DELETE, EXPIRE, ...
  std::string resource_type;  ///< API_KEY, PARTNER, FILE, NOTICE, ...
  std::string resource_id;
  std::string resource_name;
  std::string result;   ///< SUCCESS, FAILURE
  std::string changes;  ///< JSON: old and new, never a secret
  base::Sha256 previous_hash{};
  base::Sha256 hash{};  ///< SHA-256(previous_hash, canonical content)

  friend bool operator==(const Activity&, const Activity&) = default;
};

struct ActivityCheckpoint {
  std::string node;
  std::int64_t sequence = 0;
  base::Sha256 hash{};
  Instant at{};
  std::string authenticator;  ///< hex HMAC with a credential that is not in the store

  friend bool operator==(const ActivityCheckpoint&, const ActivityCheckpoint&) = default;
};

/// The bytes that are hashed after the previous hash: length-prefixed fields in a fixed order.
[[nodiscard]] std::string activity_content(const Activity& activity);

/// Sets sequence, previous_hash and hash from the node's chain head (locked in this unit) and
/// appends.
void append_activity(Unit& unit, Activity& activity);
/// Every list that is not empty must hold the row's value.
struct ActivityFilter {
  std::vector<std::string> resource_types;
  std::vector<std::string> resource_ids;
  std::vector<std::string> operations;
  std::vector<std::string> results;
  std::string actor;
  std::optional<Instant> from;
  std::optional<Instant> to;
};
/// Newest first.
[[nodiscard]] std::vector<Activity> list_activity(Unit& unit, const ActivityFilter& filter,
                                                  unsigned offset, unsigned limit);
[[nodiscard]] std::int64_t count_activity(Unit& unit, const ActivityFilter& filter);
[[nodiscard]] std::optional<Activity> find_activity(Unit& unit, std::string_view id);
/// A node's chain in order of sequence, after `after`.
[[nodiscard]] std::vector<Activity> activity_chain(Unit& unit, std::string_view node,
                                                   std::int64_t after, unsigned limit);
/// Those with a chain, or with a checkpoint of one.
[[nodiscard]] std::vector<std::string> activity_nodes(Unit& unit);
/// Where a node's chain is said to end: what the next row will be linked to.
struct ActivityEnd {
  std::int64_t sequence = 0;
  base::Sha256 hash{};
};
[[nodiscard]] std::optional<ActivityEnd> activity_end(Unit& unit, std::string_view node);
/// The last row of a node's chain.
[[nodiscard]] std::optional<Activity> activity_head(Unit& unit, std::string_view node);
/// The highest sequence of a node's rows older than `before`; 0 if there is none.
[[nodiscard]] std::int64_t last_activity_before(Unit& unit, std::string_view node, Instant before);
/// Removes rows with sequence <= upto; the caller has written a checkpoint for `upto` before.
unsigned prune_activity(Unit& unit, std::string_view node, std::int64_t upto);
void insert_checkpoint(Unit& unit, const ActivityCheckpoint& checkpoint);
[[nodiscard]] std::vector<ActivityCheckpoint> checkpoints(Unit& unit, std::string_view node);

}  // namespace sallyport::store

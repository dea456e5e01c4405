// Inside the store only: every SQL text there is. One text with `?` serves both dialects; what they
// write differently is a token in braces, spelled out in one place (dialect_text).
//
// Pure, thread-safe. Asking for a token that does not exist throws Error{broken}; the contract
// suite prepares every text on every driver.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "store/store.h"

namespace sallyport::store {

enum class Sql : std::uint16_t {
  // keys
  insert_key,
  find_key,
  update_key,
  delete_key,
  delete_key_values,
  delete_key_usage,
  list_keys,
  due_keys,
  earliest_key,
  lock_contact,
  clash_by_login,
  clash_by_email,
  insert_key_value,
  set_value_end,
  find_key_value,
  key_values,
  list_key_values,
  list_verify_rows,
  key_verify_rows,
  record_usage,
  record_usage_ten,
  record_usage_hundred,
  wake_warned_keys,
  bring_forward_due_keys,
  count_up,
  counted,
  insert_key_change,
  key_changes_since,
  prune_key_changes,
  // notices
  insert_notice,
  find_notice,
  update_notice,
  due_notices,
  earliest_notice,
  subject_notices,
  supersede_notices,
  cancel_notices,
  list_notices,
  count_notices,
  insert_digest,
  find_digest,
  // files
  insert_file,
  find_file,
  update_file,
  insert_upload_intent,
  delete_upload_intent,
  list_upload_intents,
  insert_file_step,
  file_steps,
  next_file_sequence,
  file_sequence,
  due_files,
  earliest_file,
  files_in_state,
  delivered_content,
  published_file,
  first_unpublished,
  count_received,
  list_files,
  put_file_task,
  delete_file_task,
  file_tasks,
  due_file_tasks,
  earliest_file_task,
  put_given_up_task,
  delete_given_up_task,
  given_up_tasks,
  find_given_up_task,
  insert_session_event,
  list_session_events,
  partner_session_events,
  oldest_session_event,
  prune_session_events,
  // partners
  insert_partner,
  find_partner,
  update_partner,
  list_partners,
  insert_ssh_key,
  partner_ssh_keys,
  update_ssh_key,
  delete_ssh_key,
  touch_ssh_key,
  due_ssh_keys,
  earliest_ssh_key,
  insert_pgp_key,
  touch_pgp_key,
  partner_pgp_keys,
  update_pgp_key,
  delete_pgp_key,
  due_pgp_keys,
  earliest_pgp_key,
  put_ban,
  delete_ban,
  list_bans,
  // administrators
  insert_administrator,
  update_administrator,
  find_administrator,
  find_administrator_by_email,
  list_administrators,
  delete_administrator,
  put_group,
  list_groups,
  delete_group,
  insert_token,
  update_token,
  find_token,
  list_tokens,
  due_tokens,
  earliest_token,
  // activity
  lock_activity_head,
  insert_activity_head,
  move_activity_head,
  insert_activity,
  list_activity,
  count_activity,
  find_activity,
  activity_chain,
  activity_nodes,
  activity_end,
  activity_head,
  last_activity_before,
  prune_activity,
  insert_checkpoint,
  checkpoints,
  // cluster
  renew_lease,
  insert_lease,
  release_lease,
  put_node,
  list_nodes,
  get_setting,
  put_setting,
  // the store itself
  ping,
  last  // no statement: how many there are
};

/// Conditions and endings that a filter adds to list_notices, list_files, list_activity and
/// count_activity.
enum class Clause : std::uint8_t {
  notice_state,
  notice_subject,
  notice_recipient,
  subject_kind,
  subject_cycle,
  file_partner,
  file_object,
  file_direction,
  file_state,
  file_name,
  file_since,
  file_until,
  older_than,
  newest_first,
  activity_resource_types,
  activity_resource_ids,
  activity_operations,
  activity_results,
  activity_actor,
  activity_from,
  activity_to,
  activity_newest_first,
  by_created,
  last
};

[[nodiscard]] const std::string& sql_text(Sql statement, Dialect dialect);
/// A clause, and how many values it compares with where it takes a list.
struct With {
  With(Clause used, std::size_t count = 1) : clause(used), values(count) {}  // NOLINT: reads well
  Clause clause;
  std::size_t values;
};
[[nodiscard]] bool takes_list(Clause clause);
/// A list is bound in one of few widths, its last value repeated: every width is a text of its own.
[[nodiscard]] std::size_t list_width(std::size_t values);
/// The statement and its clauses, in this order.
[[nodiscard]] std::string sql_text(Sql statement, std::span<const With> clauses, Dialect dialect);

/// Replaces the tokens of statements ({upsert a}, {new a}, {set a, b}, {values a, b}, {list n},
/// {index a}, {join}, {lock}) and of the schema (column types, {table}, {prefix}). `collation` is
/// MySQL's, for {table}.
[[nodiscard]] std::string dialect_text(std::string_view text, Dialect dialect,
                                       std::string_view collation = {});

}  // namespace sallyport::store

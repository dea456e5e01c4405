#include "store/catalogue.h"

#include <array>
#include <vector>

// The columns of a record, in the order of its fields() function beside the code that uses it.
#define KEY                                                                                       \
  "display_name, description, template_id, is_public, privileges, permissions_enabled, "          \
  "permissions, allowed_ips, denied_ips, search_hub, catalog_id, additional_configuration, "      \
  "contact_first, contact_last, contact_login, contact_email, groups_can_edit, groups_can_view, " \
  "duplicated_from, value_last4, state, created_by, created, activated, extended, disabled, "     \
  "expires_at, exposure, exposure_deadline, expiry_cycle, expiry_handled, inactivity_cycle, "     \
  "inactivity_handled, exposure_cycle, exposure_handled, inactivity_moved_to, next_due"
#define SELECT_KEY "SELECT id, " KEY ", version, last_used, last_allowed FROM api_key "
#define WITH_USAGE "LEFT JOIN key_usage ON key_usage.key_id = api_key.id "
#define VERIFY                                                                            \
  "SELECT v.key_id, v.sha256, v.valid_until, k.display_name, k.template_id, k.state, "    \
  "k.is_public, k.expires_at, k.exposure_deadline, k.privileges, k.permissions_enabled, " \
  "k.permissions, k.allowed_ips, k.denied_ips, k.contact_first, k.contact_last, "         \
  "k.value_last4, u.last_used, u.last_allowed FROM key_value v {index PRIMARY} "          \
  "{join} api_key k ON k.id = v.key_id LEFT JOIN key_usage u ON u.key_id = v.key_id "
#define USAGE                                                                                \
  " {upsert key_id} last_used = CASE WHEN last_used IS NULL OR {new last_used} > last_used " \
  "THEN {new last_used} ELSE last_used END, "                                                \
  "last_allowed = CASE WHEN last_allowed IS NULL OR {new last_allowed} > last_allowed "      \
  "THEN {new last_allowed} ELSE last_allowed END"
#define NOTICE                                                                               \
  "subject_type, subject_id, kind, cycle_at, time_offset, recipient, channel, role, facts, " \
  "state, created, due, next_attempt, attempts, answer, finished, claimed_by, "              \
  "claimed_until, first_attempt, digest_id, wake_at"
#define SELECT_NOTICE "SELECT id, " NOTICE ", version FROM notice "
#define FILE_                                                                              \
  "partner, direction, object, name, spool_name, size, sha256, state, created, received, " \
  "sequence_number, reason_code, reason, delivered_as, published_as, backup_at, verdict, " \
  "plain_sha256, uploader, attempts, retry_since, next_due, claimed_by, claimed_until"
/// What may change of a file. What never does is left alone: its indexes would be written anew.
#define FILE_CHANGES                                                                    \
  "size, sha256, state, received, sequence_number, reason_code, reason, delivered_as, " \
  "published_as, backup_at, verdict, plain_sha256, attempts, retry_since, next_due, "   \
  "claimed_by, claimed_until"
#define SELECT_FILE "SELECT id, " FILE_ ", version FROM journal_file "
#define INTENT "partner, object, name, uploader, created, size, sha256, ordinal"
#define SELECT_INTENT "SELECT id, " INTENT " FROM upload_intent "
#define EVENT                                                                               \
  "happened, partner, event_name, path, address, banner, fingerprint, bytes, duration_ms, " \
  "detail"
#define GIVEN_UP "file_id, kind, happened"
#define TASK "file_id, kind, created, next_due, attempts, last_error"
#define PARTNER "is_active, emails, allowed_ips, password_hash, auth, policies, created"
#define SSH_KEY \
  "partner, label, key_type, key_blob, fingerprint, added, last_used, expires, next_due"
#define PGP_KEY                                                                                 \
  "partner, label, fingerprint, public_key, can_sign, can_encrypt, revoked, added, last_used, " \
  "expires, next_due, ends_here"
#define ADMINISTRATOR "name, email, is_active, group_ids, created"
#define TOKEN "kind, sha256, administrator_id, label, created, expires, revoked, next_due"
#define ACTIVITY                                                                                \
  "node, sequence_number, id, happened, actor, source, operation, resource_type, resource_id, " \
  "resource_name, outcome, changes, previous_hash, hash"

namespace sallyport::store {
namespace {

/// Ended keys free their contact for another one (KeyState, spec/api-keys.md 1).
#define CLASH                                                                  \
  "SELECT id FROM api_key WHERE template_id = ? AND id <> ? AND state NOT IN " \
  "('expired', 'revoked', 'disabled_exposed') "

struct Entry {
  Sql statement;
  std::string_view text;
};

constexpr std::array entries{
    Entry{Sql::insert_key,
          "INSERT INTO api_key (id, " KEY ", version) VALUES (?, {values " KEY "}, ?)"},
    Entry{Sql::find_key, SELECT_KEY WITH_USAGE "WHERE id = ?"},
    Entry{Sql::update_key,
          "UPDATE api_key SET {set " KEY "}, version = version + 1 WHERE id = ? AND version = ?"},
    Entry{Sql::delete_key, "DELETE FROM api_key WHERE id = ?"},
    Entry{Sql::delete_key_values, "DELETE FROM key_value WHERE key_id = ?"},
    Entry{Sql::delete_key_usage, "DELETE FROM key_usage WHERE key_id = ?"},
    Entry{Sql::list_keys,
          SELECT_KEY "{index PRIMARY} " WITH_USAGE "WHERE id > ? ORDER BY id LIMIT ?"},
    Entry{Sql::due_keys, SELECT_KEY "{index api_key_due} " WITH_USAGE
                                    "WHERE next_due <= ? ORDER BY next_due, id LIMIT ?"},
    Entry{Sql::earliest_key,
          "SELECT next_due FROM api_key {index api_key_due} WHERE next_due IS NOT NULL ORDER BY "
          "next_due LIMIT 1"},
    Entry{Sql::lock_contact,
          "INSERT INTO key_contact (template_id, value, touched) VALUES (?, ?, 1) "
          "{upsert template_id, value} touched = touched + 1"},
    Entry{Sql::clash_by_login, CLASH "AND contact_login = ? ORDER BY id LIMIT 1"},
    Entry{Sql::clash_by_email, CLASH "AND contact_email = ? ORDER BY id LIMIT 1"},
    Entry{Sql::insert_key_value,
          "INSERT INTO key_value (key_id, sha256, valid_until) VALUES (?, ?, ?)"},
    Entry{Sql::set_value_end, "UPDATE key_value SET valid_until = ? WHERE sha256 = ?"},
    Entry{Sql::find_key_value,
          "SELECT sha256, key_id, valid_until FROM key_value WHERE sha256 = ?"},
    Entry{Sql::key_values,
          "SELECT sha256, key_id, valid_until FROM key_value WHERE key_id = ? ORDER BY sha256"},
    Entry{Sql::list_key_values,
          "SELECT sha256, key_id, valid_until FROM key_value WHERE sha256 > ? ORDER BY sha256 "
          "LIMIT ?"},
    Entry{Sql::list_verify_rows, VERIFY "WHERE v.key_id >= ? AND (v.key_id > ? OR v.sha256 > ?) "
                                        "ORDER BY v.key_id, v.sha256 LIMIT ?"},
    Entry{Sql::key_verify_rows, VERIFY "WHERE v.key_id = ? ORDER BY v.sha256"},
    Entry{Sql::record_usage,
          "INSERT INTO key_usage (key_id, last_used, last_allowed) VALUES {rows 1 3}" USAGE},
    Entry{Sql::record_usage_ten,
          "INSERT INTO key_usage (key_id, last_used, last_allowed) VALUES {rows 10 3}" USAGE},
    Entry{Sql::record_usage_hundred,
          "INSERT INTO key_usage (key_id, last_used, last_allowed) VALUES {rows 100 3}" USAGE},
    Entry{Sql::wake_warned_keys,
          "UPDATE api_key SET next_due = ?, version = version + 1 WHERE id IN {list 100} AND "
          "state = 'enabled' AND inactivity_cycle IS NOT NULL"},
    Entry{Sql::bring_forward_due_keys,
          "UPDATE api_key SET next_due = ?, version = version + 1 WHERE next_due > ? AND "
          "next_due <= ?"},
    Entry{Sql::count_up,
          "INSERT INTO counter (name, counted) VALUES (?, ?) "
          "{upsert name} counted = counted + {new counted}"},
    Entry{Sql::counted, "SELECT counted FROM counter WHERE name = ?"},
    Entry{Sql::insert_key_change,
          "INSERT INTO key_change (sequence_number, key_id, changed) VALUES (?, ?, ?)"},
    Entry{Sql::key_changes_since,
          "SELECT sequence_number, key_id FROM key_change WHERE sequence_number > ? "
          "ORDER BY sequence_number LIMIT ?"},
    Entry{Sql::prune_key_changes, "DELETE FROM key_change WHERE changed < ?"},

    Entry{Sql::insert_notice,
          "INSERT INTO notice (id, " NOTICE ", version) VALUES (?, {values " NOTICE "}, ?)"},
    Entry{Sql::find_notice, SELECT_NOTICE "WHERE id = ?"},
    Entry{Sql::update_notice,
          "UPDATE notice SET {set " NOTICE "}, version = version + 1 WHERE id = ? AND version = ?"},
    Entry{Sql::due_notices,
          SELECT_NOTICE "{index notice_wake} WHERE wake_at <= ? ORDER BY wake_at, id LIMIT ?"},
    Entry{Sql::earliest_notice,
          "SELECT wake_at FROM notice {index notice_wake} WHERE wake_at IS NOT NULL ORDER BY "
          "wake_at LIMIT 1"},
    Entry{Sql::subject_notices, SELECT_NOTICE "WHERE subject_id = ? AND subject_type = ?"},
    Entry{Sql::supersede_notices,
          "UPDATE notice SET state = 'superseded', finished = ?, wake_at = NULL, "
          "version = version + 1 WHERE subject_id = ? AND subject_type = ? AND kind = ? AND "
          "cycle_at = ? AND time_offset > ? AND state IN ('pending', 'claimed')"},
    Entry{Sql::cancel_notices,
          "UPDATE notice SET state = 'cancelled', finished = ?, wake_at = NULL, "
          "version = version + 1 WHERE subject_id = ? AND subject_type = ? AND kind = ? AND "
          "state IN ('pending', 'claimed')"},
    Entry{Sql::list_notices, SELECT_NOTICE "WHERE 1 = 1"},
    Entry{Sql::count_notices, "SELECT COUNT(*) FROM notice WHERE state = ?"},
    Entry{Sql::insert_digest,
          "INSERT INTO digest (id, recipient, created, members) VALUES (?, ?, ?, ?)"},
    Entry{Sql::find_digest, "SELECT id, recipient, created, members FROM digest WHERE id = ?"},

    Entry{Sql::insert_file,
          "INSERT INTO journal_file (id, " FILE_ ", version) VALUES (?, {values " FILE_ "}, ?)"},
    Entry{Sql::find_file, SELECT_FILE "WHERE id = ?"},
    Entry{Sql::update_file, "UPDATE journal_file SET {set " FILE_CHANGES
                            "}, version = version + 1 WHERE id = ? AND version = ?"},
    Entry{Sql::insert_upload_intent,
          "INSERT INTO upload_intent (id, " INTENT ") VALUES (?, {values " INTENT "})"},
    Entry{Sql::delete_upload_intent, "DELETE FROM upload_intent WHERE id = ?"},
    Entry{Sql::list_upload_intents, SELECT_INTENT "WHERE id > ? ORDER BY id LIMIT ?"},
    Entry{Sql::insert_file_step,
          "INSERT INTO file_step (file_id, state, happened, detail) VALUES (?, ?, ?, ?)"},
    Entry{Sql::file_steps,
          "SELECT file_id, state, happened, detail FROM file_step WHERE file_id = ? ORDER BY "
          "step_number"},
    Entry{Sql::next_file_sequence,
          "INSERT INTO file_sequence (partner, object, sequence_number) VALUES (?, ?, 1) "
          "{upsert partner, object} sequence_number = sequence_number + 1"},
    Entry{Sql::file_sequence,
          "SELECT sequence_number FROM file_sequence WHERE partner = ? AND object = ?"},
    Entry{
        Sql::due_files, SELECT_FILE
        "{index journal_file_due} WHERE state = ? AND next_due <= ? ORDER BY next_due, id LIMIT ?"},
    Entry{Sql::earliest_file,
          "SELECT next_due FROM journal_file {index journal_file_due} WHERE state = ? AND next_due "
          "IS NOT NULL ORDER BY next_due LIMIT 1"},
    Entry{Sql::files_in_state,
          SELECT_FILE "{index journal_file_state_created} WHERE state = ? AND created >= ? AND "
                      "(created > ? OR id > ?) ORDER BY created, id LIMIT ?"},
    Entry{Sql::delivered_content,
          SELECT_FILE "WHERE partner = ? AND sha256 = ? AND id <> ? AND direction = 'inbound' AND "
                      "delivered_as <> '' AND state IN ('delivered', 'archived', 'backed_up') "
                      "ORDER BY received, id LIMIT 1"},
    Entry{Sql::published_file,
          SELECT_FILE "WHERE partner = ? AND published_as = ? AND "
                      "state IN ('available', 'downloaded', 'archived', 'failed') "
                      "ORDER BY created DESC, id DESC LIMIT 1"},
    Entry{Sql::first_unpublished, SELECT_FILE
          "WHERE partner = ? AND object = ? AND direction = 'inbound' AND state = ? AND "
          "(retry_since IS NULL OR retry_since >= ?) ORDER BY sequence_number, id LIMIT 1"},
    Entry{Sql::count_received,
          "SELECT COUNT(*), CAST(COALESCE(SUM(CASE WHEN size < ? THEN 1 ELSE 0 END), 0) AS SIGNED) "
          "FROM journal_file WHERE partner = ? AND object = ? AND direction = 'inbound' AND "
          "received >= ? AND received < ?"},
    Entry{Sql::list_files, SELECT_FILE "WHERE 1 = 1"},
    Entry{Sql::put_file_task,
          "INSERT INTO file_task (" TASK ") VALUES ({values " TASK
          "}) {upsert file_id, kind} created = {new created}, next_due = {new next_due}, "
          "attempts = {new attempts}, last_error = {new last_error}"},
    Entry{Sql::delete_file_task, "DELETE FROM file_task WHERE file_id = ? AND kind = ?"},
    Entry{Sql::file_tasks, "SELECT " TASK " FROM file_task WHERE file_id = ? ORDER BY kind"},
    Entry{Sql::due_file_tasks,
          "SELECT " TASK " FROM file_task {index file_task_due} WHERE next_due <= ? ORDER BY "
          "next_due, file_id, kind LIMIT ?"},
    Entry{Sql::earliest_file_task,
          "SELECT next_due FROM file_task {index file_task_due} WHERE next_due IS NOT NULL ORDER "
          "BY next_due LIMIT 1"},
    Entry{Sql::put_given_up_task,
          "INSERT INTO given_up_task (" GIVEN_UP ") VALUES ({values " GIVEN_UP
          "}) {upsert file_id, kind} happened = {new happened}"},
    Entry{Sql::delete_given_up_task, "DELETE FROM given_up_task WHERE file_id = ? AND kind = ?"},
    Entry{Sql::given_up_tasks,
          "SELECT " GIVEN_UP " FROM given_up_task WHERE file_id = ? ORDER BY kind"},
    Entry{Sql::find_given_up_task, "SELECT " GIVEN_UP " FROM given_up_task LIMIT 1"},
    Entry{Sql::insert_session_event,
          "INSERT INTO session_event (" EVENT ") VALUES ({values " EVENT "})"},
    Entry{Sql::list_session_events,
          "SELECT " EVENT
          " FROM session_event WHERE happened >= ? AND happened < ? ORDER BY happened DESC, "
          "event_number DESC LIMIT ?"},
    Entry{Sql::partner_session_events,
          "SELECT " EVENT
          " FROM session_event WHERE partner = ? AND happened >= ? AND happened < ? ORDER BY "
          "happened DESC, event_number DESC LIMIT ?"},
    Entry{Sql::oldest_session_event,
          "SELECT happened FROM session_event ORDER BY happened, event_number LIMIT 1"},
    Entry{Sql::prune_session_events, "DELETE FROM session_event WHERE happened < ?"},

    Entry{Sql::insert_partner,
          "INSERT INTO partner (name, " PARTNER ", version) VALUES (?, {values " PARTNER "}, ?)"},
    Entry{Sql::find_partner, "SELECT name, " PARTNER ", version FROM partner WHERE name = ?"},
    Entry{Sql::update_partner, "UPDATE partner SET {set " PARTNER
                               "}, version = version + 1 WHERE name = ? AND version = ?"},
    Entry{Sql::list_partners, "SELECT name, " PARTNER ", version FROM partner ORDER BY name"},
    Entry{Sql::insert_ssh_key,
          "INSERT INTO ssh_key (id, " SSH_KEY ") VALUES (?, {values " SSH_KEY "})"},
    Entry{Sql::partner_ssh_keys,
          "SELECT id, " SSH_KEY " FROM ssh_key WHERE partner = ? ORDER BY added, id"},
    Entry{Sql::update_ssh_key, "UPDATE ssh_key SET {set " SSH_KEY "} WHERE id = ?"},
    Entry{Sql::delete_ssh_key, "DELETE FROM ssh_key WHERE id = ?"},
    Entry{Sql::touch_ssh_key,
          "UPDATE ssh_key SET last_used = ? WHERE id = ? AND (last_used IS NULL OR last_used < ?)"},
    Entry{Sql::due_ssh_keys,
          "SELECT id, " SSH_KEY " FROM ssh_key WHERE next_due <= ? ORDER BY next_due, id LIMIT ?"},
    Entry{Sql::earliest_ssh_key,
          "SELECT next_due FROM ssh_key {index ssh_key_due} WHERE next_due IS NOT NULL ORDER BY "
          "next_due LIMIT 1"},
    Entry{Sql::insert_pgp_key,
          "INSERT INTO pgp_key (id, " PGP_KEY ") VALUES (?, {values " PGP_KEY "})"},
    Entry{
        Sql::touch_pgp_key,
        "UPDATE pgp_key SET last_used = ? WHERE partner = ? AND fingerprint = ? AND (last_used IS "
        "NULL OR last_used < ?)"},
    Entry{Sql::partner_pgp_keys,
          "SELECT id, " PGP_KEY " FROM pgp_key WHERE partner = ? ORDER BY added, id"},
    Entry{Sql::update_pgp_key, "UPDATE pgp_key SET {set " PGP_KEY "} WHERE id = ?"},
    Entry{Sql::delete_pgp_key, "DELETE FROM pgp_key WHERE id = ?"},
    Entry{Sql::due_pgp_keys,
          "SELECT id, " PGP_KEY " FROM pgp_key WHERE next_due <= ? ORDER BY next_due, id LIMIT ?"},
    Entry{Sql::earliest_pgp_key,
          "SELECT next_due FROM pgp_key {index pgp_key_due} WHERE next_due IS NOT NULL ORDER BY "
          "next_due LIMIT 1"},
    Entry{Sql::put_ban,
          "INSERT INTO ban (address, reason, begun, ends) VALUES (?, ?, ?, ?) "
          "{upsert address} reason = {new reason}, begun = {new begun}, ends = {new ends}"},
    Entry{Sql::delete_ban, "DELETE FROM ban WHERE address = ?"},
    Entry{Sql::list_bans,
          "SELECT address, reason, begun, ends FROM ban WHERE ends > ? ORDER BY ends, address"},

    Entry{Sql::insert_administrator, "INSERT INTO administrator (id, " ADMINISTRATOR
                                     ") VALUES (?, {values " ADMINISTRATOR "})"},
    Entry{Sql::update_administrator,
          "UPDATE administrator SET {set " ADMINISTRATOR "} WHERE id = ?"},
    Entry{Sql::find_administrator, "SELECT id, " ADMINISTRATOR " FROM administrator WHERE id = ?"},
    Entry{Sql::find_administrator_by_email,
          "SELECT id, " ADMINISTRATOR " FROM administrator WHERE email = ?"},
    Entry{Sql::list_administrators,
          "SELECT id, " ADMINISTRATOR " FROM administrator ORDER BY email"},
    Entry{Sql::delete_administrator, "DELETE FROM administrator WHERE id = ?"},
    Entry{Sql::put_group,
          "INSERT INTO admin_group (id, name, privileges) VALUES (?, ?, ?) "
          "{upsert id} name = {new name}, privileges = {new privileges}"},
    Entry{Sql::list_groups, "SELECT id, name, privileges FROM admin_group ORDER BY name, id"},
    Entry{Sql::delete_group, "DELETE FROM admin_group WHERE id = ?"},
    Entry{Sql::insert_token, "INSERT INTO token (id, " TOKEN ") VALUES (?, {values " TOKEN "})"},
    Entry{Sql::update_token, "UPDATE token SET {set " TOKEN "} WHERE id = ?"},
    Entry{Sql::find_token, "SELECT id, " TOKEN " FROM token WHERE sha256 = ?"},
    Entry{Sql::list_tokens, "SELECT id, " TOKEN " FROM token ORDER BY created, id"},
    Entry{Sql::due_tokens,
          "SELECT id, " TOKEN " FROM token WHERE next_due <= ? ORDER BY next_due, id LIMIT ?"},
    Entry{Sql::earliest_token,
          "SELECT next_due FROM token {index token_due} WHERE next_due IS NOT NULL ORDER BY "
          "next_due LIMIT 1"},

    Entry{Sql::lock_activity_head,
          "SELECT sequence_number, hash FROM activity_head WHERE node = ? {lock}"},
    Entry{Sql::insert_activity_head,
          "INSERT INTO activity_head (sequence_number, hash, node) VALUES (?, ?, ?)"},
    Entry{Sql::move_activity_head,
          "UPDATE activity_head SET sequence_number = ?, hash = ? WHERE node = ?"},
    Entry{Sql::insert_activity,
          "INSERT INTO activity (" ACTIVITY ") VALUES ({values " ACTIVITY "})"},
    Entry{Sql::list_activity, "SELECT " ACTIVITY " FROM activity WHERE 1 = 1"},
    Entry{Sql::count_activity, "SELECT COUNT(*) FROM activity WHERE 1 = 1"},
    Entry{Sql::find_activity, "SELECT " ACTIVITY " FROM activity WHERE id = ?"},
    Entry{Sql::activity_chain,
          "SELECT " ACTIVITY
          " FROM activity WHERE node = ? AND sequence_number > ? ORDER BY sequence_number LIMIT ?"},
    Entry{
        Sql::activity_nodes,
        "SELECT node FROM activity_head UNION SELECT node FROM activity_checkpoint ORDER BY node"},
    Entry{Sql::activity_end, "SELECT sequence_number, hash FROM activity_head WHERE node = ?"},
    Entry{Sql::activity_head,
          "SELECT " ACTIVITY " FROM activity WHERE node = ? ORDER BY sequence_number DESC LIMIT 1"},
    Entry{Sql::last_activity_before,
          "SELECT MAX(sequence_number + 0) FROM activity WHERE node = ? AND happened < ?"},
    Entry{Sql::prune_activity, "DELETE FROM activity WHERE node = ? AND sequence_number <= ?"},
    Entry{Sql::insert_checkpoint,
          "INSERT INTO activity_checkpoint (node, sequence_number, hash, happened, authenticator) "
          "VALUES (?, ?, ?, ?, ?)"},
    Entry{Sql::checkpoints,
          "SELECT node, sequence_number, hash, happened, authenticator FROM activity_checkpoint "
          "WHERE node = ? ORDER BY checkpoint_number"},

    Entry{Sql::renew_lease,
          "UPDATE lease SET node = ?, ends = ? WHERE name = ? AND "
          "(node = ? OR ends <= ? OR ends > ?)"},
    Entry{Sql::insert_lease, "INSERT INTO lease (name, node, ends) VALUES (?, ?, ?)"},
    Entry{Sql::release_lease, "DELETE FROM lease WHERE name = ? AND node = ?"},
    Entry{Sql::put_node,
          "INSERT INTO node (name, last_seen, usage_flushed) VALUES (?, ?, ?) {upsert name} "
          "last_seen = {new last_seen}, usage_flushed = {new usage_flushed}"},
    Entry{Sql::list_nodes, "SELECT name, last_seen, usage_flushed FROM node ORDER BY name"},
    Entry{Sql::get_setting, "SELECT content FROM setting WHERE name = ?"},
    Entry{
        Sql::put_setting,
        "INSERT INTO setting (name, content) VALUES (?, ?) {upsert name} content = {new content}"},
    Entry{Sql::ping, "SELECT 1"},
};
static_assert(entries.size() == static_cast<std::size_t>(Sql::last));

constexpr bool in_order() {
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (static_cast<std::size_t>(entries[i].statement) != i) return false;
  }
  return true;
}
static_assert(in_order(), "the table is indexed by the enum");

constexpr std::array<std::string_view, static_cast<std::size_t>(Clause::last)> clauses{
    " AND state = ?",
    " AND subject_id = ?",
    " AND recipient = ?",
    " AND kind = ?",
    " AND cycle_at = ?",
    " AND partner = ?",
    " AND object = ?",
    " AND direction = ?",
    " AND state = ?",
    " AND name = ?",
    " AND created >= ?",
    " AND created < ?",
    // Says (created, id) < (?, ?) in a way that both optimisers turn into an index range.
    " AND created <= ? AND (created < ? OR id < ?)",
    " ORDER BY created DESC, id DESC LIMIT ?",
    " AND resource_type IN {list}",
    " AND resource_id IN {list}",
    " AND operation IN {list}",
    " AND outcome IN {list}",
    " AND actor = ?",
    " AND happened >= ?",
    " AND happened <= ?",
    " ORDER BY happened DESC, node DESC, sequence_number DESC LIMIT ? OFFSET ?",
    " ORDER BY created, time_offset DESC, id",
};

using Texts = std::array<std::string, entries.size()>;

Texts all_texts(Dialect dialect) {
  Texts texts;
  for (std::size_t i = 0; i < entries.size(); ++i)
    texts[i] = dialect_text(entries[i].text, dialect);
  return texts;
}

}  // namespace

const std::string& sql_text(Sql statement, Dialect dialect) {
  static const Texts sqlite = all_texts(Dialect::sqlite);
  static const Texts mysql = all_texts(Dialect::mysql);
  const Texts& texts = dialect == Dialect::sqlite ? sqlite : mysql;
  return texts[static_cast<std::size_t>(statement)];
}

bool takes_list(Clause clause) {
  return clauses[static_cast<std::size_t>(clause)].ends_with("{list}");
}

std::size_t list_width(std::size_t values) {
  for (const std::size_t width : {1U, 8U, 64U}) {
    if (values <= width) return width;
  }
  constexpr std::size_t step = 512;
  return (values + step - 1) / step * step;
}

std::string sql_text(Sql statement, std::span<const With> with, Dialect dialect) {
  constexpr std::string_view list = "{list}";
  std::string text = sql_text(statement, dialect);
  for (const With& use : with) {
    std::string_view clause = clauses[static_cast<std::size_t>(use.clause)];
    if (!takes_list(use.clause)) {
      text += clause;
      continue;
    }
    clause.remove_suffix(list.size());
    text += clause;
    text += dialect_text("{list " + std::to_string(list_width(use.values)) + "}", dialect);
  }
  return text;
}

}  // namespace sallyport::store

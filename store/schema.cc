// The schema, as numbered migrations. Never change one that was released: add the next.
//
// Times are Unix seconds. The first columns of an index are what a query fixes, then what it orders
// by, so that the cost of a scan grows with what is due or shown, not with what there is.
#include <array>

#include "store/migrations.h"

namespace sallyport::store {
namespace {

constexpr std::array<std::string_view, 62> first{
    "CREATE TABLE IF NOT EXISTS api_key ("
    "id {id}, display_name {name}, description {text}, template_id {id}, is_public {flag}, "
    "privileges {long}, permissions_enabled {flag}, permissions {long}, allowed_ips {long}, "
    "denied_ips {long}, search_hub {text}, catalog_id {text}, additional_configuration {long}, "
    "contact_first {text?}, contact_last {text?}, contact_login {name?}, contact_email {name?}, "
    "groups_can_edit {long}, groups_can_view {long}, duplicated_from {id}, value_last4 {id}, "
    "state {id}, created_by {name}, created {number}, activated {number}, extended {number?}, "
    "disabled {number?}, expires_at {number?}, exposure {long}, exposure_deadline {number?}, "
    "expiry_cycle {number?}, expiry_handled {number}, inactivity_cycle {number?}, "
    "inactivity_handled {number}, exposure_cycle {number?}, exposure_handled {number}, "
    "inactivity_moved_to {number?}, next_due {number?}, version {number}, PRIMARY KEY (id)) "
    "{table}",
    "CREATE INDEX api_key_due ON api_key (next_due, id)",
    "CREATE INDEX api_key_login ON api_key (contact_login)",
    "CREATE INDEX api_key_email ON api_key (contact_email)",
    "CREATE TABLE IF NOT EXISTS key_contact (template_id {id}, value {name}, touched {number}, "
    "PRIMARY KEY (template_id, value)) {table}",
    // By key first: verification is loaded in the order of both tables.
    "CREATE TABLE IF NOT EXISTS key_value (key_id {id}, sha256 {hash}, valid_until {number?}, "
    "PRIMARY KEY (key_id, sha256), FOREIGN KEY (key_id) REFERENCES api_key (id)) {table}",
    "CREATE UNIQUE INDEX key_value_sha256 ON key_value (sha256)",
    "CREATE TABLE IF NOT EXISTS key_usage (key_id {id}, last_used {number?}, "
    "last_allowed {number?}, PRIMARY KEY (key_id)) {table}",
    "CREATE TABLE IF NOT EXISTS counter (name {id}, counted {number}, PRIMARY KEY (name)) {table}",
    "CREATE TABLE IF NOT EXISTS key_change (sequence_number {number}, key_id {id}, "
    "changed {number}, PRIMARY KEY (sequence_number)) {table}",
    "CREATE INDEX key_change_changed ON key_change (changed)",

    "CREATE TABLE IF NOT EXISTS notice ("
    "id {id}, subject_type {id}, subject_id {name}, kind {id}, cycle_at {number}, "
    "time_offset {number}, recipient {name}, channel {id}, role {id}, facts {long}, state {id}, "
    "created {number}, due {number}, next_attempt {number}, attempts {number}, answer {text}, "
    "finished {number?}, claimed_by {name}, claimed_until {number?}, wake_at {number?}, "
    "version {number}, PRIMARY KEY (id)) {table}",
    "CREATE INDEX notice_wake ON notice (wake_at, id)",
    "CREATE INDEX notice_subject ON notice (subject_id, subject_type, kind, cycle_at)",
    "CREATE INDEX notice_created ON notice (created, id)",
    "CREATE INDEX notice_state ON notice (state, created, id)",
    "CREATE INDEX notice_recipient ON notice (recipient, created, id)",

    "CREATE TABLE IF NOT EXISTS journal_file ("
    "id {id}, partner {id}, direction {id}, object {name}, name {text}, spool_name {text}, "
    "size {number}, sha256 {id}, state {id}, created {number}, received {number}, "
    "sequence_number {number}, reason_code {id}, reason {text}, delivered_as {text}, "
    "published_as {text}, backup_at {text}, verdict {long}, plain_sha256 {id}, uploader {text}, "
    "attempts {number}, retry_since {number?}, next_due {number?}, claimed_by {name}, "
    "claimed_until {number?}, version {number}, PRIMARY KEY (id)) {table}",
    "CREATE INDEX journal_file_due ON journal_file (state, next_due, id)",
    "CREATE INDEX journal_file_state_created ON journal_file (state, created, id)",
    "CREATE INDEX journal_file_created ON journal_file (created, id)",
    "CREATE INDEX journal_file_partner ON journal_file (partner, created, id)",
    "CREATE INDEX journal_file_content ON journal_file (partner, sha256, received)",
    "CREATE INDEX journal_file_published ON journal_file (partner, published_as{prefix})",
    "CREATE INDEX journal_file_name ON journal_file (name{prefix})",
    "CREATE INDEX journal_file_turn ON journal_file (partner, object, state, sequence_number)",
    "CREATE INDEX journal_file_received ON journal_file (partner, object, received)",
    // An upload that its session has announced and that is not ours yet: short-lived and narrow,
    // because somebody waits for it. Then it becomes a row of journal_file.
    "CREATE TABLE IF NOT EXISTS upload_intent (id {id}, partner {id}, object {name}, name {text}, "
    "uploader {text}, created {number}, PRIMARY KEY (id)) {table}",
    "CREATE TABLE IF NOT EXISTS file_task (file_id {id}, kind {id}, created {number}, "
    "next_due {number}, attempts {number}, last_error {text}, PRIMARY KEY (file_id, kind)) {table}",
    "CREATE INDEX file_task_due ON file_task (next_due)",
    "CREATE TABLE IF NOT EXISTS file_step (step_number {serial}, file_id {id}, state {id}, "
    "happened {number}, detail {text}) {serial_table}",
    "CREATE INDEX file_step_file ON file_step (file_id, step_number)",
    "CREATE TABLE IF NOT EXISTS file_sequence (partner {id}, object {name}, "
    "sequence_number {number}, PRIMARY KEY (partner, object)) {table}",
    "CREATE TABLE IF NOT EXISTS session_event (event_number {serial}, happened {number}, "
    "partner {name}, event_name {id}, path {text}, address {id}, banner {text}, "
    "fingerprint {name}, bytes {number}, duration_ms {number}, detail {text}) {serial_table}",
    "CREATE INDEX session_event_happened ON session_event (happened, event_number)",
    "CREATE INDEX session_event_partner ON session_event (partner, happened, event_number)",

    "CREATE TABLE IF NOT EXISTS partner ("
    "name {id}, is_active {flag}, emails {long}, allowed_ips {long}, password_hash {text}, "
    "auth {id}, policies {long}, created {number}, version {number}, PRIMARY KEY (name)) {table}",
    "CREATE TABLE IF NOT EXISTS ssh_key ("
    "id {id}, partner {id}, label {name}, key_type {id}, key_blob {text}, fingerprint {name}, "
    "added {number}, last_used {number?}, expires {number?}, next_due {number?}, "
    "PRIMARY KEY (id), FOREIGN KEY (partner) REFERENCES partner (name)) {table}",
    "CREATE INDEX ssh_key_partner ON ssh_key (partner)",
    "CREATE INDEX ssh_key_due ON ssh_key (next_due, id)",
    "CREATE TABLE IF NOT EXISTS pgp_key ("
    "id {id}, partner {id}, label {name}, fingerprint {id}, public_key {long}, can_sign {flag}, "
    "can_encrypt {flag}, revoked {flag}, added {number}, last_used {number?}, expires {number?}, "
    "next_due {number?}, PRIMARY KEY (id)) {table}",
    "CREATE INDEX pgp_key_partner ON pgp_key (partner)",
    "CREATE INDEX pgp_key_due ON pgp_key (next_due, id)",
    "CREATE TABLE IF NOT EXISTS ban (address {id}, reason {text}, begun {number}, ends {number}, "
    "PRIMARY KEY (address)) {table}",
    "CREATE INDEX ban_ends ON ban (ends)",

    "CREATE TABLE IF NOT EXISTS administrator (id {id}, name {name}, email {name}, "
    "is_active {flag}, group_ids {long}, created {number}, PRIMARY KEY (id)) {table}",
    "CREATE UNIQUE INDEX administrator_email ON administrator (email)",
    "CREATE TABLE IF NOT EXISTS admin_group (id {id}, name {name}, privileges {long}, "
    "PRIMARY KEY (id)) {table}",
    "CREATE TABLE IF NOT EXISTS token (id {id}, kind {id}, sha256 {hash}, administrator_id {id}, "
    "label {name}, created {number}, expires {number?}, revoked {number?}, next_due {number?}, "
    "PRIMARY KEY (id)) {table}",
    "CREATE UNIQUE INDEX token_sha256 ON token (sha256)",
    "CREATE INDEX token_due ON token (next_due, id)",

    "CREATE TABLE IF NOT EXISTS activity_head (node {name}, sequence_number {number}, hash {hash}, "
    "PRIMARY KEY (node)) {table}",
    "CREATE TABLE IF NOT EXISTS activity ("
    "node {name}, sequence_number {number}, id {id}, happened {number}, actor {name}, "
    "source {name}, operation {id}, resource_type {id}, resource_id {name}, resource_name {text}, "
    "outcome {id}, changes {long}, previous_hash {hash}, hash {hash}, "
    "PRIMARY KEY (node, sequence_number)) {table}",
    "CREATE UNIQUE INDEX activity_id ON activity (id)",
    "CREATE INDEX activity_node ON activity (node, happened, sequence_number)",
    "CREATE INDEX activity_happened ON activity (happened)",
    "CREATE INDEX activity_resource ON activity (resource_id, happened)",
    "CREATE INDEX activity_operation ON activity (operation, happened)",
    "CREATE TABLE IF NOT EXISTS activity_checkpoint (checkpoint_number {serial}, node {name}, "
    "sequence_number {number}, hash {hash}, happened {number}, authenticator {name}) "
    "{serial_table}",
    "CREATE TABLE IF NOT EXISTS lease (name {id}, node {name}, ends {number}, "
    "PRIMARY KEY (name)) {table}",
    "CREATE TABLE IF NOT EXISTS node (name {name}, last_seen {number}, usage_flushed {number}, "
    "PRIMARY KEY (name)) {table}",
    "CREATE TABLE IF NOT EXISTS setting (name {name}, content {long}, PRIMARY KEY (name)) {table}",
};

// Several notices of one recipient in one mail.
constexpr std::array<std::string_view, 3> digests{
    "ALTER TABLE notice ADD COLUMN first_attempt {number?}",
    "ALTER TABLE notice ADD COLUMN digest_id {name?}",
    "CREATE TABLE IF NOT EXISTS digest (id {id}, recipient {name}, created {number}, "
    "members {long}, PRIMARY KEY (id)) {table}",
};

// What an intent says is all that a received file needs, and in which order they were announced.
constexpr std::array<std::string_view, 3> whole_intents{
    "ALTER TABLE upload_intent ADD COLUMN size {number} DEFAULT 0",
    "ALTER TABLE upload_intent ADD COLUMN sha256 {id} DEFAULT ''",
    "ALTER TABLE upload_intent ADD COLUMN ordinal {number} DEFAULT 0",
};

// Tasks that were given up: never due, remembered until somebody asks for them again.
constexpr std::array<std::string_view, 1> given_up_tasks{
    "CREATE TABLE IF NOT EXISTS given_up_task (file_id {id}, kind {id}, happened {number}, "
    "PRIMARY KEY (file_id, kind)) {table}",
};

// A partner's PGP key may be good here for less long than its certificate says.
constexpr std::array<std::string_view, 1> pgp_keys_end_here{
    "ALTER TABLE pgp_key ADD COLUMN ends_here {number?}",
};

constexpr std::array all{Migration{1, "first", first}, Migration{2, "digests", digests},
                         Migration{3, "whole intents", whole_intents},
                         Migration{4, "given up tasks", given_up_tasks},
                         Migration{5, "PGP keys end here", pgp_keys_end_here}};

}  // namespace

std::span<const Migration> migrations() {
  return all;
}

}  // namespace sallyport::store

#include "daemon/keys/change.h"

#include <algorithm>

#include "daemon/http/router.h"

namespace sallyport::daemon {

namespace {

using lifecycle::Timer;
using store::KeyState;

std::string_view operation_of(KeyState state) {
  switch (state) {
    case KeyState::expired:
      return "EXPIRE";
    case KeyState::disabled_exposed:
      return "DISABLE_EXPOSED";
    case KeyState::disabled_for_inactivity:
      return "DISABLE_FOR_INACTIVITY";
    default:
      return "UPDATE";
  }
}

Json iso(base::Instant instant) {
  return base::format_iso(instant);
}

}  // namespace

bool may_view(const Caller& caller, const store::ApiKey& key) {
  if (key.groups_can_edit.empty() && key.groups_can_view.empty()) return true;
  return (!key.groups_can_edit.empty() && caller.in_any_group(key.groups_can_edit)) ||
         (!key.groups_can_view.empty() && caller.in_any_group(key.groups_can_view));
}

bool may_edit(const Caller& caller, const store::ApiKey& key) {
  if (caller.kind == CallerKind::local) return true;
  if (key.groups_can_edit.empty()) return key.groups_can_view.empty();
  return caller.in_any_group(key.groups_can_edit);
}

std::optional<base::Instant> last_warning_accepted(store::Unit& unit, const store::ApiKey& key,
                                                   const lifecycle::Policy& policy) {
  const auto cycle = base::to_unix(lifecycle::inactivity_clock(key));
  const std::int64_t tightest =
      policy.inactivity_warnings.empty() ? 0 : policy.inactivity_warnings.back().count();
  std::optional<base::Instant> first;
  for (const auto& row : store::subject_notices(
           unit, key_subject, key.id, notify::to_string(notify::Kind::key_inactive), cycle)) {
    if (row.offset != tightest || row.state != store::NoticeState::sent || !row.finished) continue;
    if (row.channel != store::Channel::mail) continue;
    if (!first || *row.finished < *first) first = row.finished;
  }
  return first;
}

void throw_not_found() {
  throw ProblemError(404, "API_KEY_NOT_FOUND", "There is no such API key, or you may not see it.");
}

void throw_refusal(const lifecycle::Guard& guard) {
  throw ProblemError(guard.status, guard.error_code, guard.detail);
}

KeyService::Change::Change(KeyService& service, store::Unit& unit, NoticeWriter& writer,
                           const Caller* caller, base::Instant now)
    : service_(service),
      unit_(unit),
      caller_(caller),
      now_(now),
      policy_(service.policy()),
      writer_(writer) {}

void KeyService::Change::load(const std::string& id) {
  auto found = store::find_key(unit_, id);
  if (!found) throw_not_found();
  if (caller_ != nullptr) {
    if (!may_view(*caller_, *found)) throw_not_found();
    if (!may_edit(*caller_, *found)) {
      throw ProblemError(403, "ACCESS_DENIED",
                         "You may view this key but not change it: it can be changed by its "
                         "groupsThatCanEdit only.");
    }
  }
  take(std::move(*found));
  settle();
}

void KeyService::Change::take(store::ApiKey key) {
  key_ = std::move(key);
}

lifecycle::Facts KeyService::Change::facts(std::optional<base::Instant> usage_known_until) {
  lifecycle::Facts out;
  out.hold_final = !service_.parts_.clock_guard.final_transitions_allowed();
  out.usage_known_until = usage_known_until;
  if (!lifecycle::needs_acceptance(key_, policy_, now_)) return out;
  out.warning_accepted = last_warning_accepted(unit_, key_, policy_);
  return out;
}

void KeyService::Change::settle(std::optional<base::Instant> usage_known_until) {
  auto evaluation = lifecycle::evaluate(key_, facts(usage_known_until), policy_, now_);
  key_ = std::move(evaluation.key);
  pending_ = evaluation.inactivity_pending;
  // Superseding comes before cancelling, so that the ledger says which of the two it was; and both
  // come before the new rows, which must not be hit.
  for (const auto& notice : evaluation.notices) writer_.supersede_wider(key_, notice);
  for (const Timer timer : evaluation.cancelled) writer_.cancel(key_, timer);
  for (const auto& notice : evaluation.notices) write(notice);
  for (const auto& transition : evaluation.transitions) {
    verification_ = true;
    note(std::string(operation_of(transition.to)),
         Json::object(
             {{"due", iso(transition.at)},
              {"status",
               Json::object(
                   {{"old", std::string(lifecycle::status_name(
                                transition.from == KeyState::enabled ? lifecycle::Status::enabled
                                : transition.from == KeyState::disabled
                                    ? lifecycle::Status::disabled
                                    : lifecycle::Status::disabled_for_inactivity))},
                    {"new", std::string(lifecycle::status_name(
                                lifecycle::displayed_status(key_, policy_, now_)))}})}}));
  }
}

void KeyService::Change::write(const lifecycle::PlannedNotice& notice) {
  writer_.write(key_, notice);
  note_notice(notice, writer_.recipients(key_, notice.kind));
}

void KeyService::Change::write_withdrawal(const lifecycle::PlannedNotice& notice) {
  writer_.write_withdrawal(key_, notice, caller_ != nullptr ? caller_->actor() : "scheduler");
  note_notice(notice, {});
}

void KeyService::Change::note_notice(const lifecycle::PlannedNotice& notice,
                                     const std::vector<Recipient>& to) {
  if (notice.state != store::NoticeState::pending) return;
  Json recipients = Json::array();
  for (const auto& recipient : to) recipients.push(recipient.address);
  note("NOTICE", Json::object({{"kind", std::string(notify::to_string(notice.kind))},
                               {"offsetSeconds", notice.offset.count()},
                               {"due", iso(notice.due)},
                               {"recipients", std::move(recipients)}}));
}

void KeyService::Change::note(std::string operation, Json changes) {
  ActivityEntry entry;
  entry.actor = caller_ != nullptr ? caller_->actor() : "scheduler";
  entry.source = caller_ != nullptr ? caller_->source : "";
  // What the rules did is nobody's deed, whoever's request made them look.
  const bool by_rule = operation == "NOTICE" || operation == "EXPIRE" ||
                       operation == "DISABLE_EXPOSED" || operation == "DISABLE_FOR_INACTIVITY";
  if (by_rule) {
    entry.actor = "scheduler";
    entry.source.clear();
  }
  entry.operation = std::move(operation);
  entry.resource_type = "API_KEY";
  entry.resource_id = key_.id;
  entry.resource_name = key_.display_name;
  entry.changes = std::move(changes);
  service_.parts_.activity.append(unit_, entry);
}

bool KeyService::Change::store() {
  if (!store::update_key(unit_, key_)) return false;
  ++key_.version;
  if (verification_) store::insert_key_change(unit_, key_.id, now_);
  return true;
}

void KeyService::Change::store_or_retry() {
  if (store()) return;
  throw store::Error(store::Failure::conflict, 0,
                     "the key " + key_.id + " was changed at the same time; try again");
}

void KeyService::Change::insert(const base::Sha256& value) {
  verification_ = true;
  store::insert_key(unit_, key_, value);
  store::insert_key_change(unit_, key_.id, now_);
}

void KeyService::Change::remove() {
  deleted_ = true;
  verification_ = true;
  writer_.cancel_all(key_);
  static_cast<void>(store::delete_key(unit_, key_.id));
  store::insert_key_change(unit_, key_.id, now_);
}

KeyService::Outcome KeyService::Change::outcome() {
  Outcome out;
  out.key = key_;
  out.deleted = deleted_;
  out.verification = verification_;
  out.pending = pending_ && !deleted_;
  out.lacks_administrators = writer_.lacks_administrators();
  out.mail = writer_.wrote_pending();
  if (verification_ && !deleted_) out.values = store::key_values(unit_, key_.id);
  return out;
}

}  // namespace sallyport::daemon

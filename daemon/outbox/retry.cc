#include "daemon/outbox/retry.h"

#include <algorithm>

#include "notify/facts.h"

namespace sallyport::daemon {

using store::NoticeState;

base::Seconds pause_after(std::int32_t attempts, const RetryPolicy& policy) {
  base::Seconds pause = policy.first;
  for (std::int32_t i = 1; i < attempts && pause < policy.most; ++i) pause *= 2;
  return std::min(pause, policy.most);
}

void apply(store::Notice& notice, const notify::Delivery& delivery, const RetryPolicy& policy,
           base::Instant now) {
  ++notice.attempts;
  notice.answer = delivery.answer;
  notice.claimed_by.clear();
  notice.claimed_until.reset();
  if (delivery.accepted()) {
    notice.state = NoticeState::sent;
    notice.finished = now;
    return;
  }
  const bool refused_here =
      delivery.outcome == notify::Outcome::permanent_failure && delivery.code == 0;
  // At least two attempts: one that was interrupted for a week is tried again.
  const base::Instant since = notice.first_attempt.value_or(std::max(notice.created, notice.due));
  const bool too_old = notice.attempts >= 2 && now - since >= policy.give_up;
  if (refused_here || too_old) {
    notice.state = NoticeState::failed;
    notice.finished = now;
    return;
  }
  notice.state = NoticeState::pending;
  notice.next_attempt = now + pause_after(notice.attempts, policy);
}

bool supersedes(const store::Notice& other, const store::Notice& notice) {
  if (other.recipient != notice.recipient || other.channel != notice.channel ||
      other.cycle != notice.cycle || notice.offset <= 0 ||
      other.state == NoticeState::not_applicable || other.state == NoticeState::cancelled)
    return false;
  if (other.kind == notice.kind) return other.offset >= 0 && other.offset < notice.offset;
  const auto warning = notify::parse_kind(notice.kind);
  const auto after = notify::parse_kind(other.kind);
  using notify::Kind;
  return (warning == Kind::key_expiring && after == Kind::key_expired) ||
         (warning == Kind::key_inactive && after == Kind::key_inactive_disabled) ||
         (warning == Kind::exposure_deadline && after == Kind::exposure_disabled) ||
         (warning == Kind::credential_expiring && after == Kind::credential_expired);
}

bool requeue_notice(store::Unit& unit, std::string_view id, base::Instant now) {
  const auto notice = store::find_notice(unit, id);
  if (!notice || notice->state != NoticeState::failed) return false;
  std::vector<store::Notice> together{*notice};
  if (!notice->digest_id.empty()) {
    if (const auto digest = store::find_digest(unit, notice->digest_id)) {
      for (const std::string& member : digest->members) {
        if (member == id) continue;
        if (auto other = store::find_notice(unit, member)) together.push_back(std::move(*other));
      }
    }
  }
  for (store::Notice& each : together) {
    if (each.state != NoticeState::failed) continue;
    each.state = NoticeState::pending;
    each.attempts = 0;
    each.first_attempt = now;  // the days of retrying are counted from here
    each.due = now;
    each.next_attempt = now;
    each.finished.reset();
    if (!store::update_notice(unit, each) && each.id == id) return false;
  }
  return true;
}

}  // namespace sallyport::daemon

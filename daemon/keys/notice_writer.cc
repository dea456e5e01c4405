#include "daemon/keys/notice_writer.h"

#include <algorithm>
#include <set>

#include "daemon/activity/activity_log.h"
#include "daemon/keys/key_checks.h"
#include "daemon/lifecycle/exposure.h"
#include "daemon/outbox/recipients.h"
#include "store/admins.h"

namespace sallyport::daemon {

namespace {

using lifecycle::PlannedNotice;
using lifecycle::Timer;
using notify::Kind;
using notify::Role;
using store::Channel;
using store::NoticeState;

/// An address without regard to case: no mail system tells people apart by it.
std::string folded(std::string_view address) {
  std::string out(address);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

class RecipientList {
 public:
  void add(const std::string& address, Role role) {
    if (address.empty() || !seen_.insert(folded(address)).second) return;
    list_.push_back({address, Channel::mail, role});
  }
  [[nodiscard]] bool empty() const { return list_.empty(); }
  std::vector<Recipient> take() { return std::move(list_); }

 private:
  std::set<std::string> seen_;
  std::vector<Recipient> list_;
};

bool is_expiry(Kind kind) {
  return kind == Kind::key_expiring || kind == Kind::key_expired;
}

bool is_exposure(Kind kind) {
  return kind == Kind::exposure_flagged || kind == Kind::exposure_reported ||
         kind == Kind::exposure_deadline || kind == Kind::exposure_disabled ||
         kind == Kind::exposure_critical || kind == Kind::exposure_withdrawn;
}

store::Notice row_of(const store::ApiKey& key, const PlannedNotice& notice,
                     const Recipient& recipient) {
  store::Notice row;
  row.subject_type = key_subject;
  row.subject_id = key.id;
  row.kind = notify::to_string(notice.kind);
  row.cycle = base::to_unix(notice.cycle);
  row.offset = notice.offset.count();
  row.recipient = recipient.address;
  row.channel = recipient.channel;
  row.role = notify::to_string(recipient.role);
  row.id = store::notice_id(row);
  return row;
}

}  // namespace

notify::KeyFacts key_facts(const store::ApiKey& key) {
  notify::KeyFacts facts;
  facts.id = key.id;
  facts.name = key.display_name;
  facts.masked_value = masked_value(key);
  facts.template_id = key.template_id;
  facts.privacy = key.is_public ? "PUBLIC" : "PRIVATE";
  if (key.contact) facts.contact = key.contact->first_name + " " + key.contact->last_name;
  facts.created_by = key.created_by;
  facts.created_at = key.created;
  facts.activated_at = key.activated;
  facts.last_used_at = key.last_used;
  return facts;
}

notify::ExposureFacts exposure_facts(const store::Exposure& exposure) {
  notify::ExposureFacts facts;
  facts.severity = lifecycle::severity_name(exposure.severity);
  facts.automated = exposure.automated;
  facts.reported_by = exposure.created_by;
  for (const auto& reason : exposure.reasons) {
    // Of a withdrawn exposure every reason is told, for none applies any more.
    if (!reason.applied && !exposure.withdrawn) continue;
    facts.suspicious_activity = facts.suspicious_activity || reason.suspicious_activity;
    facts.reasons.push_back({reason.reason, std::string(lifecycle::source_name(reason.source)),
                             reason.url, reason.created});
  }
  facts.withdrawn_reason = exposure.withdrawn_reason;
  return facts;
}

void NoticeWriter::load_administrators() {
  if (administrators_) return;
  administrators_.emplace();
  for (const auto& administrator : store::list_administrators(unit_)) {
    if (administrator.active && !administrator.email.empty()) {
      administrators_->push_back(administrator.email);
    }
  }
}

std::vector<Recipient> NoticeWriter::recipients(const store::ApiKey& key, Kind kind) {
  load_administrators();
  RecipientList list;
  for (const auto& address : *administrators_) list.add(address, Role::administrator);
  if (administrators_->empty()) {
    list.add(config_.notify.fallback, Role::fallback);
  }
  if (is_exposure(kind)) list.add(config_.notify.security_contact, Role::security_contact);
  if (is_expiry(kind) && key.contact) list.add(key.contact->email, Role::key_contact);
  std::vector<Recipient> out = list.take();
  for (std::string& name : webhooks_for(config_, kind)) {
    out.push_back({std::move(name), Channel::webhook, Role::webhook});
  }
  return out;
}

void NoticeWriter::insert(const store::ApiKey& key, const PlannedNotice& notice,
                          const std::vector<Recipient>& recipients,
                          const std::string& withdrawn_by) {
  notify::Facts facts;
  facts.kind = notice.kind;
  facts.offset = std::max(notice.offset, base::Seconds{0});
  facts.happened_at = now_;
  // The deadline as it is now: that of inactivity may have moved within its cycle.
  facts.deadline = notice.timer == Timer::inactivity ? notice.due + facts.offset : notice.cycle;
  facts.organization = config_.organization;
  facts.instance = node_name(config_);
  facts.link = config_.http.public_url;
  facts.key = key_facts(key);
  if (is_exposure(notice.kind) && key.exposure) {
    facts.exposure = exposure_facts(*key.exposure);
    facts.exposure->withdrawn_by = withdrawn_by;
  }
  for (const auto& recipient : recipients) {
    facts.role = recipient.role;
    store::Notice row = row_of(key, notice, recipient);
    row.facts = notify::to_json(facts);
    row.state = notice.state;
    row.created = now_;
    row.due = notice.due;
    row.next_attempt = now_;
    if (notice.state != NoticeState::pending) row.finished = now_;
    if (recipient.address.empty()) {
      row.state = NoticeState::failed;
      row.finished = now_;
      row.answer =
          "nobody to send it to: there is no active administrator and notify.fallback is not set";
    }
    const bool is_new = store::insert_notice(unit_, row);
    if (is_new && row.state == NoticeState::pending) wrote_pending_ = true;
  }
}

void NoticeWriter::supersede_wider(const store::ApiKey& key, const PlannedNotice& notice) {
  if (notice.state == NoticeState::not_applicable || notice.offset < base::Seconds{0}) return;
  const auto kind = lifecycle::warning_kind(notice.timer);
  static_cast<void>(store::supersede_notices(unit_, key_subject, key.id, notify::to_string(kind),
                                             base::to_unix(notice.cycle), notice.offset.count(),
                                             now_));
}

void NoticeWriter::write(const store::ApiKey& key, const PlannedNotice& notice) {
  std::vector<Recipient> to = recipients(key, notice.kind);
  const bool any_mail = std::any_of(
      to.begin(), to.end(), [](const Recipient& each) { return each.channel == Channel::mail; });
  // A notice for nobody is a visible failure, not silence.
  if (!any_mail && notice.state == NoticeState::pending) to.push_back({});
  insert(key, notice, to, {});
}

void NoticeWriter::write_withdrawal(const store::ApiKey& key, const PlannedNotice& notice,
                                    const std::string& withdrawn_by) {
  std::vector<Recipient> warned;
  std::set<std::string> seen;
  for (const auto& row : store::subject_notices(unit_, key_subject, key.id, {}, {})) {
    const auto kind = notify::parse_kind(row.kind);
    if (!kind || !is_exposure(*kind) || *kind == Kind::exposure_withdrawn) continue;
    if (row.created < key.exposure->created) continue;  // of an earlier exposure
    if (row.state != NoticeState::sent && row.state != NoticeState::claimed) continue;
    if (!seen.insert(folded(row.recipient) + "/" + std::to_string(static_cast<int>(row.channel)))
             .second) {
      continue;
    }
    warned.push_back(
        {row.recipient, row.channel, notify::parse_role(row.role).value_or(Role::administrator)});
  }
  for (const Kind kind :
       {Kind::exposure_flagged, Kind::exposure_reported, Kind::exposure_deadline}) {
    static_cast<void>(
        store::cancel_notices(unit_, key_subject, key.id, notify::to_string(kind), now_));
  }
  insert(key, notice, warned, withdrawn_by);
}

void NoticeWriter::cancel(const store::ApiKey& key, Timer timer) {
  static_cast<void>(store::cancel_notices(unit_, key_subject, key.id,
                                          notify::to_string(lifecycle::warning_kind(timer)), now_));
}

void NoticeWriter::cancel_all(const store::ApiKey& key) {
  for (const Timer timer : {Timer::expiry, Timer::inactivity, Timer::exposure}) {
    cancel(key, timer);
  }
}

}  // namespace sallyport::daemon

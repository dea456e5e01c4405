// One key in one unit of work: brought up to now, changed, brought up to now again, and written
// back with everything that follows from it. For KeyService's own files only.
#pragma once

#include <string>
#include <vector>

#include "daemon/keys/key_service.h"
#include "daemon/keys/notice_writer.h"

namespace sallyport::daemon {

/// What has to happen after the commit.
struct KeyService::Outcome {
  store::ApiKey key;
  std::vector<store::KeyValue> values;
  bool deleted = false;
  bool verification = false;  ///< verification has to hear of it
  bool pending = false;       ///< past its inactivity deadline for want of an accepted warning
  std::optional<bool> lacks_administrators;  ///< where recipients were looked for
  bool mail = false;                         ///< the outbox has something to do
};

class KeyService::Change {
 public:
  /// `caller` is null for the scheduler.
  Change(KeyService& service, store::Unit& unit, NoticeWriter& writer, const Caller* caller,
         base::Instant now);

  /// Reads the key and brings it up to now; 404 if the caller may not see it, 403 if the caller may
  /// see but not edit it.
  void load(const std::string& id);
  void take(store::ApiKey key);
  /// Applies what the rules say at now.
  void settle(std::optional<base::Instant> usage_known_until);
  void settle() { settle(base::Instant{}); }  // the end for inactivity belongs to the pass

  void write(const lifecycle::PlannedNotice& notice);
  void write_withdrawal(const lifecycle::PlannedNotice& notice);
  void note(std::string operation, Json changes = {});
  /// Writes the key back; false if somebody else changed it meanwhile.
  [[nodiscard]] bool store();
  /// As store(), but the whole unit is run again where it would be false.
  void store_or_retry();
  void insert(const base::Sha256& value);
  void remove();

  [[nodiscard]] store::ApiKey& key() { return key_; }
  [[nodiscard]] store::Unit& unit() { return unit_; }
  [[nodiscard]] base::Instant now() const { return now_; }
  [[nodiscard]] const lifecycle::Policy& policy() const { return policy_; }
  [[nodiscard]] NoticeWriter& writer() { return writer_; }
  void must_verify() { verification_ = true; }

  [[nodiscard]] Outcome outcome();

 private:
  [[nodiscard]] lifecycle::Facts facts(std::optional<base::Instant> usage_known_until);
  void note_notice(const lifecycle::PlannedNotice& notice, const std::vector<Recipient>& to);

  KeyService& service_;
  store::Unit& unit_;
  const Caller* caller_;
  base::Instant now_;
  lifecycle::Policy policy_;
  NoticeWriter& writer_;
  store::ApiKey key_;
  bool verification_ = false;
  bool pending_ = false;
  bool deleted_ = false;
};

/// True if a caller may see the key (section 1: groups).
[[nodiscard]] bool may_view(const Caller& caller, const store::ApiKey& key);
[[nodiscard]] bool may_edit(const Caller& caller, const store::ApiKey& key);
/// When a mail server first took the tightest inactivity warning of the key's present cycle.
[[nodiscard]] std::optional<base::Instant> last_warning_accepted(store::Unit& unit,
                                                                 const store::ApiKey& key,
                                                                 const lifecycle::Policy& policy);
[[noreturn]] void throw_not_found();
[[noreturn]] void throw_refusal(const lifecycle::Guard& guard);

}  // namespace sallyport::daemon

// Every operation on API keys: create, read, change, end, report, in the name of a Caller
// (spec/api-keys.md 1 to 7 and 9).
//
// Each operation is one unit of work on the store: the key brought up to `now` by the rules of
// daemon/lifecycle, the change, the notices and activity that follow from it, and the row by which
// other nodes learn of it. After the commit and before the call returns the KeyObserver (this
// node's verification) has taken the change in, and the scheduler and the outbox have been woken.
//
// Threads: any, several at once. Failures: ProblemError with what to do instead (404 for a key that
// does not exist or that the caller may not see), store::Error, both leaving everything as it was.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/locked.h"
#include "base/secret.h"
#include "daemon/activity/activity_log.h"
#include "daemon/config/config.h"
#include "daemon/health.h"
#include "daemon/http/caller.h"
#include "daemon/keys/key_input.h"
#include "daemon/keys/templates.h"
#include "daemon/lifecycle/events.h"
#include "daemon/lifecycle/exposure.h"
#include "daemon/lifecycle/status.h"
#include "daemon/scheduler/due_work.h"
#include "daemon/verify/key_observer.h"
#include "store/keys.h"
#include "store/store.h"

namespace sallyport::daemon {

class NoticeWriter;

/// What the service works with; all of it outlives the service.
struct KeyServiceParts {
  store::Store& store;
  const LiveConfig& config;
  const base::Clock& clock;
  const KeyTemplates& templates;
  const ActivityLog& activity;
  Health& health;
  Waker& waker;
  KeyObserver& observer;
  const ClockGuard& clock_guard;
};

/// A key with its value: only ever given by the call that made the value.
struct NewKey {
  store::ApiKey key;
  base::Secret value;
};

/// By exactly one of these.
struct KeyReference {
  std::string id;
  std::string value;
  std::optional<base::Sha256> sha256;
};

struct ExposureAnswer {
  store::ApiKey key;
  lifecycle::ReportOutcome outcome{};
};

/// The filters of the list (section 9).
enum class KeyFilter {
  all,
  active,
  soon_to_be_disabled,
  soon_to_be_expired,
  active_and_exposed,
  with_warning,
  all_exposed,
  deactivated
};
[[nodiscard]] std::optional<KeyFilter> parse_key_filter(std::string_view name);
[[nodiscard]] bool matches(KeyFilter filter, const store::ApiKey& key,
                           const lifecycle::Policy& policy, base::Instant now);

[[nodiscard]] lifecycle::Policy lifecycle_policy(const Config& config);

class KeyService {
 public:
  explicit KeyService(const KeyServiceParts& parts);
  ~KeyService();
  KeyService(const KeyService&) = delete;
  KeyService& operator=(const KeyService&) = delete;

  [[nodiscard]] NewKey create(const Caller& caller, const std::string& template_id,
                              const KeyInput& input);
  [[nodiscard]] NewKey duplicate(const Caller& caller, const std::string& id,
                                 const KeyInput& input);
  /// The old value ends now, or after `overlap`.
  [[nodiscard]] NewKey regenerate(const Caller& caller, const std::string& id,
                                  base::Seconds overlap);

  [[nodiscard]] store::ApiKey get(const Caller& caller, const std::string& id);
  /// All that the caller may see, in order of id. There may be a million: one at a time.
  void each(const Caller& caller, KeyFilter filter,
            const std::function<void(store::ApiKey&)>& take);
  [[nodiscard]] std::vector<store::ApiKey> list(const Caller& caller, KeyFilter filter);

  store::ApiKey update(const Caller& caller, const std::string& id, const KeyInput& input);
  store::ApiKey activate(const Caller& caller, const std::string& id);
  store::ApiKey disable(const Caller& caller, const std::string& id);
  store::ApiKey revoke(const Caller& caller, const std::string& id);
  store::ApiKey extend(const Caller& caller, const std::string& id);
  void remove(const Caller& caller, const std::string& id);
  /// activate, disable or remove; all or nothing: one refusal refuses all and names the key.
  void bulk(const Caller& caller, lifecycle::Event event, const std::vector<std::string>& ids);

  [[nodiscard]] ExposureAnswer report_exposure(const Caller& caller, const KeyReference& reference,
                                               lifecycle::ExposureReport report);
  /// As report_exposure() for feeds: nullopt for a value that is no key's.
  [[nodiscard]] std::optional<ExposureAnswer> report_exposed_value(
      const Caller& caller, const base::Sha256& value, lifecycle::ExposureReport report);
  store::ApiKey withdraw_exposure(const Caller& caller, const std::string& id,
                                  const std::string& reason);

  /// Privileges of the template that the caller does not hold.
  [[nodiscard]] std::vector<store::Privilege> missing_privileges(const Caller& caller,
                                                                 const KeyTemplate& tmpl) const;

  /// The names of groups by id, for showing access lists.
  [[nodiscard]] std::map<std::string, std::string> group_names();

  /// One batch of due keys; true if there are more. `usage_known_until` as in lifecycle::Facts.
  bool run_lifecycle(base::Instant now, std::optional<base::Instant> usage_known_until);
  /// A mail server took an inactivity warning: the key may no longer be pending. Never throws.
  void warning_accepted(std::string_view key_id) noexcept;

  /// For daemon/keys/key_import.h: a checked key goes into the store with what follows from it, and
  /// after the commit everybody hears of them.
  static void insert_imported(KeyService& service, store::Unit& unit, NoticeWriter& writer,
                              const Caller& caller, base::Instant now, store::ApiKey& key,
                              const base::Sha256& value);
  void announce_imported(const std::vector<store::ApiKey>& keys);

  [[nodiscard]] const KeyServiceParts& parts() const { return parts_; }
  [[nodiscard]] lifecycle::Policy policy() const { return lifecycle_policy(*parts_.config.get()); }

 private:
  class Change;
  friend class Change;
  struct Outcome;

  store::ApiKey change(const Caller& caller, const std::string& id, lifecycle::Event event,
                       const std::function<void(Change&)>& apply);
  [[nodiscard]] std::optional<ExposureAnswer> report(const Caller& caller,
                                                     const KeyReference& reference,
                                                     lifecycle::ExposureReport report,
                                                     bool check_access);
  void finish(const Outcome& outcome);
  void finish_in_pass(const Outcome& outcome);
  void record_refusal(const Caller& caller, lifecycle::Event event, std::string_view id,
                      const std::string& error_code);
  void set_pending(std::string_view id, bool pending);

  KeyServiceParts parts_;
  base::Locked<std::map<std::string, bool, std::less<>>> pending_;
};

}  // namespace sallyport::daemon

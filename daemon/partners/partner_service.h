// Partners and their keys: made, changed, suspended, in the name of a Caller (spec/gateway.md 1).
//
// Every change is one unit of work with its row of the activity log. After the commit sessions that
// may no longer be are ended, before the call returns.
//
// Threads: any. Failures: ProblemError that says what to do instead, store::Error, base::Error of
// the file system; a partner whose directories could not be made does not exist.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/secret.h"
#include "daemon/activity/activity_log.h"
#include "daemon/config/options.h"
#include "daemon/http/caller.h"
#include "daemon/scheduler/due_work.h"
#include "pgp/pgp.h"
#include "store/partners.h"
#include "store/store.h"

namespace sallyport::daemon {

/// The sessions of partners, as far as a change has to end them. The broker server implements it.
class SessionControl {
 public:
  virtual ~SessionControl() = default;
  /// All of the partner, or those that logged in with the key of that fingerprint.
  virtual void end_sessions(std::string_view partner, std::string_view fingerprint,
                            const std::string& sentence) = 0;
  /// Ends those of the partner that would not be let in any more; as soon as the store can tell.
  virtual void review_sessions(const std::string& partner) = 0;
  struct Session {
    std::string partner;
    std::string address;
    std::string banner;
    std::string fingerprint;
    base::Instant since{};
  };
  [[nodiscard]] virtual std::vector<Session> sessions() = 0;
};

struct PartnerInput {
  std::optional<std::vector<std::string>> emails;
  std::optional<std::vector<std::string>> allowed_ips;
  std::optional<std::string> auth;
  std::optional<std::string> policies;  ///< JSON
};

struct PartnerView {
  store::Partner partner;
  std::vector<store::SshKey> ssh_keys;
  std::vector<store::PgpKey> pgp_keys;
};

struct PartnerServiceParts {
  store::Store& store;
  const LiveConfig& config;
  const base::Clock& clock;
  const ActivityLog& activity;
  Waker& waker;
  pgp::Engine* pgp = nullptr;  ///< none: the gateway is off, PGP keys cannot be added
};

class PartnerService {
 public:
  explicit PartnerService(const PartnerServiceParts& parts) : parts_(parts) {}
  /// Set once before threads start.
  void set_sessions(SessionControl& sessions) { sessions_ = &sessions; }
  /// Told after the commit that a partner, its policies or a PGP key is new or changed, in the
  /// thread that did it. Set once before threads start.
  void set_observer(std::function<void()> changed) { changed_ = std::move(changed); }

  PartnerView create(const Caller& caller, const std::string& name, const PartnerInput& input);
  [[nodiscard]] PartnerView get(const std::string& name);
  [[nodiscard]] std::vector<PartnerView> list();
  PartnerView update(const Caller& caller, const std::string& name, const PartnerInput& input);
  PartnerView suspend(const Caller& caller, const std::string& name);
  PartnerView resume(const Caller& caller, const std::string& name);
  /// An empty password removes it.
  void set_password(const Caller& caller, const std::string& name, const base::Secret& password);

  store::SshKey add_ssh_key(const Caller& caller, const std::string& name, std::string_view text,
                            const std::string& label, std::optional<base::Instant> expires);
  void remove_ssh_key(const Caller& caller, const std::string& name, const std::string& id);
  store::PgpKey add_pgp_key(const Caller& caller, const std::string& name, std::string_view text,
                            const std::string& label,
                            std::optional<base::Instant> expires = std::nullopt);
  void remove_pgp_key(const Caller& caller, const std::string& name, const std::string& id);

  // Our own PGP keys.
  store::PgpKey make_own_key(const Caller& caller, const pgp::OwnKeyRequest& request);
  store::PgpKey import_own_key(const Caller& caller, std::string_view secret_key,
                               const std::string& label);
  [[nodiscard]] std::vector<store::PgpKey> own_keys();

  [[nodiscard]] base::Instant now() const { return parts_.clock.now(); }
  /// Makes the missing directories of every partner: at start and after a reload.
  void make_all_directories();

 private:
  [[nodiscard]] pgp::Engine& pgp() const;
  void tell_of_change() const noexcept;
  PartnerView change(const Caller& caller, const std::string& name, const std::string& operation,
                     const std::function<Json(store::Partner&)>& apply);
  store::PgpKey keep_pgp_key(store::Unit& unit, const std::string& partner, const pgp::Key& key,
                             const std::string& label, const std::string& armoured,
                             std::optional<base::Instant> expires = std::nullopt);
  void log(store::Unit& unit, const Caller& caller, const std::string& operation,
           const std::string& partner, Json changes) const;

  PartnerServiceParts parts_;
  SessionControl* sessions_ = nullptr;
  std::function<void()> changed_;
};

}  // namespace sallyport::daemon

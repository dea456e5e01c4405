// Administrators, their groups, and the tokens that people and gateways present, changed in the
// name of a Caller (spec/api-keys.md 8 and 9).
//
// Every change is one unit of work with its row of the activity log; the observers hear of it after
// the commit and before the call returns, so a revoked token is refused on the next request. A
// token's value is returned once and kept as its SHA-256 only.
//
// Threads: any. Failures: ProblemError that says what to do instead, store::Error.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/secret.h"
#include "daemon/activity/activity_log.h"
#include "daemon/config/config.h"
#include "daemon/http/caller.h"
#include "daemon/scheduler/due_work.h"
#include "store/admins.h"

namespace sallyport::daemon {

/// Made with the first administrator: holds every privilege there is ("*/*"), for administrators
/// that are made without naming a group.
inline constexpr std::string_view administrators_group = "Administrators";

/// Of credentials that expire; the scheduler's DueWork of that name announces it.
inline constexpr std::string_view credentials_work = "credentials";

struct NewToken {
  store::Token token;
  base::Secret value;
};

struct AdminServiceParts {
  store::Store& store;
  const LiveConfig& config;
  const base::Clock& clock;
  const ActivityLog& activity;
  Waker& waker;
  std::vector<AccessObserver*> observers;
};

class AdminService {
 public:
  explicit AdminService(AdminServiceParts parts) : parts_(std::move(parts)) {}

  /// `groups` are names or ids; none = the built-in group, made if it is missing.
  store::Administrator create(const Caller& caller, const std::string& email,
                              const std::string& name, const std::vector<std::string>& groups);
  [[nodiscard]] std::vector<store::Administrator> list();
  /// By id or e-mail address.
  [[nodiscard]] store::Administrator get(const std::string& who);
  store::Administrator set_active(const Caller& caller, const std::string& who, bool active);
  store::Administrator set_groups(const Caller& caller, const std::string& who,
                                  const std::vector<std::string>& groups);

  store::Group put_group(const Caller& caller, const std::string& name,
                         const std::vector<std::string>& privileges);
  [[nodiscard]] std::vector<store::Group> groups();
  void delete_group(const Caller& caller, const std::string& name);

  NewToken create_access_token(const Caller& caller, const std::string& who,
                               const std::string& label, std::optional<base::Period> lifetime);
  NewToken create_gateway_token(const Caller& caller, const std::string& label,
                                std::optional<base::Period> lifetime);
  [[nodiscard]] std::vector<store::Token> tokens(store::TokenKind kind);
  void revoke_token(const Caller& caller, const std::string& id);

 private:
  void changed();
  void log(store::Unit& unit, const Caller& caller, const std::string& operation,
           const std::string& type, const std::string& id, const std::string& name,
           Json changes) const;
  NewToken create_token(const Caller& caller, store::Token token,
                        const std::string& administrator_email,
                        std::optional<base::Period> lifetime);

  AdminServiceParts parts_;
};

}  // namespace sallyport::daemon

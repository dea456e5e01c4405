// Who makes a request, and what they may do (spec/api-keys.md 9). Plain values: every operation of
// a service takes the Caller it acts for.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "store/admins.h"

namespace sallyport::daemon {

enum class CallerKind {
  none,           ///< nobody has been recognised: public routes only
  administrator,  ///< an access token over TCP
  feed,           ///< an automated report; its name is in `email`, and it holds nothing
  local           ///< root or a member of sallyport-admin on admin.sock: may do everything
};

struct Caller {
  CallerKind kind = CallerKind::none;
  std::string administrator_id;  ///< empty for local callers
  std::string email;             ///< empty for local callers
  unsigned uid = 0;              ///< local callers
  std::vector<std::string> groups;
  std::vector<store::Privilege> privileges;  ///< of all groups; local callers hold everything
  std::string source;                        ///< "192.0.2.7" or "admin.sock", for the activity log

  /// For the activity log and createdBy: the e-mail address, or "uid:1000".
  [[nodiscard]] std::string actor() const;
  [[nodiscard]] bool holds(const store::Privilege& wanted) const;
  /// True for local callers and members of one of `allowed`; empty = everybody.
  [[nodiscard]] bool in_any_group(const std::vector<std::string>& allowed) const;
};

/// True if holding `held` is enough where `wanted` is asked for: same owner and domain; no type
/// wanted = any type, EDIT implies VIEW; an untargeted or "*" privilege covers every target, and
/// only such a one covers a wish without target. Used alike for callers, for what a caller may
/// grant and for `?require=`.
[[nodiscard]] bool covers(const store::Privilege& held, const store::Privilege& wanted);

/// "OWNER/DOMAIN[/TYPE][@TARGET]"
[[nodiscard]] std::string format_privilege(const store::Privilege& privilege);

/// Told by whoever changes administrators, groups or tokens, after the commit and before the call
/// returns, so that a revoked token is refused on the next request. Any thread.
class AccessObserver {
 public:
  virtual ~AccessObserver() = default;
  virtual void access_changed() = 0;
};

/// Several observers as one; add all before the first change.
class AccessObservers final : public AccessObserver {
 public:
  void add(AccessObserver& observer) { observers_.push_back(&observer); }
  void access_changed() override {
    for (AccessObserver* observer : observers_) observer->access_changed();
  }

 private:
  std::vector<AccessObserver*> observers_;
};

}  // namespace sallyport::daemon

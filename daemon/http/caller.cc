#include "daemon/http/caller.h"

#include <algorithm>

namespace sallyport::daemon {

std::string Caller::actor() const {
  switch (kind) {
    case CallerKind::administrator:
    case CallerKind::feed:
      return email;
    case CallerKind::local:
      return "uid:" + std::to_string(uid);
    case CallerKind::none:
      break;
  }
  return "anonymous";
}

bool Caller::holds(const store::Privilege& wanted) const {
  if (kind == CallerKind::local) return true;
  if (kind != CallerKind::administrator) return false;
  // "*/*" is for groups alone: covers() does not know it, so that no key holds everything by it.
  return std::any_of(privileges.begin(), privileges.end(), [&](const store::Privilege& held) {
    return (held.owner == "*" && held.target_domain == "*") || covers(held, wanted);
  });
}

bool Caller::in_any_group(const std::vector<std::string>& allowed) const {
  if (kind == CallerKind::local || allowed.empty()) return true;
  return std::any_of(groups.begin(), groups.end(), [&](const std::string& group) {
    return std::find(allowed.begin(), allowed.end(), group) != allowed.end();
  });
}

bool covers(const store::Privilege& held, const store::Privilege& wanted) {
  if (held.owner != wanted.owner || held.target_domain != wanted.target_domain) return false;
  const bool type = wanted.type.empty() || held.type == wanted.type ||
                    (held.type == "EDIT" && wanted.type == "VIEW");
  const bool every_target = held.target_id.empty() || held.target_id == "*";
  return type && (every_target || held.target_id == wanted.target_id);
}

std::string format_privilege(const store::Privilege& privilege) {
  std::string text = privilege.owner + '/' + privilege.target_domain;
  if (!privilege.type.empty()) text += '/' + privilege.type;
  if (!privilege.target_id.empty()) text += '@' + privilege.target_id;
  return text;
}

}  // namespace sallyport::daemon

#include "daemon/keys/privileges.h"

#include <algorithm>
#include <tuple>

#include "base/bytes.h"

namespace sallyport::daemon {

namespace {

constexpr std::size_t name_limit = 64;
constexpr std::size_t target_limit = 256;

bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= name_limit &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                  c == '_' || c == '-' || c == '.';
         });
}

bool is_target(std::string_view text) {
  return text.size() <= target_limit && base::is_utf8(text) && !base::has_control(text);
}

std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return out;
}

constexpr std::string_view name_rule =
    " must be 1 to 64 letters, digits, '_', '-' or '.', such as SEARCH_API.";

}  // namespace

std::optional<store::Privilege> parse_privilege(std::string_view text) {
  store::Privilege privilege;
  if (const auto at = text.find('@'); at != std::string_view::npos) {
    privilege.target_id = text.substr(at + 1);
    if (privilege.target_id.empty()) return std::nullopt;
    text = text.substr(0, at);
  }
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  privilege.owner = text.substr(0, slash);
  text = text.substr(slash + 1);
  if (const auto second = text.find('/'); second != std::string_view::npos) {
    privilege.type = text.substr(second + 1);
    if (privilege.type.empty()) return std::nullopt;
    text = text.substr(0, second);
  }
  privilege.target_domain = text;
  if (privilege_problem(privilege)) return std::nullopt;
  return privilege;
}

std::optional<std::string> privilege_problem(const store::Privilege& privilege) {
  if (!is_name(privilege.owner)) return "The owner of a privilege" + std::string(name_rule);
  if (!is_name(privilege.target_domain)) {
    return "The targetDomain of a privilege" + std::string(name_rule);
  }
  if (!privilege.type.empty() && !is_name(privilege.type)) {
    return "The type of a privilege" + std::string(name_rule);
  }
  if (!is_target(privilege.target_id)) {
    return std::string(
        "The targetId of a privilege must be at most 256 bytes without control characters.");
  }
  return std::nullopt;
}

std::optional<std::string> permission_problem(const store::Permission& permission) {
  if (!is_name(permission.object)) return "The object of a permission" + std::string(name_rule);
  if (!is_name(permission.action)) return "The action of a permission" + std::string(name_rule);
  return std::nullopt;
}

bool is_key_management(const store::Privilege& privilege) {
  return upper(privilege.target_domain) == "API_KEY";
}

const store::Privilege* forbidden_by(const std::vector<store::Privilege>& forbidden,
                                     const store::Privilege& privilege) {
  store::Privilege plain = privilege;
  plain.owner = upper(plain.owner);
  plain.target_domain = upper(plain.target_domain);
  plain.type = upper(plain.type);
  plain.target_id.clear();
  for (const auto& each : forbidden) {
    if (covers(plain, each)) return &each;
  }
  return nullptr;
}

std::vector<store::Privilege> missing(const Caller& caller,
                                      const std::vector<store::Privilege>& privileges) {
  std::vector<store::Privilege> out;
  for (const auto& privilege : privileges) {
    if (!caller.holds(privilege)) out.push_back(privilege);
  }
  return out;
}

bool same_privileges(std::vector<store::Privilege> a, std::vector<store::Privilege> b) {
  const auto less = [](const store::Privilege& x, const store::Privilege& y) {
    return std::tie(x.owner, x.target_domain, x.type, x.target_id) <
           std::tie(y.owner, y.target_domain, y.type, y.target_id);
  };
  std::sort(a.begin(), a.end(), less);
  std::sort(b.begin(), b.end(), less);
  return a == b;
}

bool same_permissions(std::vector<store::Permission> a, std::vector<store::Permission> b) {
  const auto less = [](const store::Permission& x, const store::Permission& y) {
    return std::tie(x.object, x.action) < std::tie(y.object, y.action);
  };
  std::sort(a.begin(), a.end(), less);
  std::sort(b.begin(), b.end(), less);
  return a == b;
}

}  // namespace sallyport::daemon

#include "daemon/verify/profile.h"

#include <algorithm>

#include "base/log.h"
#include "daemon/http/caller.h"
#include "daemon/http/uri.h"
#include "daemon/verify/client_address.h"

namespace sallyport::daemon {

namespace {

/// A gateway's buffer for a whole answer is 4 KiB (nginx on small pages).
constexpr std::size_t max_header_value = 2048;
/// Keys with lists of their own each need a profile of their own: remembering those is useless.
constexpr std::size_t max_remembered = 4096;

bool same_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
    return lower(x) == lower(y);
  });
}

std::vector<IpRange> parse_ranges(const std::vector<std::string>& texts, bool& broken) {
  std::vector<IpRange> ranges;
  for (const std::string& text : texts) {
    if (const auto range = IpRange::from(text)) {
      ranges.push_back(*range);
    } else {
      broken = true;
    }
  }
  return ranges;
}

void append_part(std::string& out, std::string_view part) {
  out.append(std::to_string(part.size())).append(":").append(part);
}

std::string content_of(const Profile& profile) {
  std::string out;
  append_part(out, profile.has_permissions ? "p" : "-");
  append_part(out, profile.permissions_enabled ? "e" : "-");
  for (const auto& held : profile.privileges) {
    for (const auto* part : {&held.owner, &held.target_domain, &held.type, &held.target_id}) {
      append_part(out, *part);
    }
  }
  out += '|';
  for (const auto& held : profile.permissions) {
    append_part(out, held.object);
    append_part(out, held.action);
  }
  out += '|';
  for (const IpRange& range : profile.allowed) append_part(out, range.to_string());
  out += '|';
  for (const IpRange& range : profile.denied) append_part(out, range.to_string());
  return out;
}

}  // namespace

struct ProfilePool::Facts {
  std::string_view key_id;
  std::string_view template_id;
  std::vector<store::Privilege> privileges;
  bool permissions_enabled = false;
  std::vector<store::Permission> permissions;
  std::vector<std::string> allowed_ips;
  std::vector<std::string> denied_ips;
};

AddressVerdict Profile::check(const std::optional<IpAddress>& client) const {
  if (!restricted_by_address()) return AddressVerdict::allowed;
  if (!client) return AddressVerdict::unknown;
  if (in_any(denied, *client)) return AddressVerdict::denied;
  if (!allowed.empty() && !in_any(allowed, *client)) return AddressVerdict::not_listed;
  return AddressVerdict::allowed;
}

bool Profile::grants(const Requirement& wanted,
                     const std::vector<std::string>& restricted_domains) const {
  if (const auto* privilege = std::get_if<store::Privilege>(&wanted)) {
    return std::any_of(privileges.begin(), privileges.end(),
                       [&](const store::Privilege& held) { return covers(held, *privilege); });
  }
  const auto& permission = std::get<store::Permission>(wanted);
  if (!has_permissions) return false;
  if (permissions_enabled) {
    return std::find(permissions.begin(), permissions.end(), permission) != permissions.end();
  }
  return std::none_of(
      restricted_domains.begin(), restricted_domains.end(),
      [&](const std::string& domain) { return same_ignoring_case(domain, permission.object); });
}

std::shared_ptr<const Profile> ProfilePool::make(Facts facts) const {
  auto profile = std::make_shared<Profile>();
  profile->has_permissions =
      std::find(rules_.permission_templates.begin(), rules_.permission_templates.end(),
                facts.template_id) != rules_.permission_templates.end();
  profile->privileges = std::move(facts.privileges);
  profile->permissions_enabled = facts.permissions_enabled;
  profile->permissions = std::move(facts.permissions);
  bool broken = false;
  profile->allowed = parse_ranges(facts.allowed_ips, broken);
  profile->denied = parse_ranges(facts.denied_ips, broken);
  if (broken) {
    // A list that cannot be read must not open the key to the world.
    base::log_error(
        "verify.bad_address_list", {{"key", std::string(facts.key_id)}},
        "key {} has an IP list that cannot be read: it is refused from everywhere until "
        "its lists are set again",
        facts.key_id);
    profile->denied = {*IpRange::from("0.0.0.0/0"), *IpRange::from("::/0")};
  }

  std::vector<std::string> items;
  for (const auto& held : profile->privileges) items.push_back(format_privilege(held));
  if (profile->has_permissions && profile->permissions_enabled) {
    for (const auto& held : profile->permissions) items.push_back(held.object + ':' + held.action);
  } else if (profile->has_permissions) {
    items.emplace_back("*:*");
    for (const std::string& domain : rules_.restricted_domains)
      items.push_back('!' + domain + ":*");
  }
  for (const std::string& item : items) {
    const std::string encoded = header_encode(item, ", ");
    if (profile->privileges_header.size() + encoded.size() + 1 > max_header_value) {
      profile->header_cut = true;
      break;
    }
    if (!profile->privileges_header.empty()) profile->privileges_header += ',';
    profile->privileges_header += encoded;
  }
  profile->privileges_header.shrink_to_fit();
  return profile;
}

std::shared_ptr<const Profile> ProfilePool::intern(std::shared_ptr<const Profile> profile) {
  if (by_content_.size() >= max_remembered) by_content_.clear();
  return by_content_.try_emplace(content_of(*profile), profile).first->second;
}

std::shared_ptr<const Profile> ProfilePool::of(const store::ApiKey& key) {
  return intern(make({key.id, key.template_id, key.privileges, key.permissions_enabled,
                      key.permissions, key.allowed_ips, key.denied_ips}));
}

std::shared_ptr<const Profile> ProfilePool::of(const store::VerifyRow& row) {
  std::string& text = text_;
  text.clear();
  for (const auto* part :
       {&row.template_id, &row.privileges, &row.permissions, &row.allowed_ips, &row.denied_ips}) {
    append_part(text, *part);
  }
  text += row.permissions_enabled ? 'e' : '-';
  if (const auto known = by_text_.find(text); known != by_text_.end()) return known->second;
  auto profile =
      intern(make({row.key_id, row.template_id, store::parse_privileges(row.privileges),
                   row.permissions_enabled, store::parse_permissions(row.permissions),
                   store::parse_strings(row.allowed_ips), store::parse_strings(row.denied_ips)}));
  if (by_text_.size() >= max_remembered) by_text_.clear();
  return by_text_.try_emplace(text, std::move(profile)).first->second;
}

}  // namespace sallyport::daemon

// What a key may do and from where: the part of its facts that many keys share, kept once.
//
// Immutable after it is made; safe from any thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "daemon/net/ip.h"
#include "daemon/verify/require.h"
#include "store/keys.h"

namespace sallyport::daemon {

enum class AddressVerdict { allowed, unknown, denied, not_listed };

struct Profile {
  std::vector<store::Privilege> privileges;
  bool has_permissions = false;      ///< of a template with objects and actions
  bool permissions_enabled = false;  ///< false: everything but restricted domains
  std::vector<store::Permission> permissions;
  std::vector<IpRange> allowed;
  std::vector<IpRange> denied;
  std::string privileges_header;  ///< ready for X-Key-Privileges
  bool header_cut = false;        ///< it did not fit

  [[nodiscard]] bool restricted_by_address() const { return !allowed.empty() || !denied.empty(); }
  /// A match in `denied` wins; a restricted key without an address is denied.
  [[nodiscard]] AddressVerdict check(const std::optional<IpAddress>& client) const;
  [[nodiscard]] bool grants(const Requirement& wanted,
                            const std::vector<std::string>& restricted_domains) const;
};

/// How the rules that are not in a key's own facts are set.
struct ProfileRules {
  std::vector<std::string> permission_templates = {"INTEGRATION"};
  std::vector<std::string> restricted_domains = {"SIM", "SUPPLIER_RISK"};

  friend bool operator==(const ProfileRules&, const ProfileRules&) = default;
};

/// Makes profiles and gives equal ones out as one object, as far as its bounded memory goes. Not
/// thread-safe.
class ProfilePool {
 public:
  explicit ProfilePool(ProfileRules rules) : rules_(std::move(rules)) {}
  [[nodiscard]] std::shared_ptr<const Profile> of(const store::ApiKey& key);
  [[nodiscard]] std::shared_ptr<const Profile> of(const store::VerifyRow& row);
  [[nodiscard]] const ProfileRules& rules() const { return rules_; }

 private:
  struct Facts;
  [[nodiscard]] std::shared_ptr<const Profile> intern(std::shared_ptr<const Profile> profile);
  [[nodiscard]] std::shared_ptr<const Profile> make(Facts facts) const;

  ProfileRules rules_;
  std::unordered_map<std::string, std::shared_ptr<const Profile>> by_text_;  ///< store's own text
  std::unordered_map<std::string, std::shared_ptr<const Profile>> by_content_;
  std::string text_;  ///< of the row that was looked up last: its memory is used again
};

}  // namespace sallyport::daemon

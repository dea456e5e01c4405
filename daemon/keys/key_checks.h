// The rules for the fields of a key: limits, IP lists, privileges, contact, configuration, lifetime
// (spec/api-keys.md 1 and 2). Each takes what a caller said and gives what is stored, or throws a
// ProblemError whose detail says what to write instead.
//
// Pure but for the parts that take a Unit; those look values, groups and contacts up. Thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/config/config.h"
#include "daemon/http/caller.h"
#include "daemon/keys/key_input.h"
#include "daemon/keys/templates.h"
#include "store/store.h"

namespace sallyport::daemon {

inline constexpr std::size_t name_limit = 125;
inline constexpr std::size_t description_limit = 1000;
inline constexpr std::size_t ip_list_limit = 500;
inline constexpr std::size_t privilege_limit = 500;
inline constexpr std::size_t configuration_limit_bytes = 16 * 1024;

[[nodiscard]] std::string checked_name(const std::string& name);
[[nodiscard]] std::string checked_description(const std::string& description);

/// Every window of 40 hex digits, in lower case.
[[nodiscard]] std::vector<std::string> value_candidates(std::string_view text);
/// 400 if the text holds the value of any key; the answer does not repeat it.
void refuse_key_values(store::Unit& unit, std::string_view field, std::string_view text);

/// Canonical, without repetitions.
[[nodiscard]] std::vector<std::string> checked_ips(std::string_view field,
                                                   const std::vector<std::string>& ranges,
                                                   bool allow_private);

/// What a key of that template holds, if the caller may grant it: 400 for what no such key may
/// hold, 403 with missingPrivileges for what the caller does not hold.
[[nodiscard]] std::vector<store::Privilege> checked_privileges(const KeyTemplate& tmpl,
                                                               const KeyInput& input);
void require_held(const Caller& caller, const std::vector<store::Privilege>& privileges);

/// Sets permissions_enabled and permissions.
void check_permissions(store::ApiKey& key, const KeyTemplate& tmpl, const KeyInput& input);
/// Sets additional_configuration, search_hub and catalog_id.
void check_configuration(store::ApiKey& key, const KeyTemplate& tmpl, const KeyInput& input);

[[nodiscard]] store::Contact checked_contact(const store::Contact& contact);
/// 409 if another live key has the contact's login or e-mail.
void refuse_contact_clash(store::Unit& unit, const store::ApiKey& key);
/// 400 for a group that does not exist.
void check_groups(store::Unit& unit, const std::vector<std::string>& groups);

/// When a key made now ends; nullopt for never.
[[nodiscard]] std::optional<base::Instant> checked_expiry(const KeyTemplate& tmpl,
                                                          const KeyInput& input, base::Instant now);

/// 409 for what cannot be edited and differs from what is.
void refuse_fixed_changes(const store::ApiKey& key, const KeyInput& input);

/// "xx*****1f3a"
[[nodiscard]] std::string masked_value(const store::ApiKey& key);
/// {"owner": ..., "targetDomain": ..., ...}
[[nodiscard]] Json privilege_json(const store::Privilege& privilege);
[[nodiscard]] Json privileges_json(const std::vector<store::Privilege>& privileges);

}  // namespace sallyport::daemon

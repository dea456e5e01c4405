// Privileges and permissions of keys: their text form, and what may be granted by whom
// (spec/api-keys.md 2 and 3). Pure and thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/http/caller.h"
#include "daemon/keys/templates.h"

namespace sallyport::daemon {

/// "OWNER/DOMAIN[/TYPE][@TARGET]"; nullopt for anything else.
[[nodiscard]] std::optional<store::Privilege> parse_privilege(std::string_view text);

/// What is wrong with the names in it, as a sentence; nullopt if nothing is.
[[nodiscard]] std::optional<std::string> privilege_problem(const store::Privilege& privilege);
[[nodiscard]] std::optional<std::string> permission_problem(const store::Permission& permission);

/// No key may manage keys.
[[nodiscard]] bool is_key_management(const store::Privilege& privilege);

/// The first of `forbidden` that holding `privilege` would give, if any.
[[nodiscard]] const store::Privilege* forbidden_by(const std::vector<store::Privilege>& forbidden,
                                                   const store::Privilege& privilege);

/// Those that the caller does not hold.
[[nodiscard]] std::vector<store::Privilege> missing(
    const Caller& caller, const std::vector<store::Privilege>& privileges);

/// Equal whatever the order.
[[nodiscard]] bool same_privileges(std::vector<store::Privilege> a,
                                   std::vector<store::Privilege> b);
[[nodiscard]] bool same_permissions(std::vector<store::Permission> a,
                                    std::vector<store::Permission> b);

}  // namespace sallyport::daemon

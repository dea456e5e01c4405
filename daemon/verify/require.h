// `?require=` of a verification: what a key must hold. Pure.
//
//   OWNER/DOMAIN[/TYPE][@TARGET]   a privilege
//   OBJECT:ACTION                  a permission of the kind that INTEGRATION keys have
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "store/keys.h"

namespace sallyport::daemon {

using Requirement = std::variant<store::Privilege, store::Permission>;

/// nullopt for anything that is not of the grammar.
[[nodiscard]] std::optional<Requirement> parse_requirement(std::string_view text);

/// All `require` values of a query string, percent-decoded; other fields belong to somebody else
/// and are not looked at. nullopt if one of them is malformed: the call is then denied.
[[nodiscard]] std::optional<std::vector<Requirement>> parse_requirements(std::string_view query);

}  // namespace sallyport::daemon

// What requests about partners are refused with. Private to daemon/partners/partner_*.cc.
#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>

#include "daemon/http/router.h"
#include "daemon/partners/login.h"
#include "store/partners.h"

namespace sallyport::daemon {

[[noreturn]] inline void refuse(const std::string& code, const std::string& sentence) {
  throw ProblemError(400, code, sentence);
}

inline ProblemError not_found(const std::string& name) {
  return {404, "PARTNER_NOT_FOUND", fmt::format("There is no partner '{}'.", name.substr(0, 64))};
}

inline store::Partner need(store::Unit& unit, const std::string& name) {
  auto partner = is_partner_name(name) ? store::find_partner(unit, name) : std::nullopt;
  if (!partner) throw not_found(name);
  return std::move(*partner);
}

}  // namespace sallyport::daemon

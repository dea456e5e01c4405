// Reads keys from CSV (RFC 4180) for an import. Pure.
#pragma once

#include <string_view>

#include "daemon/http/json.h"

namespace sallyport::daemon::ctl {

/// One object a row, with the members that POST /admin/keys/import takes. Throws CtlError that
/// names line and column.
[[nodiscard]] Json::Array keys_from_csv(std::string_view text);

}  // namespace sallyport::daemon::ctl

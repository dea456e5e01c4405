// A date or instant of a query, as lists take for since and until.
#pragma once

#include <optional>
#include <string_view>

#include "base/instant.h"
#include "daemon/http/router.h"

namespace sallyport::daemon {

/// nullopt if it is absent or empty. Throws ProblemError (400) that says what one looks like.
[[nodiscard]] std::optional<base::Instant> query_instant(const Request& request,
                                                         std::string_view name);

}  // namespace sallyport::daemon

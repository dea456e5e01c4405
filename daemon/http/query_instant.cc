#include "daemon/http/query_instant.h"

#include <string>

namespace sallyport::daemon {

std::optional<base::Instant> query_instant(const Request& request, std::string_view name) {
  const auto text = request.query_value(name);
  if (!text || text->empty()) return std::nullopt;
  const auto instant = base::parse_instant(*text);
  if (!instant) {
    throw ProblemError(400, "INVALID_PARAMETER",
                       std::string(name) +
                           " must be a date such as 2026-11-22 or an instant such "
                           "as 2026-11-22T14:30:00Z.");
  }
  return instant;
}

}  // namespace sallyport::daemon

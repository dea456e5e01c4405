#include "daemon/partners/audit_keeper.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/log.h"
#include "store/files.h"

namespace sallyport::daemon {
namespace {

constexpr std::chrono::hours look_every{24};
constexpr std::chrono::hours in_one_commit{1};

}  // namespace

bool AuditKeeper::run_pass(base::Instant now) {
  const base::Instant kept_from = now - config_.get()->gateway.audit_keep;
  const auto oldest = store_.read(store::oldest_session_event);
  if (oldest && *oldest < kept_from) {
    const base::Instant before = std::min<base::Instant>(kept_from, *oldest + in_one_commit);
    removed_ +=
        store_.write([&](store::Unit& unit) { return store::prune_session_events(unit, before); });
    if (before < kept_from) return true;
  }
  if (const auto rows = std::exchange(removed_, 0); rows != 0) {
    base::log_notice("audit.pruned", {{"rows", rows}},
                     "removed {} rows of the audit of sessions, from before {}", rows,
                     base::format_utc(kept_from));
  }
  next_ = now + look_every;
  return false;
}

}  // namespace sallyport::daemon

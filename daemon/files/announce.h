// Notices about files: rows of the ledger, written in the unit of work of their cause. Recipients
// are the partner's contacts and the active administrators, or one of the two; administrators stand
// in for contacts where a partner has none, and the fallback address where there is nobody.
//
// Thread-safe. Failures are the store's. Wake "outbox" after the commit.
#pragma once

#include "daemon/config/config.h"
#include "notify/facts.h"
#include "store/files.h"
#include "store/partners.h"
#include "store/store.h"

namespace sallyport::daemon {

struct FileNotice {
  notify::Kind kind = notify::Kind::file_failed;
  /// Tells one occurrence from the next: a failure's instant, the instant of availability.
  base::Instant cycle{};
  base::Seconds offset{0};
  std::optional<base::Instant> deadline;
  std::string duplicate_of;
  std::optional<base::Instant> duplicate_received_at;
  std::optional<base::Instant> downloaded_at;
  bool to_contacts = true;
  bool to_administrators = true;
};

void announce(store::Unit& unit, const Config& config, const store::Partner& partner,
              const store::File& file, const FileNotice& notice, base::Instant now);

/// The same for what has no file: `facts` holds all but role and names of the instance.
void announce_facts(store::Unit& unit, const Config& config, const store::Partner& partner,
                    notify::Facts facts, const std::string& subject_type,
                    const std::string& subject_id, base::Instant cycle, bool to_contacts,
                    bool to_administrators = true);

}  // namespace sallyport::daemon

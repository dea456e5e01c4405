// What the parts of the file pipeline work with, and where things lie on disk.
//
// FileContext refers, it owns nothing: the application makes what it names before the pipeline and
// ends it after. Thread-safe as its parts are.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "daemon/activity/activity_log.h"
#include "daemon/config/config.h"
#include "daemon/files/directory.h"
#include "daemon/health.h"
#include "daemon/scheduler/due_work.h"
#include "pgp/pgp.h"
#include "store/files.h"
#include "store/partners.h"
#include "store/store.h"

namespace sallyport::daemon {

struct FileContext {
  store::Store& store;
  const base::Clock& clock;
  const LiveConfig& config;
  pgp::Engine& pgp;
  Health& health;
  Waker& waker;
  const ActivityLog& activity;

  [[nodiscard]] base::Instant now() const { return clock.now(); }
  /// What gpg is to take for the time: nothing unless the clock was moved by a test.
  [[nodiscard]] std::optional<base::Instant> pgp_now() const;
  /// A partner's record; a bare one for a partner that was removed while files were on their way.
  [[nodiscard]] store::Partner partner(std::string_view name) const;
  [[nodiscard]] PartnerPolicy policy(const store::Partner& partner, std::string_view object) const;

  // --- directories; those below the configured roots are made when they are missing -------------
  /// <partners_root>/<name>; throws base::Error if it is not there.
  [[nodiscard]] Directory partner_directory(std::string_view name) const;
  /// Where the front puts what it has received.
  [[nodiscard]] Directory spool(std::string_view name) const;
  /// Where sessions keep what is not complete, and their lists of intents.
  [[nodiscard]] Directory staging(std::string_view name) const;
  /// <inbound>/.staging, mode 0700: plaintext on its way, in the file system of inbound/.
  [[nodiscard]] Directory inbound_staging() const;
  /// <inbound>/<partner>[/<object>][/<sub-folders>]
  [[nodiscard]] Directory inbound(std::string_view partner, std::string_view object,
                                  std::string_view sub_folders) const;
  /// <partners_root>/<partner>/tree<virtual directory>
  [[nodiscard]] Directory tree(std::string_view partner, std::string_view virtual_directory) const;
};

/// Modes of what applications of our own share with us by group.
inline constexpr mode_t shared_directory_mode = 02770;
inline constexpr mode_t shared_file_mode = 0660;

}  // namespace sallyport::daemon

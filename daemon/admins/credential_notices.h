// Announces the end of credentials: SSH and PGP keys of partners, our own PGP keys, access and
// gateway tokens, and the TLS certificate (spec/gateway.md 1). Seven and two days before and at the
// end, to the administrators and, where it is the partner's, its contacts.
//
// The scheduler's thread only. Failures are the store's; the batch is then run again: notices exist
// at most once by their identity.
#pragma once

#include <optional>
#include <string>

#include "base/clock.h"
#include "base/locked.h"
#include "daemon/config/config.h"
#include "daemon/health.h"
#include "daemon/scheduler/due_work.h"
#include "store/store.h"

namespace sallyport::daemon {

class CredentialNotices final : public DueWork {
 public:
  CredentialNotices(store::Store& store, const LiveConfig& config, const base::Clock& clock,
                    Health& health, Waker& waker)
      : store_(store), config_(config), clock_(clock), health_(health), waker_(waker) {}

  [[nodiscard]] std::string name() const override { return "credentials"; }
  [[nodiscard]] std::optional<base::Instant> earliest() override;
  bool run_pass(base::Instant now) override;
  [[nodiscard]] bool leader_only() const override { return true; }

  /// The certificate was (re)loaded: its end is read again.
  void certificate_changed();

 private:
  bool announce_stored(base::Instant now);
  void announce_certificate(base::Instant now);

  store::Store& store_;
  const LiveConfig& config_;
  const base::Clock& clock_;
  Health& health_;
  Waker& waker_;
  struct Certificate {
    std::string fingerprint;
    base::Instant expires{};
    std::optional<base::Instant> next_due;
  };
  base::Locked<std::optional<Certificate>> certificate_;
};

}  // namespace sallyport::daemon

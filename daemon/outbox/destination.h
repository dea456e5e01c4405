// Where notices go: the mail server, and each webhook. Turns rows of the ledger into a message and
// hands it over.
//
// deliver() and finish() from one thread at a time, stop() from any. A destination owns its
// connection and remembers that its server is away, so that the rest of a batch does not wait for
// it again. It never throws for what a server, a network or a setting does: that is a Delivery.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "daemon/config/config.h"
#include "daemon/outbox/claim.h"
#include "notify/delivery.h"
#include "store/notices.h"

namespace sallyport::daemon {

class Destination {
 public:
  virtual ~Destination() = default;

  /// One attempt. `now` is the time of the attempt.
  [[nodiscard]] notify::Delivery deliver(const Parcel& parcel, const Config& config,
                                         base::Instant now);
  /// The batch is over.
  virtual void finish() noexcept {}
  /// Ends what is under way and everything after it.
  virtual void stop() noexcept = 0;

  /// The name of the health condition while the server is away.
  [[nodiscard]] virtual std::string condition() const = 0;

 protected:
  [[nodiscard]] virtual notify::Delivery attempt(const Parcel& parcel, const Config& config,
                                                 base::Instant now) = 0;

 private:
  struct Away {
    notify::Delivery delivery;
    base::Instant since;
  };
  std::optional<Away> away_;
};

/// By which a repeat of the mail that tells of this notice is recognised.
[[nodiscard]] std::string message_id_of(const store::Notice& notice, const Config& config);

[[nodiscard]] std::unique_ptr<Destination> make_mail_destination();
[[nodiscard]] std::unique_ptr<Destination> make_webhook_destination(std::string name);

}  // namespace sallyport::daemon

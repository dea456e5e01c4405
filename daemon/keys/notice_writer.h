// Writes the planned notices of a key into the ledger, in the unit of work of their cause
// (spec/api-keys.md 7): recipients are resolved and deduplicated now, what they will read is the
// snapshot taken now.
//
// One object a unit of work; it reads the administrators once. Failures are the store's.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "daemon/config/config.h"
#include "daemon/lifecycle/evaluate.h"
#include "notify/facts.h"
#include "store/notices.h"

namespace sallyport::daemon {

/// The ledger's subject of everything about keys.
inline constexpr std::string_view key_subject = "api_key";

struct Recipient {
  std::string address;  ///< mail address, or the name of a webhook
  store::Channel channel = store::Channel::mail;
  notify::Role role = notify::Role::administrator;
};

class NoticeWriter {
 public:
  NoticeWriter(store::Unit& unit, const Config& config, base::Instant now)
      : unit_(unit), config_(config), now_(now) {}

  /// Who gets a notice of that kind about that key, each once.
  [[nodiscard]] std::vector<Recipient> recipients(const store::ApiKey& key, notify::Kind kind);

  /// Wider warnings of the same timer and cycle that are still unsent give way to this one.
  void supersede_wider(const store::ApiKey& key, const lifecycle::PlannedNotice& notice);
  /// One row a recipient.
  void write(const store::ApiKey& key, const lifecycle::PlannedNotice& notice);
  /// To those who were told of this exposure; its mails that are still unsent are cancelled.
  void write_withdrawal(const store::ApiKey& key, const lifecycle::PlannedNotice& notice,
                        const std::string& withdrawn_by);
  /// The warnings of a timer that are still unsent are void.
  void cancel(const store::ApiKey& key, lifecycle::Timer timer);
  /// Everything about the key that is still unsent but for what has happened to it.
  void cancel_all(const store::ApiKey& key);

  /// Notices with a mail to come were written.
  [[nodiscard]] bool wrote_pending() const { return wrote_pending_; }
  /// There is no active administrator: the fallback, if any, was used. nullopt: nobody was looked
  /// for.
  [[nodiscard]] std::optional<bool> lacks_administrators() const {
    if (!administrators_) return std::nullopt;
    return administrators_->empty();
  }

 private:
  void load_administrators();
  void insert(const store::ApiKey& key, const lifecycle::PlannedNotice& notice,
              const std::vector<Recipient>& recipients, const std::string& withdrawn_by);

  store::Unit& unit_;
  const Config& config_;
  base::Instant now_;
  std::optional<std::vector<std::string>> administrators_;
  bool wrote_pending_ = false;
};

/// What a notice says about a key and its exposure.
[[nodiscard]] notify::KeyFacts key_facts(const store::ApiKey& key);
[[nodiscard]] notify::ExposureFacts exposure_facts(const store::Exposure& exposure);

}  // namespace sallyport::daemon

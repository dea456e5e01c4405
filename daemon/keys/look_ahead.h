// Looking ahead (spec/api-keys.md 11): simulate, calendar and why, over the keys as they are in the
// store, changing nothing.
//
// Any thread; reads page by page. Failures: ProblemError (404, 400), store::Error.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "daemon/http/json.h"
#include "daemon/keys/key_service.h"
#include "daemon/keys/notice_writer.h"
#include "daemon/lifecycle/predict.h"

namespace sallyport::daemon {

struct SimulatedEvent {
  base::Instant at{};
  std::string key_id;
  std::string key_name;
  /// "TRANSITION" with the new status, or "MAIL" with the notice's kind.
  std::string what;
  std::string detail;
  base::Seconds offset{0};
  base::Instant deadline{};
  std::vector<std::string> recipients;
};

struct Deadline {
  base::Instant at{};
  std::string key_id;
  std::string key_name;
  std::string timer;    ///< "EXPIRY", "INACTIVITY", "EXPOSURE"
  std::string becomes;  ///< the status after it
};

class LookAhead {
 public:
  explicit LookAhead(KeyService& keys) : keys_(keys) {}

  /// In order of time. `asleep`: the daemon is taken to be down from the first to the second.
  [[nodiscard]] std::vector<SimulatedEvent> simulate(
      const Caller& caller, base::Seconds length,
      std::vector<std::pair<base::Instant, base::Instant>> asleep = {});
  /// The same for keys that are not in the store yet.
  [[nodiscard]] std::vector<SimulatedEvent> simulate(const std::vector<store::ApiKey>& keys,
                                                     base::Seconds length);
  [[nodiscard]] std::vector<Deadline> calendar(const Caller& caller, base::Seconds length);
  [[nodiscard]] Json why(const Caller& caller, const std::string& id);

 private:
  [[nodiscard]] std::optional<base::Instant> accepted(store::Unit& unit, const store::ApiKey& key);
  void add_events(store::Unit& unit, NoticeWriter& writer, const store::ApiKey& key,
                  const lifecycle::Horizon& horizon, std::vector<SimulatedEvent>& out);
  void add_events(const std::vector<store::ApiKey>& keys, const lifecycle::Horizon& horizon,
                  std::vector<SimulatedEvent>& out);

  KeyService& keys_;
};

/// RFC 5545, with CR LF line ends.
[[nodiscard]] std::string to_icalendar(const std::vector<Deadline>& deadlines,
                                       const std::string& organization, base::Instant now);
[[nodiscard]] Json event_json(const SimulatedEvent& event);
[[nodiscard]] Json deadline_json(const Deadline& deadline);

}  // namespace sallyport::daemon

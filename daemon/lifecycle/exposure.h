// Exposure reports: how one is added to a key, and how a false one is withdrawn (section 6).
//
// Pure. Run evaluate() on the key before (to be at `now`) and after (the deadline may be "at
// once").
#pragma once

#include <string>
#include <vector>

#include "daemon/lifecycle/evaluate.h"

namespace sallyport::daemon::lifecycle {

struct ExposureReport {
  std::string id;  ///< of the reason that is added
  store::Severity severity = store::Severity::high;
  store::ExposureSource source = store::ExposureSource::manual;
  std::string reason;
  std::string url;
  bool suspicious_activity = false;
  bool automated = false;
  std::string reported_by;
};

enum class ReportOutcome {
  flagged,     ///< the key has a deadline now and had none before
  added,       ///< to a flagged key; the deadline may have come forward
  recorded,    ///< no deadline: a PUBLIC key without suspicious activity, or a key that has ended
  repeated,    ///< the very report is there already: nothing changed
  not_applied  ///< it was withdrawn before: recorded only
};

[[nodiscard]] std::string_view outcome_name(ReportOutcome outcome);

struct ReportResult {
  ReportOutcome outcome = ReportOutcome::recorded;
  std::vector<PlannedNotice> notices;
};

[[nodiscard]] ReportResult report_exposure(store::ApiKey& key, const ExposureReport& report,
                                           const Policy& policy, Instant now);

/// For a key that check(Event::withdraw_exposure) allows. Its notice is for those who were warned.
[[nodiscard]] std::vector<PlannedNotice> withdraw_exposure(store::ApiKey& key,
                                                           const std::string& reason, Instant now);

/// "CRITICAL", "GITHUB"; the parse functions give nullopt for anything else.
[[nodiscard]] std::string_view severity_name(store::Severity severity);
[[nodiscard]] std::optional<store::Severity> parse_severity(std::string_view name);
[[nodiscard]] std::string_view source_name(store::ExposureSource source);
[[nodiscard]] std::optional<store::ExposureSource> parse_source(std::string_view name);

}  // namespace sallyport::daemon::lifecycle

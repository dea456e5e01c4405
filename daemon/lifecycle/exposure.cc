#include "daemon/lifecycle/exposure.h"

#include <algorithm>
#include <array>

#include "daemon/lifecycle/status.h"

namespace sallyport::daemon::lifecycle {

namespace {

using store::ExposureReason;
using store::Severity;

constexpr std::array<std::string_view, 5> severity_names{"CRITICAL", "HIGH", "MEDIUM", "LOW",
                                                         "WARN"};
constexpr std::array<std::string_view, 4> source_names{"MANUAL", "GITHUB", "GITLAB", "API"};

/// The same report: key, source and url; where there is no url, its words.
bool is_same(const ExposureReason& reason, const ExposureReport& report) {
  if (reason.source != report.source || reason.url != report.url) return false;
  return !report.url.empty() || reason.reason == report.reason;
}

bool says_more(const ExposureReport& report, const ExposureReason& reason) {
  return report.severity < reason.severity ||
         (report.suspicious_activity && !reason.suspicious_activity);
}

ExposureReason to_reason(const ExposureReport& report, Instant now) {
  ExposureReason reason;
  reason.id = report.id;
  reason.severity = report.severity;
  reason.source = report.source;
  reason.reason = report.reason;
  reason.url = report.url;
  reason.suspicious_activity = report.suspicious_activity;
  reason.created = now;
  return reason;
}

void begin_exposure(store::ApiKey& key, const ExposureReport& report, Instant now) {
  store::Exposure next;
  if (key.exposure) next.reasons = std::move(key.exposure->reasons);  // withdrawn ones
  next.severity = report.severity;
  next.automated = report.automated;
  next.created_by = report.reported_by;
  next.created = now;
  key.exposure = std::move(next);
}

}  // namespace

std::string_view outcome_name(ReportOutcome outcome) {
  switch (outcome) {
    case ReportOutcome::flagged:
      return "FLAGGED";
    case ReportOutcome::added:
      return "ADDED";
    case ReportOutcome::recorded:
      return "RECORDED";
    case ReportOutcome::repeated:
      return "REPEATED";
    case ReportOutcome::not_applied:
      return "NOT_APPLIED";
  }
  return "";
}

ReportResult report_exposure(store::ApiKey& key, const ExposureReport& report, const Policy& policy,
                             Instant now) {
  ReportResult result;
  if (key.exposure) {
    std::size_t withdrawn_before = 0;
    for (const auto& reason : key.exposure->reasons) {
      if (!is_same(reason, report)) continue;
      if (!reason.applied) {
        ++withdrawn_before;
      } else if (!says_more(report, reason)) {
        result.outcome = ReportOutcome::repeated;
        return result;
      }
    }
    if (withdrawn_before > 0) {
      // Recorded once more and no oftener: a feed that is replayed must not make the key grow.
      result.outcome = withdrawn_before == 1 ? ReportOutcome::not_applied : ReportOutcome::repeated;
      if (withdrawn_before > 1) return result;
      ExposureReason again = to_reason(report, now);
      again.applied = false;
      key.exposure->reasons.push_back(std::move(again));
      return result;
    }
  }

  const bool was_flagged = is_flagged(key);
  if (!key.exposure || key.exposure->withdrawn) begin_exposure(key, report, now);
  store::Exposure& exposure = *key.exposure;
  exposure.reasons.push_back(to_reason(report, now));
  exposure.severity = std::min(exposure.severity, report.severity);

  const bool gets_deadline = !is_final(key.state) && (!key.is_public || report.suspicious_activity);
  if (gets_deadline) {
    const Instant deadline = now + policy.exposure_delay(report.severity);
    if (!exposure.deadline || deadline < *exposure.deadline) exposure.deadline = deadline;
  }
  if (is_final(key.state) || !exposure.deadline) {
    result.outcome = ReportOutcome::recorded;
    return result;
  }

  result.outcome = was_flagged ? ReportOutcome::added : ReportOutcome::flagged;
  // An enabled key that ends at once gets one mail for both, from its passed deadline.
  if (key.state == store::KeyState::enabled && *exposure.deadline <= now) return result;
  PlannedNotice notice;
  notice.timer = Timer::exposure;
  notice.cycle = *exposure.deadline;
  notice.due = now;
  if (was_flagged) {
    notice.kind = notify::Kind::exposure_reported;
    notice.offset = -Seconds{static_cast<std::int64_t>(exposure.reasons.size())};
  } else {
    notice.kind = notify::Kind::exposure_flagged;
  }
  result.notices.push_back(notice);
  return result;
}

std::vector<PlannedNotice> withdraw_exposure(store::ApiKey& key, const std::string& reason,
                                             Instant now) {
  store::Exposure& exposure = *key.exposure;
  exposure.withdrawn = true;
  exposure.withdrawn_reason = reason;
  for (auto& each : exposure.reasons) each.applied = false;
  if (!exposure.deadline) return {};
  PlannedNotice notice;
  notice.kind = notify::Kind::exposure_withdrawn;
  notice.timer = Timer::exposure;
  notice.cycle = *exposure.deadline;
  notice.due = now;
  return {notice};
}

std::string_view severity_name(Severity severity) {
  return severity_names[static_cast<std::size_t>(severity)];
}

std::optional<Severity> parse_severity(std::string_view name) {
  const auto found = std::find(severity_names.begin(), severity_names.end(), name);
  if (found == severity_names.end()) return std::nullopt;
  return static_cast<Severity>(found - severity_names.begin());
}

std::string_view source_name(store::ExposureSource source) {
  return source_names[static_cast<std::size_t>(source)];
}

std::optional<store::ExposureSource> parse_source(std::string_view name) {
  const auto found = std::find(source_names.begin(), source_names.end(), name);
  if (found == source_names.end()) return std::nullopt;
  return static_cast<store::ExposureSource>(found - source_names.begin());
}

}  // namespace sallyport::daemon::lifecycle

// Exposure reports in the name of a caller: the key that a report names, the fields of a report,
// withdrawal (spec/api-keys.md 6).
#include "base/bytes.h"
#include "daemon/http/router.h"
#include "daemon/keys/change.h"
#include "daemon/keys/key_checks.h"

namespace sallyport::daemon {

namespace {

using lifecycle::Event;
using lifecycle::ReportOutcome;

constexpr std::size_t reason_limit = 1000;
constexpr std::size_t url_limit = 2000;
/// One report a minute for more than an hour: what comes then is said already.
constexpr std::size_t most_reasons = 100;

[[noreturn]] void refuse(std::string code, const std::string& detail) {
  throw ProblemError(400, std::move(code), detail);
}

void check_report(const lifecycle::ExposureReport& report) {
  if (!base::is_utf8(report.reason) || base::utf8_length(report.reason) > reason_limit) {
    refuse("FIELD_TOO_LONG",
           "reason must be at most " + std::to_string(reason_limit) + " characters of UTF-8.");
  }
  if (report.url.size() > url_limit || !base::is_utf8(report.url) ||
      base::has_control(report.url)) {
    refuse("INVALID_FIELD", "url must be at most " + std::to_string(url_limit) +
                                " bytes without control characters.");
  }
}

/// The key's id; nullopt if there is none.
std::optional<std::string> resolve(store::Unit& unit, const KeyReference& reference) {
  if (!reference.id.empty()) return reference.id;
  base::Sha256 sha256{};
  if (reference.sha256) {
    sha256 = *reference.sha256;
  } else {
    sha256 = base::sha256(reference.value);
  }
  const auto value = store::find_key_value(unit, sha256);
  if (!value) return std::nullopt;
  return value->key_id;
}

Json exposure_change(const store::ApiKey& key, const lifecycle::ExposureReport& report,
                     ReportOutcome outcome) {
  Json out = Json::object({{"severity", std::string(lifecycle::severity_name(report.severity))},
                           {"source", std::string(lifecycle::source_name(report.source))},
                           {"reason", report.reason},
                           {"url", report.url},
                           {"suspiciousActivity", report.suspicious_activity},
                           {"outcome", std::string(lifecycle::outcome_name(outcome))}});
  if (key.exposure && key.exposure->deadline) {
    out.set("deactivationDate", base::format_iso(*key.exposure->deadline));
  }
  return out;
}

}  // namespace

std::optional<ExposureAnswer> KeyService::report(const Caller& caller,
                                                 const KeyReference& reference,
                                                 lifecycle::ExposureReport report,
                                                 bool check_access) {
  check_report(report);
  report.id = base::random_id();
  report.reported_by = caller.actor();
  const base::Instant now = parts_.clock.now();
  const auto config = parts_.config.get();
  ExposureAnswer answer;
  const auto outcome = parts_.store.write([&](store::Unit& unit) -> std::optional<Outcome> {
    const auto id = resolve(unit, reference);
    auto key = id ? store::find_key(unit, *id) : std::nullopt;
    if (!key || (check_access && !may_view(caller, *key))) return std::nullopt;
    NoticeWriter writer(unit, *config, now);
    Change change(*this, unit, writer, &caller, now);
    change.take(std::move(*key));
    change.settle();
    auto result = lifecycle::report_exposure(change.key(), report, change.policy(), now);
    auto& reasons = change.key().exposure->reasons;
    if (reasons.size() > most_reasons) reasons.erase(reasons.begin());
    answer.outcome = result.outcome;
    if (result.outcome != ReportOutcome::repeated) {
      change.must_verify();
      change.note("EXPOSE", exposure_change(change.key(), report, result.outcome));
      for (const auto& notice : result.notices) change.write(notice);
      change.settle();
    }
    change.store_or_retry();
    return change.outcome();
  });
  if (!outcome) return std::nullopt;
  finish(*outcome);
  answer.key = outcome->key;
  return answer;
}

ExposureAnswer KeyService::report_exposure(const Caller& caller, const KeyReference& reference,
                                           lifecycle::ExposureReport report) {
  const int given = static_cast<int>(!reference.id.empty()) +
                    static_cast<int>(!reference.value.empty()) +
                    static_cast<int>(reference.sha256.has_value());
  if (given != 1) {
    refuse("INVALID_FIELD", "Name the exposed key by exactly one of id, value and sha256.");
  }
  auto answer = this->report(caller, reference, std::move(report), true);
  if (!answer) throw_not_found();
  return std::move(*answer);
}

std::optional<ExposureAnswer> KeyService::report_exposed_value(const Caller& caller,
                                                               const base::Sha256& value,
                                                               lifecycle::ExposureReport report) {
  KeyReference reference;
  reference.sha256 = value;
  return this->report(caller, reference, std::move(report), false);
}

store::ApiKey KeyService::withdraw_exposure(const Caller& caller, const std::string& id,
                                            const std::string& reason) {
  if (reason.find_first_not_of(" \t\r\n") == std::string::npos) {
    refuse("FIELD_REQUIRED", "Withdrawing an exposure needs a reason: say why it was false.");
  }
  if (!base::is_utf8(reason) || base::utf8_length(reason) > reason_limit) {
    refuse("FIELD_TOO_LONG",
           "reason must be at most " + std::to_string(reason_limit) + " characters of UTF-8.");
  }
  return change(caller, id, Event::withdraw_exposure, [&](Change& change) {
    for (const auto& notice : lifecycle::withdraw_exposure(change.key(), reason, change.now())) {
      change.write_withdrawal(notice);
    }
    change.note("WITHDRAW_EXPOSURE", Json::object({{"reason", reason}}));
  });
}

}  // namespace sallyport::daemon

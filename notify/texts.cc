#include "notify/texts.h"

#include <fmt/format.h>

#include <cstdlib>

#include "notify/content.h"
#include "notify/escape.h"

namespace sallyport::notify {
namespace {

constexpr std::size_t max_subject = 180;
constexpr std::size_t max_name_in_subject = 60;

std::string count(long long number, std::string_view unit) {
  return fmt::format("{} {}{}", number, unit, number == 1 ? "" : "s");
}

std::string length(long long seconds) {
  constexpr long long minute = 60, hour = 3600, day = 86400;
  if (seconds >= 36 * hour) return count((seconds + day / 2) / day, "day");
  if (seconds >= 90 * minute) return count((seconds + hour / 2) / hour, "hour");
  if (seconds >= 90) return count((seconds + minute / 2) / minute, "minute");
  return count(seconds, "second");
}

std::string gateway_of(const Facts& facts) {
  if (facts.organization.empty()) return "this gateway";
  return fmt::format("the organization {}", quoted(facts.organization));
}

std::string why(const Facts& facts, bool several = false) {
  const std::string gateway = gateway_of(facts);
  switch (facts.role) {
    case Role::administrator:
      return fmt::format(
          "You receive this because you are an active administrator of {}. All active "
          "administrators are told, also of keys that only some of them can open.",
          gateway);
    case Role::key_contact:
      return fmt::format(
          "You receive this because you are the contact of {} of {}. An administrator of it can "
          "name another contact.",
          several ? "these API keys" : "this API key", gateway);
    case Role::security_contact:
      return fmt::format("You receive this because you are the security contact of {}.", gateway);
    case Role::partner_contact:
      return fmt::format(
          "You receive this because your address is a contact of the partner account {} at {}. Ask "
          "its administrators to change that.",
          quoted(facts.partner), gateway);
    case Role::fallback:
      return fmt::format(
          "You receive this because {} has no active administrator and your address is its "
          "fallback recipient. Make an administrator: sallyportctl admin create EMAIL.",
          gateway);
    case Role::webhook:
      break;
  }
  return fmt::format("This was sent by {}.", gateway);
}

void add_frame(Content& content, const Facts& facts, bool several) {
  content.subject = clean_line(content.subject, max_subject);
  content.why = why(facts, several);
  content.link = facts.link;
  content.footer = facts.instance.empty()
                       ? "Sent automatically by Sallyport. Times are UTC."
                       : fmt::format("Sent automatically by Sallyport on {}. Times are UTC.",
                                     clean_line(facts.instance, 100));
}

Content content_of(const Facts& facts, base::Instant now) {
  switch (facts.kind) {
    case Kind::key_expiring:
    case Kind::key_expired:
    case Kind::key_inactive:
    case Kind::key_inactive_disabled:
      return key_content(facts, now);
    case Kind::exposure_flagged:
    case Kind::exposure_reported:
    case Kind::exposure_deadline:
    case Kind::exposure_disabled:
    case Kind::exposure_critical:
    case Kind::exposure_withdrawn:
      return exposure_content(facts, now);
    case Kind::credential_expiring:
    case Kind::credential_expired:
      return credential_content(facts, now);
    case Kind::file_failed:
    case Kind::file_duplicate:
    case Kind::outbound_not_collected:
    case Kind::outbound_returned:
    case Kind::outbound_held:
    case Kind::expectation_missed:
      return file_content(facts, now);
    case Kind::health_raised:
    case Kind::health_cleared:
    case Kind::test_message:
      break;
  }
  return instance_content(facts);
}

}  // namespace

std::string relative(base::Instant instant, base::Instant now) {
  const long long seconds = (instant - now).count();
  if (seconds == 0) return "now";
  if (seconds > 0) return "in " + length(seconds);
  return length(-seconds) + " ago";
}

std::string moment(base::Instant instant, base::Instant now) {
  return fmt::format("{} ({})", base::format_utc(instant), relative(instant, now));
}

std::string quoted(std::string_view name) {
  return fmt::format("\"{}\"", clean_line(name, max_name_in_subject));
}

std::string size_in_words(std::uint64_t bytes) {
  if (bytes < 1024) return count(static_cast<long long>(bytes), "byte");
  constexpr const char* units[] = {"KiB", "MiB", "GiB", "TiB"};
  double size = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  while (size >= 1024 && unit + 1 < std::size(units)) {
    size /= 1024;
    ++unit;
  }
  return fmt::format("{:.1f} {} ({} bytes)", size, units[unit], bytes);
}

void add_row(std::vector<Row>& rows, std::string label, std::string value, bool code) {
  if (!value.empty()) rows.push_back({std::move(label), std::move(value), code});
}

NoticeText render(const Facts& facts, base::Instant now) {
  Content content = content_of(facts, now);
  add_frame(content, facts, false);
  return {content.subject, plain_layout(content), html_layout(content)};
}

NoticeText render_digest(const std::vector<DigestEntry>& entries, base::Instant now) {
  Content content = digest_content(entries, now);
  add_frame(content, entries.front().facts, true);
  return {content.subject, plain_layout(content), html_layout(content)};
}

}  // namespace sallyport::notify

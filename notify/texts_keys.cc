// The words about API keys: expiry, inactivity and exposure.
#include <fmt/format.h>

#include "notify/content.h"
#include "notify/escape.h"

namespace sallyport::notify {
namespace {

using base::Instant;
using base::Seconds;

const KeyFacts& key_of(const Facts& facts) {
  static const KeyFacts none;
  return facts.key ? *facts.key : none;
}

const ExposureFacts& exposure_of(const Facts& facts) {
  static const ExposureFacts none;
  return facts.exposure ? *facts.exposure : none;
}

Instant deadline_of(const Facts& facts) {
  return facts.deadline.value_or(facts.happened_at);
}

/// Whether this recipient can be expected to have the command line.
bool can_act(const Facts& facts) {
  return facts.role == Role::administrator || facts.role == Role::fallback;
}

std::string command(std::string_view verb, const KeyFacts& key) {
  return fmt::format("sallyportctl key {} {}", verb, shell_word(clean_line(key.id, 64)));
}

std::string on_date(const std::optional<Instant>& at, Instant now) {
  return at ? moment(*at, now) : std::string();
}

std::vector<Row> key_rows(const KeyFacts& key, Instant now) {
  std::vector<Row> rows;
  add_row(rows, "API key", key.name);
  add_row(rows, "Key ID", key.id, true);
  add_row(rows, "Value", key.masked_value, true);
  add_row(rows, "Template", key.template_id);
  if (key.privacy == "PUBLIC") add_row(rows, "Privacy", "Can be public");
  if (key.privacy == "PRIVATE") add_row(rows, "Privacy", "Must remain private");
  add_row(rows, "Contact", key.contact);
  if (key.created_at && !key.created_by.empty())
    add_row(rows, "Created",
            fmt::format("{} by {}", moment(*key.created_at, now), clean_line(key.created_by, 100)));
  else
    add_row(rows, "Created", on_date(key.created_at, now));
  add_row(rows, "Last used", key.last_used_at ? moment(*key.last_used_at, now) : "never");
  return rows;
}

Step duplicate_step(const KeyFacts& key) {
  return {
      "Create a new key from this one (Create from existing). It has the same template, privileges "
      "and settings, and a new value that is shown once:",
      command("duplicate", key)};
}

Step ask_administrator(std::string_view what) {
  return {fmt::format("Ask an administrator of the gateway to {}.", what)};
}

void expiring(Content& content, const Facts& facts, Instant now) {
  const KeyFacts& key = key_of(facts);
  const Instant deadline = deadline_of(facts);
  const std::string in = relative(deadline, now);
  const Instant last = deadline - Seconds{1};
  const bool close = facts.offset <= 2 * base::one_day;
  content.tone = close ? Tone::warning : Tone::attention;
  content.subject =
      fmt::format("API key {} expires {} ({})", quoted(key.name), in, base::format_date(last));
  content.badge = "Expires " + in;
  content.heading = fmt::format("API key {} {}", quoted(key.name),
                                close ? "expires very soon" : "will expire soon");
  content.paragraphs.push_back(fmt::format(
      "The key works until {} and is refused from the next second on. Whatever still calls with it "
      "then stops working.",
      base::format_utc(last)));
  content.paragraphs.emplace_back(
      "The expiration date of a key cannot be changed, and an expired key cannot be activated "
      "again. To go on, replace the key before that date.");
  add_row(content.rows, "Good through", moment(last, now));
  if (can_act(facts)) {
    content.steps.push_back(duplicate_step(key));
    content.steps.push_back(
        {"Put the new value wherever the old one is used, and wait until the old key's last use "
         "no longer moves:",
         command("show", key)});
    content.steps.push_back({"If nothing needs this key any more, there is nothing to do."});
  } else {
    content.steps.push_back(
        ask_administrator(fmt::format("create a new key from the key {}", clean_line(key.id, 64))));
    content.steps.push_back(
        {"Put the new value into your integration before the date above, and test it."});
  }
}

void expired(Content& content, const Facts& facts, Instant now) {
  const KeyFacts& key = key_of(facts);
  const Instant deadline = deadline_of(facts);
  content.tone = Tone::critical;
  content.subject = fmt::format("API key {} has expired", quoted(key.name));
  content.badge = "Expired";
  content.heading = fmt::format("API key {} has expired", quoted(key.name));
  content.paragraphs.push_back(
      fmt::format("The key was good through {}. Since then every call with it is refused.",
                  base::format_utc(deadline - Seconds{1})));
  content.paragraphs.emplace_back("An expired key cannot be activated again.");
  add_row(content.rows, "Expired", moment(deadline, now));
  if (can_act(facts)) {
    Step step = duplicate_step(key);
    step.text = "If something still needs it: " + step.text;
    content.steps.push_back(step);
    content.steps.push_back({"If nothing does, remove it:", command("delete", key)});
  } else {
    content.steps.push_back(ask_administrator(fmt::format(
        "create a new key from the key {}, if you still need one", clean_line(key.id, 64))));
  }
}

void inactive(Content& content, const Facts& facts, Instant now) {
  const KeyFacts& key = key_of(facts);
  const Instant deadline = deadline_of(facts);
  const std::string in = relative(deadline, now);
  const Instant last = deadline - Seconds{1};
  content.tone = facts.offset <= base::one_day ? Tone::warning : Tone::attention;
  content.subject = fmt::format("API key {} will be disabled for inactivity {} ({})",
                                quoted(key.name), in, base::format_date(last));
  content.badge = "Disabled for inactivity " + in;
  content.heading = fmt::format("API key {} looks unused", quoted(key.name));
  content.paragraphs.push_back(key.last_used_at ? fmt::format("The key was last used on {}.",
                                                              base::format_utc(*key.last_used_at))
                                                : std::string("The key has never been used."));
  content.paragraphs.push_back(fmt::format(
      "A key that nobody uses is a risk without a purpose, so it will be disabled after {}. A "
      "single call with it before then keeps it alive and starts the period anew.",
      base::format_utc(last)));
  if (key.template_id == "CUSTOM")
    content.paragraphs.emplace_back(
        "A key of the template CUSTOM cannot be activated again once it is disabled.");
  add_row(content.rows, "Disabled after", moment(last, now));
  content.steps.push_back(
      {"Still needed? Use the key once, or extend it:", command("extend", key)});
  content.steps.push_back({"Not needed? Remove it now:", command("delete", key)});
}

void inactive_disabled(Content& content, const Facts& facts, Instant now) {
  const KeyFacts& key = key_of(facts);
  content.tone = Tone::critical;
  content.subject = fmt::format("API key {} was disabled for inactivity", quoted(key.name));
  content.badge = "Disabled for inactivity";
  content.heading = fmt::format("API key {} was disabled", quoted(key.name));
  content.paragraphs.push_back(fmt::format(
      "{} It was announced beforehand and has now been disabled: every call with it is "
      "refused.",
      key.last_used_at
          ? fmt::format("The key was last used on {}.", base::format_utc(*key.last_used_at))
          : std::string("The key has never been used.")));
  add_row(content.rows, "Disabled", moment(deadline_of(facts), now));
  if (key.template_id == "CUSTOM") {
    content.paragraphs.emplace_back(
        "A key of the template CUSTOM cannot be activated again once it is disabled.");
    content.steps.push_back(duplicate_step(key));
  } else {
    content.steps.push_back({"Still needed? Activate it again:", command("activate", key)});
  }
  content.steps.push_back({"Not needed? Remove it:", command("delete", key)});
}

std::string severity_in_words(const ExposureFacts& exposure) {
  std::string words = clean_line(exposure.severity, 20);
  if (exposure.suspicious_activity) words += ", with suspicious activity";
  return words;
}

void exposure_rows(Content& content, const ExposureFacts& exposure, Instant now) {
  add_row(content.rows, "Severity", severity_in_words(exposure));
  add_row(content.rows, "Reported by", exposure.reported_by);
  constexpr std::size_t shown = 5;
  const std::size_t total = exposure.reasons.size();
  for (std::size_t i = total > shown ? total - shown : 0; i < total; ++i) {
    const ReportReason& reason = exposure.reasons[i];
    std::string value = clean_line(reason.reason, 500);
    if (!reason.source.empty()) value += fmt::format(" [{}]", clean_line(reason.source, 40));
    if (reason.reported_at) value += ", " + moment(*reason.reported_at, now);
    add_row(content.rows, total == 1 ? "Reason" : fmt::format("Report {}", i + 1), value);
    add_row(content.rows, "Found at", reason.url, true);
  }
}

void exposure_steps(Content& content, const Facts& facts, bool still_usable) {
  const KeyFacts& key = key_of(facts);
  content.steps.push_back(duplicate_step(key));
  content.steps.push_back({"Put the new value wherever the old one is used."});
  if (still_usable) {
    content.steps.push_back(
        {"End the exposed key as soon as nothing legitimate needs it. This cannot be undone:",
         command("revoke", key)});
  }
  content.steps.push_back(
      {"Remove the value from where it was found, and look in the activity of the systems behind "
       "the key for calls that you cannot explain."});
  if (still_usable)
    content.steps.push_back({"If the report is wrong, withdraw it before the deadline and say why:",
                             command("withdraw", key) + " --reason 'why it is wrong'"});
}

void flagged(Content& content, const Facts& facts, Instant now) {
  const KeyFacts& key = key_of(facts);
  const Instant deadline = deadline_of(facts);
  const std::string in = relative(deadline, now);
  const bool again = facts.kind == Kind::exposure_reported;
  content.tone = Tone::critical;
  content.subject =
      again ? fmt::format("Another exposure report for API key {}: deactivation {} ({})",
                          quoted(key.name), in, base::format_utc(deadline))
            : fmt::format("API key {} is exposed and will be deactivated {} ({})", quoted(key.name),
                          in, base::format_utc(deadline));
  content.badge = "Exposed: deactivated " + in;
  content.heading = again ? fmt::format("API key {} was reported again", quoted(key.name))
                          : fmt::format("API key {} has been exposed", quoted(key.name));
  content.paragraphs.emplace_back(
      again ? "A further report about this exposed key has arrived; the newest is listed last. A "
              "further report can bring the deadline forward, never put it off."
            : "Its value was found where it must not be, or is used in a suspicious way. Whoever "
              "has it can do everything that the key may do.");
  content.paragraphs.push_back(
      fmt::format("The key keeps working until {}, so that you can replace it. Then it is "
                  "deactivated for good and cannot be activated again.",
                  base::format_utc(deadline)));
  add_row(content.rows, "Deactivated", moment(deadline, now));
  exposure_steps(content, facts, true);
}

void deadline_near(Content& content, const Facts& facts, Instant now) {
  const KeyFacts& key = key_of(facts);
  const Instant deadline = deadline_of(facts);
  const std::string in = relative(deadline, now);
  const bool last_day = facts.offset <= base::one_day;
  content.tone = last_day ? Tone::critical : Tone::warning;
  content.subject = fmt::format("{}exposed API key {} will be deactivated {} ({})",
                                last_day ? "Last warning: " : "Reminder: ", quoted(key.name), in,
                                base::format_utc(deadline));
  content.badge = "Exposed: deactivated " + in;
  content.heading = fmt::format("Exposed API key {} is still in force", quoted(key.name));
  content.paragraphs.push_back(
      fmt::format("The key was reported as exposed and is deactivated for good on {}. It cannot be "
                  "activated again, and this deadline does not move.",
                  base::format_utc(deadline)));
  add_row(content.rows, "Deactivated", moment(deadline, now));
  exposure_steps(content, facts, true);
}

void exposure_ended(Content& content, const Facts& facts, Instant now) {
  const KeyFacts& key = key_of(facts);
  const bool at_once = facts.kind == Kind::exposure_critical;
  content.tone = Tone::critical;
  content.subject =
      at_once ? fmt::format("Critical: API key {} was exposed and is deactivated", quoted(key.name))
              : fmt::format("Exposed API key {} was deactivated", quoted(key.name));
  content.badge = at_once ? "Critical: deactivated at once" : "Deactivated";
  content.heading = at_once ? fmt::format("API key {} was deactivated at once", quoted(key.name))
                            : fmt::format("API key {} was deactivated", quoted(key.name));
  content.paragraphs.emplace_back(
      at_once ? "The report says that personal data is at risk, so the key was ended without a "
                "period of grace. Every call with it is refused from now on."
              : "The deadline that was set when the key was reported as exposed has passed. Every "
                "call with it is refused from now on.");
  content.paragraphs.emplace_back(
      "A key that was deactivated because it was exposed cannot be activated again.");
  add_row(content.rows, "Deactivated", moment(deadline_of(facts), now));
  exposure_steps(content, facts, false);
}

void withdrawn(Content& content, const Facts& facts, Instant now) {
  const KeyFacts& key = key_of(facts);
  const ExposureFacts& exposure = exposure_of(facts);
  content.tone = Tone::good;
  content.subject = fmt::format("Exposure report for API key {} was withdrawn", quoted(key.name));
  content.badge = "Report withdrawn";
  content.heading = fmt::format("API key {} stays in force", quoted(key.name));
  content.paragraphs.emplace_back(
      "The exposure report that you were told about was withdrawn. The key is not flagged any "
      "more and will not be deactivated because of it.");
  add_row(content.rows, "Withdrawn", moment(facts.happened_at, now));
  add_row(content.rows, "Withdrawn by", exposure.withdrawn_by);
  add_row(content.rows, "Because", exposure.withdrawn_reason);
  content.steps.push_back(
      {"There is nothing to do. If you know that the key is exposed after all, report it again:",
       command("expose", key) + " --severity HIGH --reason 'what you know'"});
}

}  // namespace

Content key_content(const Facts& facts, Instant now) {
  Content content;
  switch (facts.kind) {
    case Kind::key_expired:
      expired(content, facts, now);
      break;
    case Kind::key_inactive:
      inactive(content, facts, now);
      break;
    case Kind::key_inactive_disabled:
      inactive_disabled(content, facts, now);
      break;
    default:
      expiring(content, facts, now);
  }
  for (Row& row : key_rows(key_of(facts), now)) content.rows.push_back(std::move(row));
  return content;
}

Content exposure_content(const Facts& facts, Instant now) {
  Content content;
  switch (facts.kind) {
    case Kind::exposure_deadline:
      deadline_near(content, facts, now);
      break;
    case Kind::exposure_disabled:
    case Kind::exposure_critical:
      exposure_ended(content, facts, now);
      break;
    case Kind::exposure_withdrawn:
      withdrawn(content, facts, now);
      break;
    default:
      flagged(content, facts, now);
  }
  exposure_rows(content, exposure_of(facts), now);
  for (Row& row : key_rows(key_of(facts), now)) content.rows.push_back(std::move(row));
  return content;
}

}  // namespace sallyport::notify

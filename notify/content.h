// Between facts and layouts: what a notice says, without how it looks. The wording functions make a
// Content from facts, the two layouts make plain text and HTML from it. Internal to notify/. Pure.
//
// Nothing in a Content is escaped or trusted: both layouts pass every piece through clean_line, the
// HTML one through html_escape too.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/instant.h"
#include "notify/facts.h"
#include "notify/texts.h"

namespace sallyport::notify {

enum class Tone { neutral, good, attention, warning, critical };

struct Row {
  std::string label;
  std::string value;
  bool code = false;  ///< shown in a fixed-width face: ids, digests
};

/// A line of a digest.
struct Item {
  Tone tone = Tone::neutral;
  std::string name;
  std::string id;
  std::string what;  ///< a few words: "Expires in 7 days"
  std::string when;
};

struct Step {
  std::string text;
  std::string command = {};  ///< a shell command that does it; may be empty
};

struct Content {
  Tone tone = Tone::neutral;
  std::string subject;
  std::string badge;  ///< a few words above the heading: "Expires in 7 days"
  std::string heading;
  std::vector<std::string> paragraphs;
  std::vector<Row> rows;
  std::vector<Item> items;
  std::vector<Step> steps;
  std::string link;  ///< becomes a button only if is_web_link
  std::string why;   ///< why this recipient gets it
  std::string footer;
};

// Wording, one function for a family of kinds (texts_keys.cc, texts_gateway.cc).
[[nodiscard]] Content key_content(const Facts& facts, base::Instant now);
[[nodiscard]] Content exposure_content(const Facts& facts, base::Instant now);
[[nodiscard]] Content credential_content(const Facts& facts, base::Instant now);
[[nodiscard]] Content file_content(const Facts& facts, base::Instant now);
[[nodiscard]] Content instance_content(const Facts& facts);
[[nodiscard]] Content digest_content(const std::vector<DigestEntry>& entries, base::Instant now);

// Layouts.
[[nodiscard]] std::string plain_layout(const Content& content);
[[nodiscard]] std::string html_layout(const Content& content);

// Phrases.

/// "in 7 days", "in 24 hours", "in 10 minutes", "now", "2 days ago": rounded to the nearest, so
/// that a mail that leaves some seconds after its due instant does not say one day less.
[[nodiscard]] std::string relative(base::Instant instant, base::Instant now);
/// "2026-11-29 23:59:59 UTC (in 7 days)"
[[nodiscard]] std::string moment(base::Instant instant, base::Instant now);
/// "\"Billing\"", cut to a length that fits a subject.
[[nodiscard]] std::string quoted(std::string_view name);
/// "12.4 MiB", "512 bytes"
[[nodiscard]] std::string size_in_words(std::uint64_t bytes);

/// Adds a row unless `value` is empty.
void add_row(std::vector<Row>& rows, std::string label, std::string value, bool code = false);

}  // namespace sallyport::notify

// The words of every notice: facts in, subject, plain text and HTML out.
//
// Pure and thread-safe; never fails. Foreign text in the facts may hold anything: each piece is
// made one clean line (notify/escape.h) and escaped for HTML here, and nowhere else.
#pragma once

#include <string>
#include <vector>

#include "notify/facts.h"

namespace sallyport::notify {

struct NoticeText {
  std::string subject;  ///< one line, no control characters
  std::string text;     ///< lines end with '\n'
  std::string html;     ///< a whole document; no remote content, no script
};

/// `now` is when it is sent: the relative times are counted from it.
[[nodiscard]] NoticeText render(const Facts& facts, base::Instant now);

/// One notice of a digest.
struct DigestEntry {
  Facts facts;
  /// False: it was cancelled or overtaken after the digest had been made, of which nothing changes.
  bool applies = true;
};

/// Only notices about the expiry and inactivity of keys can be told together: the others are
/// urgent, or need all of their words.
[[nodiscard]] bool fits_digest(Kind kind);

/// The same for several notices to one recipient. At least one entry.
[[nodiscard]] NoticeText render_digest(const std::vector<DigestEntry>& entries, base::Instant now);

}  // namespace sallyport::notify

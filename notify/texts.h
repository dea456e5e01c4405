// The words of every notice: facts in, subject, plain text and HTML out.
//
// Pure and thread-safe; never fails. Foreign text in the facts may hold anything: each piece is
// made one clean line (notify/escape.h) and escaped for HTML here, and nowhere else.
#pragma once

#include <string>

#include "notify/facts.h"

namespace sallyport::notify {

struct NoticeText {
  std::string subject;  ///< one line, no control characters
  std::string text;     ///< lines end with '\n'
  std::string html;     ///< a whole document; no remote content, no script
};

/// `now` is when it is sent: the relative times are counted from it.
[[nodiscard]] NoticeText render(const Facts& facts, base::Instant now);

}  // namespace sallyport::notify

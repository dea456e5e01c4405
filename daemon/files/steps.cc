#include "daemon/files/steps.h"

#include <algorithm>

#include "base/log.h"
#include "daemon/files/journal.h"

namespace sallyport::daemon {

StepResult retry_later(const FileContext& context, store::File& file, std::string_view reason_code,
                       const std::string& sentence) {
  const base::Instant now = context.now();
  const int doublings = std::min(file.attempts, 6);
  const base::Seconds pause = std::min(base::Seconds{1 << doublings}, base::Seconds{60});
  const bool is_news = file.reason_code != reason_code;
  ++file.attempts;
  // A clock that went back leaves a time that has yet to come.
  if (!file.retry_since || *file.retry_since > now) file.retry_since = now;
  file.next_due = now + pause;
  file.reason_code = reason_code;
  file.reason = sentence;
  // One line of history for each cause, not for each attempt.
  commit_file(context, file, is_news ? "waits: " + sentence : "");
  base::log_warning("file.retry",
                    {{"file", file.id}, {"partner", file.partner}, {"reason", reason_code}},
                    "{} of {} waits {} s: {}", file.name, file.partner, pause.count(), sentence);
  return StepResult::retry;
}

void clear_retry(store::File& file) {
  file.attempts = 0;
  file.retry_since.reset();
  file.next_due.reset();
  file.reason_code.clear();
  file.reason.clear();
}

bool has_lost_its_place(const FileContext& context, const store::File& file) {
  return file.retry_since &&
         *file.retry_since < context.now() - context.config.get()->files.retry_hold;
}

}  // namespace sallyport::daemon

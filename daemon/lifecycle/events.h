// What may be done to a key in which state, and what it makes of the key (spec/api-keys.md 3).
//
// check() answers for every event in every state; the other functions change a key for which
// check() gave `allowed`. Give them the key as evaluate() left it at `now`: the guards look at
// timers and facts. Pure; a refusal is a value with the HTTP status, a stable code and a sentence
// that says what to do instead.
#pragma once

#include <string>

#include "daemon/lifecycle/policy.h"

namespace sallyport::daemon::lifecycle {

enum class Event {
  activate,
  disable,
  revoke,
  regenerate,
  duplicate,
  extend,
  edit,
  report_exposure,
  withdraw_exposure,
  remove
};

[[nodiscard]] std::string_view event_name(Event event);

enum class Verdict {
  allowed,
  unchanged,  ///< it is so already: success without change
  refused
};

struct Guard {
  Verdict verdict = Verdict::allowed;
  int status = 0;  ///< HTTP, of a refusal
  std::string error_code;
  std::string detail;
};

/// True for a template whose keys stay disabled once they are ("CUSTOM").
[[nodiscard]] bool cannot_be_reactivated(std::string_view template_id);

[[nodiscard]] Guard check(Event event, const store::ApiKey& key, const Policy& policy, Instant now);

void activate(store::ApiKey& key, Instant now);
void disable(store::ApiKey& key, Instant now);
void revoke(store::ApiKey& key, Instant now);
void extend(store::ApiKey& key, Instant now);

}  // namespace sallyport::daemon::lifecycle

// Keys and instants for the tests of the rules.
#pragma once

#include <string_view>

#include "daemon/lifecycle/evaluate.h"
#include "daemon/lifecycle/status.h"

namespace sallyport::daemon::lifecycle {

inline Instant at(std::string_view text) {
  return base::parse_instant(text).value();
}

inline store::ApiKey sample_key(Instant created, std::string template_id = "CUSTOM") {
  store::ApiKey key;
  key.id = "k";
  key.display_name = "sample";
  key.template_id = std::move(template_id);
  key.created = created;
  key.activated = created;
  return key;
}

}  // namespace sallyport::daemon::lifecycle

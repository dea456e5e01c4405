// Keys, templates and exposures as the management API shows them (spec/api-keys.md 1 and 9). Pure.
#pragma once

#include <map>
#include <string>

#include "daemon/http/json.h"
#include "daemon/keys/templates.h"
#include "daemon/lifecycle/policy.h"
#include "store/keys.h"

namespace sallyport::daemon {

/// What a view of keys needs beside the key.
struct KeyView {
  std::string organization;
  lifecycle::Policy policy;
  base::Instant now{};
  std::map<std::string, std::string> group_names;  ///< by id
};

/// With the masked value, and never the contact's login.
[[nodiscard]] Json key_json(const store::ApiKey& key, const KeyView& view);
/// Without the login, which is write-only.
[[nodiscard]] Json contact_json(const store::Contact& contact);
[[nodiscard]] Json template_json(const KeyTemplate& tmpl);

/// Unix milliseconds, or null.
[[nodiscard]] Json millis(const std::optional<base::Instant>& instant);

}  // namespace sallyport::daemon

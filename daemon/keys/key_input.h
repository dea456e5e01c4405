// What a caller says about a key, before any of it is believed: read from JSON, from the command
// line or from an import, and checked by daemon/keys/key_checks.h.
//
// Plain values. Absent members are nullopt and stay as they are in an update.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "daemon/http/json.h"
#include "store/keys.h"

namespace sallyport::daemon {

/// A lifetime as it was said: absent, null or "" (never), or a text to be parsed.
struct LifetimeInput {
  bool given = false;
  std::string text;  ///< empty: never
};

struct KeyInput {
  std::optional<std::string> display_name;
  std::optional<std::string> description;
  std::optional<std::vector<store::Privilege>> privileges;
  std::optional<bool> permissions_enabled;
  std::optional<std::vector<store::Permission>> permissions;
  std::optional<std::vector<std::string>> allowed_ips;
  std::optional<std::vector<std::string>> denied_ips;
  std::optional<Json> additional_configuration;
  std::optional<store::Contact> contact;
  bool contact_login_given = false;
  std::optional<std::vector<std::string>> groups_can_edit;
  std::optional<std::vector<std::string>> groups_can_view;
  LifetimeInput lifetime;
  std::optional<std::string> expiration_day;      ///< "2027-05-15": good through that day
  std::optional<std::int64_t> expiration_millis;  ///< the instant
  bool expiration_null = false;                   ///< expirationDate: null

  // Of an update, to be compared with what is: they cannot be edited.
  std::optional<std::string> template_id;
  std::optional<std::string> value;
  std::optional<std::string> id;
  std::optional<bool> enabled;
};

/// The members of a key as section 9 names them. Unknown members are ignored; wrong shapes are 400.
[[nodiscard]] KeyInput read_key_input(const Json& body);

}  // namespace sallyport::daemon

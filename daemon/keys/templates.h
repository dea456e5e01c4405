// The templates of keys: what a key of each kind grants, what may be set on it, how long it lives
// (spec/api-keys.md 2). Data, not code: the built-in ones are a TOML text, and a file named by
// keys.templates_file adds further ones in the same form.
//
// Immutable after loading, safe from any thread. load_templates throws ConfigError with file, line
// and what is wrong.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/instant.h"
#include "store/keys.h"

namespace sallyport::daemon {

struct KeyTemplate {
  std::string id;
  std::string display_name;
  std::string description;
  bool is_public = false;
  /// What every key of it holds. With choose_privileges the caller chooses instead, ...
  std::vector<store::Privilege> privileges;
  bool choose_privileges = false;
  /// ... except these.
  std::vector<store::Privilege> forbidden;
  bool search_hub = false;
  bool offers_ips = false;
  bool contact = false;      ///< mandatory where it is true, refused elsewhere
  bool permissions = false;  ///< the permissionsEnabled switch and pairs of object and action
  bool expires = false;      ///< a lifetime may be set
  std::optional<base::Period> default_lifetime;
  std::vector<base::Period> offered_lifetimes;
};

class KeyTemplates {
 public:
  explicit KeyTemplates(std::vector<KeyTemplate> all) : all_(std::move(all)) {}
  /// nullptr if there is none.
  [[nodiscard]] const KeyTemplate* find(std::string_view id) const;
  [[nodiscard]] const std::vector<KeyTemplate>& all() const { return all_; }

 private:
  std::vector<KeyTemplate> all_;
};

/// The built-in ones and those of `file`, unless it is empty.
[[nodiscard]] KeyTemplates load_templates(const std::string& file);
/// The same over text; `name` stands for the file in messages.
[[nodiscard]] std::vector<KeyTemplate> parse_templates(std::string_view toml,
                                                       const std::string& name);

}  // namespace sallyport::daemon

// The option table and what is made from it: parsing of the TOML file, --check-config, the
// commented example file, the manual page, reload, and the policies of single partners.
//
// A new option: see config.h and option_table.cc; nothing here changes.
// Thread-safe: the table is constant. Failures: load_config throws ConfigError whose sentence holds
// all problems of the file, one a line, each with file and line.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.h"
#include "daemon/config/config.h"
#include "store/partners.h"

namespace sallyport::daemon {

class ConfigError : public base::Error {
 public:
  using base::Error::Error;
};

/// What a TOML value is, before a row gives it its type.
struct RawValue;
using RawTable = std::map<std::string, RawValue>;
struct RawValue {
  std::variant<bool, std::int64_t, double, std::string, std::vector<RawValue>,
               std::shared_ptr<RawTable>>
      value;
  unsigned line = 0;
};

/// What a row does with a value: nullopt when it is taken, else what is wrong with it ("must be
/// 1 to 65535").
using Problem = std::optional<std::string>;

struct Option {
  std::string_view name;    ///< "smtp.port"
  std::string type;         ///< for people: "number", "duration", "one of none, starttls, tls"
  std::string bounds;       ///< "1 to 65535", or empty
  std::string_view help;    ///< one or more sentences
  bool live = false;        ///< takes effect on reload
  bool per_object = false;  ///< a policy that can be set for an object of a partner, too
  std::function<Problem(const RawValue&, Config&)> take;
  std::function<std::string(const Config&)> print;  ///< as TOML
  std::function<void(const Config& from, Config& to)> copy;
};

[[nodiscard]] const std::vector<Option>& option_table();

/// The file over the defaults, checked option by option and as a whole.
[[nodiscard]] Config load_config(const std::string& path);
/// The same over text; `name` stands for the file in messages.
[[nodiscard]] Config parse_config(std::string_view text, const std::string& name);

/// `next` with everything that cannot change without a restart as it is in `now`; the names of
/// those that differ go to `need_restart`.
[[nodiscard]] Config reloaded(const Config& now, Config next,
                              std::vector<std::string>& need_restart);

/// Commented example with every option at its default, in sections.
[[nodiscard]] std::string example_config();
/// The OPTIONS part of sallyportd.conf(5), in man's own markup.
[[nodiscard]] std::string manual_options();

/// The policies for one partner (and object): [partner] of the configuration, then the partner's
/// own, then its own for that object. The overrides are those of Partner::policies:
///   {"encryption": "required", "per_object": {"Invoices": {"signature": "required"}}}
/// What does not parse (it was checked when it was set) is left out and logged.
[[nodiscard]] PartnerPolicy policy_for(const Config& config, const store::Partner& partner,
                                       std::string_view object = {});
/// What is wrong with such overrides; nullopt if nothing is. A policy that only sessions read is
/// refused for an object, where nobody would look for it, unless it stands so in `before`: then it
/// may stay until it is taken away.
[[nodiscard]] Problem check_policies(std::string_view json, std::string_view before = {});
/// The names of the policy options, without "partner.".
[[nodiscard]] std::vector<std::string> policy_names();

}  // namespace sallyport::daemon

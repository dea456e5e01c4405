// The settable fields of a key as options of create, update and duplicate, and the body that they
// make.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/ctl/command.h"
#include "daemon/http/json.h"

namespace sallyport::daemon::ctl {

struct KeyFields {
  std::string name, description, lifetime, expires, hub, catalog;
  std::vector<std::string> privileges, permissions, allow, deny, edit_groups, view_groups;
  std::string first, last, login, email;
  std::optional<Command> app;  ///< the command that it adds to

  void add_text(Command command);
  void add_lifetime(Command command);
  void add_lists(Command command);
  void add_contact(Command command);

  /// What was given, as the management API takes it. Throws CtlError on a malformed privilege or
  /// permission.
  [[nodiscard]] Json body() const;

 private:
  [[nodiscard]] bool given(const char* option) const;
  /// One empty value empties the list.
  void add_list(Json& out, const char* option, std::string_view member,
                const std::vector<std::string>& values) const;
};

}  // namespace sallyport::daemon::ctl

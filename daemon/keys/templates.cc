#include "daemon/keys/templates.h"

#include <algorithm>
#include <memory>

#include "base/file_io.h"
#include "daemon/config/toml.h"
#include "daemon/keys/builtin_templates.h"
#include "daemon/keys/privileges.h"

namespace sallyport::daemon {

namespace {

/// One [[template]]: every member is taken once, what is left over is unknown.
class TemplateReader {
 public:
  TemplateReader(const RawTable& table, std::string name, unsigned line)
      : table_(table), name_(std::move(name)), line_(line) {}

  KeyTemplate read() {
    KeyTemplate out;
    out.id = text("id", true);
    out.display_name = text("display_name", true);
    out.description = text("description", false);
    const std::string privacy = text("privacy", true);
    if (privacy != "PUBLIC" && privacy != "PRIVATE") {
      fail("privacy", "must be \"PUBLIC\" or \"PRIVATE\"");
    }
    out.is_public = privacy == "PUBLIC";
    out.privileges = privileges("privileges");
    out.choose_privileges = flag("choose_privileges");
    out.forbidden = privileges("forbidden");
    out.search_hub = flag("search_hub");
    out.offers_ips = flag("offers_ips");
    out.contact = flag("contact");
    out.permissions = flag("permissions");
    out.expires = flag("expires");
    if (const std::string lifetime = text("default_lifetime", false); !lifetime.empty()) {
      out.default_lifetime = period("default_lifetime", lifetime);
    }
    for (const auto& lifetime : texts("offered_lifetimes")) {
      out.offered_lifetimes.push_back(period("offered_lifetimes", lifetime));
    }
    check(out);
    return out;
  }

 private:
  [[noreturn]] void fail(std::string_view member, const std::string& problem) const {
    unsigned line = line_;
    if (const auto found = table_.find(std::string(member)); found != table_.end()) {
      line = found->second.line;
    }
    throw ConfigError(name_ + ":" + std::to_string(line) + ": template: " + std::string(member) +
                      " " + problem);
  }

  const RawValue* take(std::string_view member) {
    taken_.emplace_back(member);
    const auto found = table_.find(std::string(member));
    return found == table_.end() ? nullptr : &found->second;
  }

  std::string text(std::string_view member, bool required) {
    const RawValue* raw = take(member);
    if (raw == nullptr) {
      if (required) fail(member, "is missing");
      return {};
    }
    const auto* value = std::get_if<std::string>(&raw->value);
    if (value == nullptr || value->empty()) fail(member, "must be a text that is not empty");
    return *value;
  }

  bool flag(std::string_view member) {
    const RawValue* raw = take(member);
    if (raw == nullptr) return false;
    const auto* value = std::get_if<bool>(&raw->value);
    if (value == nullptr) fail(member, "must be true or false");
    return *value;
  }

  std::vector<std::string> texts(std::string_view member) {
    const RawValue* raw = take(member);
    if (raw == nullptr) return {};
    const auto* items = std::get_if<std::vector<RawValue>>(&raw->value);
    if (items == nullptr) fail(member, "must be a list of texts");
    std::vector<std::string> out;
    for (const auto& item : *items) {
      const auto* value = std::get_if<std::string>(&item.value);
      if (value == nullptr) fail(member, "must be a list of texts");
      out.push_back(*value);
    }
    return out;
  }

  std::vector<store::Privilege> privileges(std::string_view member) {
    std::vector<store::Privilege> out;
    for (const auto& each : texts(member)) {
      const auto privilege = parse_privilege(each);
      if (!privilege) fail(member, "holds \"" + each + "\": write OWNER/DOMAIN[/TYPE][@TARGET]");
      out.push_back(*privilege);
    }
    return out;
  }

  base::Period period(std::string_view member, const std::string& value) {
    const auto parsed = base::parse_period(value);
    if (!parsed || parsed->is_zero()) {
      fail(member,
           "holds \"" + value + "\": write a duration such as \"P14D\", \"P1M\" or \"P1Y\"");
    }
    return *parsed;
  }

  void check(const KeyTemplate& made) const {
    for (const auto& [member, value] : table_) {
      if (std::find(taken_.begin(), taken_.end(), member) == taken_.end()) {
        throw ConfigError(name_ + ":" + std::to_string(value.line) + ": template: there is no \"" +
                          member + "\"");
      }
    }
    for (const auto& privilege : made.privileges) {
      if (is_key_management(privilege)) {
        fail("privileges", "must not hold API_KEY: keys do not manage keys");
      }
    }
    if (made.choose_privileges && !made.privileges.empty()) {
      fail("privileges", "must be absent where choose_privileges is true");
    }
    if (!made.expires && (made.default_lifetime || !made.offered_lifetimes.empty())) {
      fail("expires", "must be true where there are lifetimes");
    }
  }

  const RawTable& table_;
  std::string name_;
  unsigned line_;
  std::vector<std::string> taken_;
};

}  // namespace

const KeyTemplate* KeyTemplates::find(std::string_view id) const {
  const auto found = std::find_if(all_.begin(), all_.end(),
                                  [&](const KeyTemplate& each) { return each.id == id; });
  return found == all_.end() ? nullptr : &*found;
}

std::vector<KeyTemplate> parse_templates(std::string_view toml, const std::string& name) {
  const RawTable table = read_toml(toml, name);
  std::vector<KeyTemplate> out;
  for (const auto& [member, raw] : table) {
    const auto* entries = std::get_if<std::vector<RawValue>>(&raw.value);
    if (member != "template" || entries == nullptr) {
      throw ConfigError(name + ":" + std::to_string(raw.line) + ": only [[template]] can be here");
    }
    for (const auto& entry : *entries) {
      const auto* fields = std::get_if<std::shared_ptr<RawTable>>(&entry.value);
      if (fields == nullptr) {
        throw ConfigError(name + ":" + std::to_string(entry.line) + ": write [[template]]");
      }
      out.push_back(TemplateReader(**fields, name, entry.line).read());
      for (std::size_t i = 0; i + 1 < out.size(); ++i) {
        if (out[i].id == out.back().id) {
          throw ConfigError(name + ":" + std::to_string(entry.line) + ": there are two templates " +
                            out.back().id);
        }
      }
    }
  }
  return out;
}

KeyTemplates load_templates(const std::string& file) {
  std::vector<KeyTemplate> all = parse_templates(builtin_templates, "built-in templates");
  if (!file.empty()) {
    for (auto& added : parse_templates(base::read_file(file), file)) {
      for (const auto& known : all) {
        if (known.id == added.id) {
          throw ConfigError(file + ": the template " + added.id +
                            " is built in and cannot be replaced: choose another id");
        }
      }
      all.push_back(std::move(added));
    }
  }
  return KeyTemplates(std::move(all));
}

}  // namespace sallyport::daemon

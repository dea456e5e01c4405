#include "daemon/config/toml.h"

#include <fmt/format.h>

#define TOML_EXCEPTIONS 1
#include <toml++/toml.h>

namespace sallyport::daemon {
namespace {

RawValue convert(const toml::node& node);

RawTable convert_table(const toml::table& table) {
  RawTable result;
  for (const auto& [key, node] : table) result.emplace(std::string(key.str()), convert(node));
  return result;
}

RawValue convert(const toml::node& node) {
  RawValue raw;
  raw.line = static_cast<unsigned>(node.source().begin.line);
  if (const auto* flag = node.as_boolean()) {
    raw.value = flag->get();
  } else if (const auto* number = node.as_integer()) {
    raw.value = number->get();
  } else if (const auto* real = node.as_floating_point()) {
    raw.value = real->get();
  } else if (const auto* text = node.as_string()) {
    raw.value = text->get();
  } else if (const auto* array = node.as_array()) {
    std::vector<RawValue> items;
    for (const toml::node& item : *array) items.push_back(convert(item));
    raw.value = std::move(items);
  } else if (const auto* table = node.as_table()) {
    raw.value = std::make_shared<RawTable>(convert_table(*table));
  } else {
    // Dates and times: no option takes one. NaN-like, so that every row refuses it by its type.
    raw.value = 0.0;
  }
  return raw;
}

}  // namespace

RawTable read_toml(std::string_view text, const std::string& name) {
  try {
    return convert_table(toml::parse(text, name));
  } catch (const toml::parse_error& error) {
    // What people forget most, and what the library calls it.
    const bool unquoted = error.description().find("value type") != std::string_view::npos;
    throw ConfigError(fmt::format("{}:{}: {}{}", name, error.source().begin.line,
                                  error.description(),
                                  unquoted ? " (texts stand in double quotes)" : ""));
  }
}

}  // namespace sallyport::daemon

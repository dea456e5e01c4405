// The policies of single partners: overrides of the [partner] options, kept as JSON with the
// partner and read through the same rows.
#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "daemon/config/nearest.h"
#include "daemon/config/options.h"
#include "daemon/http/json.h"

namespace sallyport::daemon {
namespace {

constexpr std::string_view prefix = "partner.";
constexpr std::string_view per_object = "per_object";

const Option* policy_row(std::string_view name) {
  for (const Option& option : option_table()) {
    if (option.name.substr(0, prefix.size()) == prefix &&
        option.name.substr(prefix.size()) == name) {
      return &option;
    }
  }
  return nullptr;
}

RawValue raw_of(const Json& json) {
  RawValue raw;
  if (const bool* flag = json.if_bool()) {
    raw.value = *flag;
  } else if (const auto* number = json.if_int()) {
    raw.value = *number;
  } else if (const auto* text = json.if_string()) {
    raw.value = *text;
  } else if (const auto* items = json.if_array()) {
    std::vector<RawValue> values;
    for (const Json& item : *items) values.push_back(raw_of(item));
    raw.value = std::move(values);
  } else {
    raw.value = 0.0;  // no row takes it
  }
  return raw;
}

Problem apply(const Json::Member& member, Config& config) {
  const Option* row = policy_row(member.first);
  if (row == nullptr) {
    const std::string guess = did_you_mean(member.first, policy_names());
    return fmt::format("'{}' is no policy{}", member.first,
                       guess.empty()
                           ? "; there are " + fmt::format("{}", fmt::join(policy_names(), ", "))
                           : guess);
  }
  if (const auto problem = row->take(raw_of(member.second), config)) {
    return fmt::format("{} {}", member.first, *problem);
  }
  return std::nullopt;
}

// Applies all that is right and says what is not, the first of it: one bad setting must not leave
// files without the protection that another one asks for.
Problem apply(const Json::Object& members, bool within_object, Config& config) {
  Problem first;
  for (const auto& member : members) {
    if (member.first == per_object && !within_object) continue;
    auto problem = apply(member, config);
    if (!first) first = std::move(problem);
  }
  return first;
}

// What a login reads before it knows which objects its files will be of.
Problem session_wide(const Json::Object& members, const Json& before) {
  for (const auto& [name, value] : members) {
    const Option* row = policy_row(name);
    if (row == nullptr || row->per_object) continue;
    if (const Json* was = before.find(name); was != nullptr && *was == value) continue;
    return fmt::format("{} is read once for a whole {}: set it for the partner, not for an object",
                       name, name == "objects" ? "partner" : "session");
  }
  return std::nullopt;
}

Problem check(const Json& json, const Json& before) {
  const auto* members = json.if_object();
  if (members == nullptr) return "policies must be a JSON object";
  Config scratch;
  if (auto problem = apply(*members, false, scratch)) return problem;
  const Json* objects = json.find(per_object);
  if (objects == nullptr) return std::nullopt;
  if (objects->if_object() == nullptr) return "per_object must be an object of objects";
  for (const auto& object : *objects->if_object()) {
    const auto* own = object.second.if_object();
    if (own == nullptr) return "per_object must be an object of objects";
    auto problem = session_wide(*own, before[per_object][object.first]);
    if (!problem) problem = apply(*own, true, scratch);
    if (problem) return object.first + ": " + *problem;
  }
  return std::nullopt;
}

}  // namespace

PartnerPolicy policy_for(const Config& config, const store::Partner& partner,
                         std::string_view object) {
  if (partner.policies.empty()) return config.partner;
  Config own;
  own.partner = config.partner;
  try {
    const Json json = parse_json(partner.policies);
    Problem problem;
    if (const auto* members = json.if_object()) problem = apply(*members, false, own);
    if (!object.empty()) {
      const Json& mine = json[per_object][object];
      if (const auto* members = mine.if_object()) {
        auto of_object = apply(*members, true, own);
        if (!problem) problem = std::move(of_object);
      }
    }
    if (problem) {
      base::log_warning("partner.policies", {{"partner", partner.name}},
                        "The policies of partner {} are not as they should be: {}", partner.name,
                        *problem);
    }
  } catch (const base::Error& error) {
    base::log_warning("partner.policies", {{"partner", partner.name}},
                      "The policies of partner {} cannot be read: {}", partner.name, error.what());
  }
  return own.partner;
}

Problem check_policies(std::string_view json, std::string_view before) {
  if (json.empty()) return std::nullopt;
  try {
    return check(parse_json(json), before.empty() ? Json() : parse_json(before));
  } catch (const base::Error& error) {
    return std::string(error.what());
  }
}

std::vector<std::string> policy_names() {
  std::vector<std::string> names;
  for (const Option& option : option_table()) {
    if (option.name.substr(0, prefix.size()) == prefix) {
      names.emplace_back(option.name.substr(prefix.size()));
    }
  }
  return names;
}

}  // namespace sallyport::daemon

#include "daemon/verify/require.h"

#include <algorithm>
#include <array>

#include "base/bytes.h"
#include "daemon/http/uri.h"

namespace sallyport::daemon {

namespace {

bool is_word(std::string_view text) {
  return !text.empty() && text.find_first_of("/:@") == std::string_view::npos &&
         text.front() != ' ' && text.back() != ' ';
}

std::optional<Requirement> parse_privilege(std::string_view text) {
  store::Privilege privilege;
  if (const auto at = text.find('@'); at != std::string_view::npos) {
    privilege.target_id = text.substr(at + 1);
    if (privilege.target_id.empty()) return std::nullopt;
    text = text.substr(0, at);
  }
  std::array<std::string*, 3> parts = {&privilege.owner, &privilege.target_domain, &privilege.type};
  std::size_t count = 0;
  for (;;) {
    const auto slash = text.find('/');
    const std::string_view word = text.substr(0, slash);
    if (count == parts.size() || !is_word(word)) return std::nullopt;
    *parts[count++] = word;
    if (slash == std::string_view::npos) break;
    text = text.substr(slash + 1);
  }
  if (count < 2) return std::nullopt;
  return privilege;
}

std::optional<Requirement> parse_permission(std::string_view text) {
  const auto colon = text.find(':');
  const std::string_view object = text.substr(0, colon);
  const std::string_view action = text.substr(colon + 1);
  if (!is_word(object) || !is_word(action)) return std::nullopt;
  return store::Permission{std::string(object), std::string(action)};
}

}  // namespace

std::optional<Requirement> parse_requirement(std::string_view text) {
  if (base::has_control(text)) return std::nullopt;
  const auto first = text.find_first_of("/:@");
  if (first == std::string_view::npos || text[first] == '@') return std::nullopt;
  return text[first] == '/' ? parse_privilege(text) : parse_permission(text);
}

std::optional<std::vector<Requirement>> parse_requirements(std::string_view query) {
  std::vector<Requirement> requirements;
  while (!query.empty()) {
    const auto end = query.find('&');
    const std::string_view field = query.substr(0, end);
    query = end == std::string_view::npos ? std::string_view{} : query.substr(end + 1);
    const auto equals = field.find('=');
    const std::string_view name = field.substr(0, equals);
    if (name != "require" && percent_decode(name, true) != "require") continue;
    if (equals == std::string_view::npos) return std::nullopt;
    const auto value = percent_decode(field.substr(equals + 1), true);
    if (!value) return std::nullopt;
    auto requirement = parse_requirement(*value);
    if (!requirement) return std::nullopt;
    requirements.push_back(std::move(*requirement));
  }
  return requirements;
}

}  // namespace sallyport::daemon

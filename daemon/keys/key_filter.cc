// The list of keys and its filters (spec/api-keys.md 9), a page of the store at a time.
#include <array>
#include <utility>

#include "daemon/keys/change.h"

namespace sallyport::daemon {

namespace {

constexpr unsigned page_keys = 1000;

constexpr std::array<std::pair<std::string_view, KeyFilter>, 7> filters{{
    {"ACTIVE", KeyFilter::active},
    {"SOON_TO_BE_DISABLED", KeyFilter::soon_to_be_disabled},
    {"SOON_TO_BE_EXPIRED", KeyFilter::soon_to_be_expired},
    {"ACTIVE_AND_EXPOSED", KeyFilter::active_and_exposed},
    {"WITH_WARNING", KeyFilter::with_warning},
    {"ALL_EXPOSED", KeyFilter::all_exposed},
    {"DEACTIVATED", KeyFilter::deactivated},
}};

}  // namespace

std::optional<KeyFilter> parse_key_filter(std::string_view name) {
  if (name.empty()) return KeyFilter::all;
  for (const auto& [text, filter] : filters) {
    if (text == name) return filter;
  }
  return std::nullopt;
}

bool matches(KeyFilter filter, const store::ApiKey& key, const lifecycle::Policy& policy,
             base::Instant now) {
  const bool active = lifecycle::is_usable(key, now);
  const bool exposed = key.exposure && !key.exposure->withdrawn;
  const bool expires_soon = active && key.expires_at && !policy.expiry_warnings.empty() &&
                            now >= *key.expires_at - policy.expiry_warnings.front();
  const bool disabled_soon = active && lifecycle::in_inactivity_warning(key, policy, now);
  switch (filter) {
    case KeyFilter::all:
      return true;
    case KeyFilter::active:
      return active;
    case KeyFilter::soon_to_be_disabled:
      return disabled_soon;
    case KeyFilter::soon_to_be_expired:
      return expires_soon;
    case KeyFilter::active_and_exposed:
      return active && exposed;
    case KeyFilter::with_warning:
      return expires_soon || disabled_soon || (active && exposed);
    case KeyFilter::all_exposed:
      return exposed;
    case KeyFilter::deactivated:
      return !active;
  }
  return false;
}

void KeyService::each(const Caller& caller, KeyFilter filter,
                      const std::function<void(store::ApiKey&)>& take) {
  const base::Instant now = parts_.clock.now();
  const auto rules = policy();
  std::string after;
  while (true) {
    auto page = parts_.store.read(
        [&](store::Unit& unit) { return store::list_keys(unit, after, page_keys); });
    if (page.empty()) return;
    after = page.back().id;
    const bool last = page.size() < page_keys;
    for (auto& key : page) {
      if (may_view(caller, key) && matches(filter, key, rules, now)) take(key);
    }
    if (last) return;
  }
}

std::vector<store::ApiKey> KeyService::list(const Caller& caller, KeyFilter filter) {
  std::vector<store::ApiKey> out;
  each(caller, filter, [&](store::ApiKey& key) { out.push_back(std::move(key)); });
  return out;
}

}  // namespace sallyport::daemon

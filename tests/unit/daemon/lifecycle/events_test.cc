// Every state times every event, with the expected answer for each.
#include "daemon/lifecycle/events.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "tests/unit/daemon/lifecycle/sample_key.h"

namespace sallyport::daemon::lifecycle {
namespace {

using store::KeyState;

const Instant now = at("2027-03-01T12:00:00Z");

store::ApiKey in_state(const std::string& name) {
  store::ApiKey key = sample_key(at("2027-01-01"), "INTEGRATION");
  if (name.find("custom") != std::string::npos) key.template_id = "CUSTOM";
  if (name.find("flagged") != std::string::npos) {
    store::Exposure exposure;
    exposure.deadline = now + Seconds{86400};
    exposure.created = now - Seconds{3600};
    exposure.reasons.push_back({});
    key.exposure = exposure;
  }
  if (name.find("warned") != std::string::npos) key.activated = at("2026-03-10");
  const std::string state = name.substr(0, name.find(' '));
  if (state == "disabled") key.state = KeyState::disabled;
  if (state == "inactive") key.state = KeyState::disabled_for_inactivity;
  if (state == "expired") key.state = KeyState::expired;
  if (state == "revoked") key.state = KeyState::revoked;
  if (state == "exposed") {
    key.state = KeyState::disabled_exposed;
    store::Exposure exposure;
    exposure.deadline = now - Seconds{86400};
    exposure.reasons.push_back({});
    key.exposure = exposure;
  }
  return key;
}

TEST(Events, EveryStateTimesEveryEvent) {
  constexpr auto ok = "ok";
  constexpr auto same = "unchanged";
  const std::vector<Event> events = {
      Event::activate,          Event::disable, Event::revoke, Event::regenerate,
      Event::duplicate,         Event::extend,  Event::edit,   Event::report_exposure,
      Event::withdraw_exposure, Event::remove};
  const auto not_warned = "API_KEY_NOT_IN_WARNING_PERIOD";
  const auto not_enabled = "API_KEY_NOT_ENABLED";
  const auto never = "API_KEY_CANNOT_BE_REACTIVATED";
  const auto exposed = "API_KEY_EXPOSED";
  const auto expired = "API_KEY_EXPIRED";
  const auto revoked = "API_KEY_REVOKED";
  const auto inactive = "API_KEY_DISABLED_FOR_INACTIVITY";
  const auto not_exposed = "API_KEY_NOT_EXPOSED";
  const auto too_late = "EXPOSURE_DEADLINE_PASSED";
  // activate disable revoke regenerate duplicate extend edit report withdraw delete
  const std::map<std::string, std::vector<std::string>> table = {
      {"enabled", {same, ok, ok, ok, ok, not_warned, ok, ok, not_exposed, ok}},
      {"enabled custom", {same, ok, ok, ok, ok, not_warned, ok, ok, not_exposed, ok}},
      {"enabled warned", {same, ok, ok, ok, ok, ok, ok, ok, not_exposed, ok}},
      {"enabled flagged", {same, ok, ok, exposed, ok, not_warned, ok, ok, ok, ok}},
      {"enabled flagged warned", {same, ok, ok, exposed, ok, ok, ok, ok, ok, ok}},
      {"disabled", {ok, same, ok, ok, ok, not_enabled, ok, ok, not_exposed, ok}},
      {"disabled custom", {never, same, ok, ok, ok, not_enabled, ok, ok, not_exposed, ok}},
      {"disabled flagged", {exposed, same, ok, exposed, ok, not_enabled, ok, ok, ok, ok}},
      {"inactive", {ok, same, ok, inactive, ok, not_enabled, ok, ok, not_exposed, ok}},
      {"inactive custom", {never, same, ok, inactive, ok, not_enabled, ok, ok, not_exposed, ok}},
      {"inactive flagged", {exposed, same, ok, inactive, ok, not_enabled, ok, ok, ok, ok}},
      {"exposed", {exposed, same, exposed, exposed, ok, exposed, ok, ok, too_late, ok}},
      {"expired", {expired, expired, expired, expired, ok, expired, ok, ok, not_exposed, ok}},
      {"revoked", {revoked, revoked, revoked, revoked, ok, revoked, ok, ok, not_exposed, ok}},
  };
  for (const auto& [name, expected] : table) {
    ASSERT_EQ(expected.size(), events.size());
    for (std::size_t i = 0; i < events.size(); ++i) {
      const Guard guard = check(events[i], in_state(name), Policy{}, now);
      const std::string answer = guard.verdict == Verdict::allowed     ? ok
                                 : guard.verdict == Verdict::unchanged ? same
                                                                       : guard.error_code;
      EXPECT_EQ(answer, expected[i]) << name << " / " << event_name(events[i]);
      if (guard.verdict == Verdict::refused) {
        EXPECT_EQ(guard.status, 409);
        EXPECT_GT(guard.detail.size(), 40U) << "says what to do instead";
      } else {
        EXPECT_TRUE(guard.detail.empty());
      }
    }
  }
}

TEST(Events, ActivatingStartsTheInactivityTimerAnew) {
  store::ApiKey key = sample_key(at("2025-01-01"), "INTEGRATION");
  disable(key, now);
  EXPECT_EQ(key.disabled, now);
  activate(key, now + Seconds{60});
  EXPECT_EQ(inactivity_clock(key), now + Seconds{60});
  EXPECT_FALSE(key.disabled);
}

TEST(Events, ExtendingCountsAsActivityNow) {
  store::ApiKey key = sample_key(at("2026-03-10"));
  EXPECT_TRUE(in_inactivity_warning(key, Policy{}, now));
  extend(key, now);
  EXPECT_FALSE(in_inactivity_warning(key, Policy{}, now));
  EXPECT_EQ(inactivity_deadline(key, Policy{}), at("2028-03-02"));
}

TEST(Events, ExtendingIsPossibleFromTheFirstSecondOfTheWarningPeriod) {
  const store::ApiKey key = sample_key(at("2026-03-10T08:00:00Z"));
  const Instant begins = at("2027-03-11") - Seconds{30 * 86400};
  EXPECT_EQ(check(Event::extend, key, Policy{}, begins - Seconds{1}).verdict, Verdict::refused);
  EXPECT_EQ(check(Event::extend, key, Policy{}, begins).verdict, Verdict::allowed);
}

}  // namespace
}  // namespace sallyport::daemon::lifecycle

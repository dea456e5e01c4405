// What the ledger holds after the pass: kinds, recipients, states.
#include <gtest/gtest.h>

#include "notify/facts.h"
#include "tests/unit/daemon/keys/world.h"

namespace sallyport::daemon {
namespace {

using store::KeyState;
using Lines = std::vector<std::string>;

base::Instant at(std::string_view text) {
  return base::parse_instant(text).value();
}

TEST(KeyNotices, ExpiryIsMailedToAllActiveAdministratorsAndTheContact) {
  World world;
  world.administrator("gone", "gone@example.com", false);
  world.administrator("bert2", "BERT@Example.com");  // the same mailbox
  KeyInput input = World::integration("erp");
  input.expiration_day = "2027-03-15";
  const auto id = world.keys->create(World::root(), "INTEGRATION", input).key.id;
  world.pass_until(at("2027-03-09"));
  const auto all = [](const std::string& what, const std::string& state) {
    return Lines{what + " BERT@Example.com " + state, what + " anna@example.com " + state,
                 what + " erp@example.net " + state};
  };
  EXPECT_EQ(world.ledger(id), all("key_expiring 7d", "pending"));
  world.send_all();
  world.pass_until(at("2027-03-20"));
  Lines expected = all("key_expired 0d", "pending");
  // The mails of 2 days before were still unsent when it expired.
  for (const auto& line : all("key_expiring 2d", "superseded")) expected.push_back(line);
  for (const auto& line : all("key_expiring 7d", "sent")) expected.push_back(line);
  EXPECT_EQ(world.ledger(id), expected);
  EXPECT_EQ(world.observer.keys[id].state, KeyState::expired);
  EXPECT_EQ(world.operations(id), (Lines{"CREATE", "NOTICE", "NOTICE", "NOTICE", "EXPIRE"}));
}

TEST(KeyNotices, TheSnapshotHoldsWhatTheMailNeedsAndNoSecret) {
  World world;
  const auto made = world.custom("Push key");
  world.pass_until(at("2027-03-09"));
  const auto rows = world.store->read([&](store::Unit& unit) {
    return store::subject_notices(unit, "api_key", made.key.id, "key_expiring", {});
  });
  ASSERT_EQ(rows.size(), 2U);
  const auto facts = notify::parse_facts(rows[0].facts);
  ASSERT_TRUE(facts && facts->key);
  EXPECT_EQ(facts->kind, notify::Kind::key_expiring);
  EXPECT_EQ(facts->offset, base::Seconds{7 * 86400});
  EXPECT_EQ(facts->deadline, at("2027-03-16"));
  EXPECT_EQ(facts->key->name, "Push key");
  EXPECT_EQ(rows[0].cycle, base::to_unix(at("2027-03-16")));
  EXPECT_EQ(rows[0].due, at("2027-03-09"));
  EXPECT_EQ(rows[0].facts.find(made.value.reveal()), std::string::npos);
}

TEST(KeyNotices, InactivityGoesToAdministratorsOnlyAndWaitsForAnAcceptedWarning) {
  World world("2027-01-10T10:00:00Z");
  KeyInput input = World::integration("erp");
  const auto id = world.keys->create(World::root(), "INTEGRATION", input).key.id;
  world.pass_until(at("2028-01-11T05:00:00Z"));
  EXPECT_EQ(world.stored(id).state, KeyState::enabled);
  ASSERT_EQ(world.health.list().size(), 1U);
  EXPECT_EQ(world.health.list()[0].name, "keys.inactivity_pending");
  EXPECT_EQ(world.ledger(id), (Lines{"key_inactive 15d anna@example.com superseded",
                                     "key_inactive 15d bert@example.com superseded",
                                     "key_inactive 1d anna@example.com pending",
                                     "key_inactive 1d bert@example.com pending",
                                     "key_inactive 30d anna@example.com superseded",
                                     "key_inactive 30d bert@example.com superseded"}));
  world.send_all();
  world.keys->warning_accepted(id);
  EXPECT_TRUE(world.health.good());
  EXPECT_EQ(world.stored(id).inactivity_moved_to, at("2028-01-13"));
  world.pass_until(at("2028-01-12T23:59:59Z"));
  EXPECT_EQ(world.stored(id).state, KeyState::enabled);
  world.pass_until(at("2028-01-13"));
  EXPECT_EQ(world.stored(id).state, KeyState::disabled_for_inactivity);
  EXPECT_EQ(world.ledger(id)[0], "key_inactive 15d anna@example.com superseded");
}

TEST(KeyNotices, AUseInTheWarningPeriodCancelsWhatIsUnsent) {
  World world("2027-01-10T10:00:00Z");
  const auto id = world.custom_forever().key.id;
  world.pass_until(at("2027-12-20"));
  EXPECT_EQ(world.ledger(id).size(), 2U);
  const base::Instant now = world.clock.now();
  world.store->write([&](store::Unit& unit) {
    store::record_usage(unit, {{id, now, std::nullopt}});
    EXPECT_EQ(store::wake_warned_keys(unit, {id}, now), 1U);
  });
  world.pass_until(now);
  EXPECT_EQ(world.ledger(id), (Lines{"key_inactive 30d anna@example.com cancelled",
                                     "key_inactive 30d bert@example.com cancelled"}));
  world.pass_until(now + base::Seconds{366 * 86400});
  EXPECT_EQ(world.ledger(id).size(), 8U) << "a new cycle warns anew";
}

TEST(KeyNotices, ExtendingRestartsTheTimerInTheWarningPeriodOnly) {
  World world("2027-01-10T10:00:00Z");
  const auto id = world.custom_forever().key.id;
  EXPECT_EQ(refusal([&] { world.keys->extend(World::root(), id); }),
            "API_KEY_NOT_IN_WARNING_PERIOD");
  world.pass_until(at("2027-12-20"));
  const auto key = world.keys->extend(World::root(), id);
  EXPECT_EQ(key.extended, world.clock.now());
  EXPECT_EQ(world.ledger(id), (Lines{"key_inactive 30d anna@example.com cancelled",
                                     "key_inactive 30d bert@example.com cancelled"}));
  EXPECT_EQ(world.operations(id).back(), "EXTEND");
}

lifecycle::ExposureReport report(store::Severity severity, const std::string& url) {
  lifecycle::ExposureReport out;
  out.severity = severity;
  out.reason = "in a public repository";
  out.url = url;
  return out;
}

TEST(KeyNotices, ExposureIsAnnouncedToAdministratorsAndTheSecurityContact) {
  World world;
  const auto made = world.custom_forever();
  const auto& id = made.key.id;
  KeyReference reference;
  reference.value = made.value.reveal();
  const auto answer = world.keys->report_exposure(
      World::root(), reference, report(store::Severity::high, "https://example.org/1"));
  EXPECT_EQ(answer.outcome, lifecycle::ReportOutcome::flagged);
  EXPECT_EQ(world.observer.keys[id].exposure->deadline,
            world.clock.now() + base::Seconds{2 * 86400});
  EXPECT_EQ(world.ledger(id), (Lines{"exposure_deadline 3d anna@example.com not_applicable",
                                     "exposure_deadline 3d bert@example.com not_applicable",
                                     "exposure_deadline 3d security@example.com not_applicable",
                                     "exposure_flagged 0d anna@example.com pending",
                                     "exposure_flagged 0d bert@example.com pending",
                                     "exposure_flagged 0d security@example.com pending"}));
  world.send_all();
  for (const auto* url : {"https://example.org/2", "https://example.org/3"}) {
    (void)world.keys->report_exposure(World::root(), reference, report(store::Severity::low, url));
  }
  (void)world.keys->report_exposure(World::root(), reference,
                                    report(store::Severity::low, "https://example.org/3"));
  EXPECT_EQ(world.ledger(id).size(), 12U) << "one mail a further report, none for a repeated one";
  world.send_all();
  world.pass_until(world.clock.now() + base::Seconds{3 * 86400});
  EXPECT_EQ(world.stored(id).state, KeyState::disabled_exposed);
  EXPECT_EQ(world.ledger(id).size(), 18U);
}

TEST(KeyNotices, CriticalEndsAtOnceWithOneMailEach) {
  World world;
  const auto id = world.custom_forever().key.id;
  KeyReference reference;
  reference.id = id;
  (void)world.keys->report_exposure(World::root(), reference,
                                    report(store::Severity::critical, ""));
  EXPECT_EQ(world.observer.keys[id].state, KeyState::disabled_exposed);
  Lines pending;
  for (const auto& line : world.ledger(id)) {
    if (line.find("pending") != std::string::npos) pending.push_back(line);
  }
  EXPECT_EQ(pending, (Lines{"exposure_critical 0d anna@example.com pending",
                            "exposure_critical 0d bert@example.com pending",
                            "exposure_critical 0d security@example.com pending"}));
}

TEST(KeyNotices, AWithdrawalIsAnnouncedToThoseWhoWereWarned) {
  World world;
  const auto id = world.custom_forever().key.id;
  KeyReference reference;
  reference.id = id;
  (void)world.keys->report_exposure(World::root(), reference,
                                    report(store::Severity::medium, "https://example.org/1"));
  EXPECT_EQ(refusal([&] { world.keys->withdraw_exposure(World::root(), id, " "); }),
            "FIELD_REQUIRED");
  // Only anna's mail has been sent when it is withdrawn.
  world.store->write([&](store::Unit& unit) {
    for (auto row : store::subject_notices(unit, "api_key", id, "exposure_flagged", {})) {
      if (row.recipient != "anna@example.com") continue;
      row.state = store::NoticeState::sent;
      row.finished = world.clock.now();
      ASSERT_TRUE(store::update_notice(unit, row));
    }
  });
  world.keys->withdraw_exposure(World::root(), id, "a sample, not the key");
  EXPECT_EQ(world.ledger(id), (Lines{"exposure_flagged 0d anna@example.com sent",
                                     "exposure_flagged 0d bert@example.com cancelled",
                                     "exposure_flagged 0d security@example.com cancelled",
                                     "exposure_withdrawn 0d anna@example.com pending"}));
  EXPECT_TRUE(
      lifecycle::is_usable(world.observer.keys[id], world.clock.now() + base::Seconds{30 * 86400}));
  EXPECT_EQ(refusal([&] { world.keys->withdraw_exposure(World::root(), id, "again"); }),
            "API_KEY_NOT_EXPOSED");
  const auto again = world.keys->report_exposure(
      World::root(), reference, report(store::Severity::high, "https://example.org/1"));
  EXPECT_EQ(again.outcome, lifecycle::ReportOutcome::not_applied);
}

TEST(KeyNotices, AReportNamesAKeyByOneThing) {
  World world;
  KeyReference reference;
  EXPECT_EQ(refusal([&] { (void)world.keys->report_exposure(World::root(), reference, {}); }),
            "INVALID_FIELD");
  reference.id = "a";
  reference.value = "b";
  EXPECT_EQ(refusal([&] { (void)world.keys->report_exposure(World::root(), reference, {}); }),
            "INVALID_FIELD");
  reference.id.clear();
  EXPECT_EQ(refusal([&] { (void)world.keys->report_exposure(World::root(), reference, {}); }),
            "API_KEY_NOT_FOUND");
  EXPECT_FALSE(world.keys->report_exposed_value(World::root(), base::sha256("x"), {}));
}

TEST(KeyNotices, ARetiredValueStillNamesItsKey) {
  World world;
  const auto made = world.custom_forever();
  (void)world.keys->regenerate(World::root(), made.key.id, base::Seconds{0});
  const auto answer = world.keys->report_exposed_value(
      World::root(), base::sha256(made.value.reveal()), report(store::Severity::high, "u"));
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->key.id, made.key.id);
}

TEST(KeyNotices, WithoutAdministratorsTheFallbackIsToldAndHealthSaysSo) {
  World world;
  for (const auto* id : {"anna", "bert"}) {
    world.store->write(
        [&](store::Unit& unit) { EXPECT_TRUE(store::delete_administrator(unit, id)); });
  }
  const auto made = world.custom();
  world.pass_until(at("2027-03-09"));
  EXPECT_EQ(world.ledger(made.key.id), (Lines{"key_expiring 7d  failed"}))
      << "nobody to tell is a visible failure";
  EXPECT_EQ(world.health.list().at(0).name, "notify.no_administrator");
  Config config = World::default_config();
  config.notify.fallback = "fallback@example.com";
  world.live.set(std::make_shared<const Config>(config));
  world.pass_until(at("2027-03-14"));
  EXPECT_EQ(world.ledger(made.key.id)[0], "key_expiring 2d fallback@example.com pending");
}

TEST(KeyNotices, AFailedPassLeavesNothingBehind) {
  World world;
  const auto id = world.custom().key.id;
  world.clock.set(at("2027-03-09"));
  // A row of the same identity that another node wrote: still exactly one record.
  (void)world.keys->run_lifecycle(world.clock.now(), std::nullopt);
  const auto before = world.ledger(id);
  (void)world.keys->run_lifecycle(world.clock.now(), std::nullopt);
  EXPECT_EQ(world.ledger(id), before);
}

// A pass tells a key that has to wait when to look again, by its own clock. If that was a day
// ahead, the key must not sleep until then once the clock is right, whether or not the daemon was
// restarted.
TEST(KeyNotices, AClockThatWasADayAheadLeavesNoKeyWaitingThere) {
  struct Guard final : ClockGuard {
    bool allowed = true;
    [[nodiscard]] bool final_transitions_allowed() const override { return allowed; }
  };
  for (const bool restarted : {false, true}) {
    World world;
    Guard guard;
    KeyService keys({*world.store, world.live, world.clock, world.templates, world.activity,
                     world.health, world.waker, world.observer, guard});
    LifecyclePass pass(keys, {});
    LifecyclePass after_restart(keys, {});
    const auto run = [&](LifecyclePass& which, std::string_view when) {
      world.clock.set(at(when));
      for (auto due = which.earliest(); due && *due <= world.clock.now(); due = which.earliest()) {
        (void)which.run_pass(world.clock.now());
      }
      return which.earliest();
    };
    const auto id = keys.create(World::root(), "CUSTOM", World::named("a key")).key.id;
    ASSERT_EQ(run(pass, "2027-03-15T18:00:00Z"), at("2027-03-16")) << "its end";
    guard.allowed = false;
    ASSERT_EQ(run(pass, "2027-03-16T18:00:00Z"), at("2027-03-16T18:01:00Z")) << "it waits";
    guard.allowed = true;
    LifecyclePass& now_on = restarted ? after_restart : pass;
    EXPECT_EQ(run(now_on, "2027-03-15T18:05:00Z"), at("2027-03-16")) << restarted;
    EXPECT_EQ(run(now_on, "2027-03-16"), std::nullopt) << "it ends when it should";
    const auto key = world.store->read([&](auto& unit) { return store::find_key(unit, id); });
    EXPECT_EQ(key->state, store::KeyState::expired);
  }
}

TEST(KeyNotices, RevokingAndDeletingCancelWhatIsUnsent) {
  World world;
  const auto a = world.custom().key.id;
  const auto b = world.custom().key.id;
  world.pass_until(at("2027-03-09"));
  world.keys->revoke(World::root(), a);
  world.keys->remove(World::root(), b);
  for (const auto& id : {a, b}) {
    for (const auto& line : world.ledger(id)) {
      EXPECT_NE(line.find("cancelled"), std::string::npos) << line;
    }
  }
}

}  // namespace
}  // namespace sallyport::daemon

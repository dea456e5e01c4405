// Simulation, calendar, why and import.
#include "daemon/keys/look_ahead.h"

#include <gtest/gtest.h>

#include <random>

#include "daemon/keys/key_import.h"
#include "tests/unit/daemon/keys/world.h"

namespace sallyport::daemon {
namespace {

using store::KeyState;
using Lines = std::vector<std::string>;

base::Instant at(std::string_view text) {
  return base::parse_instant(text).value();
}

std::string line(const SimulatedEvent& event) {
  return base::format_iso(event.at) + " " + event.key_name + " " + event.what + " " + event.detail +
         " " + std::to_string(event.offset.count() / 86400);
}

TEST(LookAhead, SimulationEqualsReality) {
  World world("2027-01-10T10:00:00Z");
  std::mt19937_64 random(3);
  const auto below = [&](std::int64_t bound) {
    return std::uniform_int_distribution<std::int64_t>(0, bound - 1)(random);
  };
  // Keys of all ages: the test's own import makes them.
  ImportRequest request;
  for (int i = 0; i < 60; ++i) {
    Json key = Json::object({{"displayName", "k" + std::to_string(100 + i)},
                             {"value", std::string("value-of-key-number-") + std::to_string(i)}});
    const auto created = world.clock.now() - base::Seconds{below(500 * 86400)};
    key.set("createdDate", base::to_unix(created) * 1000);
    if (below(2))
      key.set("lastUsedDate", base::to_unix(created + base::Seconds{below(86400 * 90)}) * 1000);
    if (below(2)) key.set("lifetimeDuration", "P" + std::to_string(1 + below(400)) + "D");
    request.keys.push_back(std::move(key));
  }
  const auto imported = import_keys(*world.keys, World::root(), request);
  ASSERT_EQ(imported.keys.size(), 60U);
  world.send_all();

  LookAhead ahead(*world.keys);
  const base::Instant start = world.clock.now();
  const base::Instant gap_from = start + base::Seconds{100 * 86400 + 7000};
  const base::Instant gap_until = gap_from + base::Seconds{25 * 86400};
  const base::Seconds length{400 * 86400};
  Lines predicted;
  for (const auto& event : ahead.simulate(World::root(), length, {{gap_from, gap_until}})) {
    predicted.push_back(line(event));
  }
  ASSERT_GT(predicted.size(), 100U);

  // Reality: the pass at its due instants, an outbox that sends a second later, a daemon that is
  // down for a while.
  LifecyclePass pass(*world.keys, {});
  while (true) {
    const auto due = pass.earliest();
    if (!due) break;
    base::Instant next = std::max(*due, world.clock.now());
    if (next >= gap_from && next < gap_until) next = gap_until;
    if (next > start + length) break;
    world.clock.set(next);
    while (pass.run_pass(next)) {
    }
    const auto mailed =
        world.store->read([&](store::Unit& unit) { return store::due_notices(unit, next, 10000); });
    if (mailed.empty()) continue;
    world.clock.set(next + base::Seconds{1});
    world.send_all();
    for (const auto& row : mailed) {
      if (row.kind == "key_inactive") world.keys->warning_accepted(row.subject_id);
    }
  }
  Lines real;
  for (const auto& key : imported.keys) {
    for (const auto& row : world.activity_of(key.id)) {
      const std::string what = row.operation == "NOTICE" ? "MAIL" : "TRANSITION";
      if (row.operation == "IMPORT" || row.at <= start) continue;
      const Json changes = parse_json(row.changes);
      real.push_back(base::format_iso(row.at) + " " + row.resource_name + " " + what + " " +
                     (what == "MAIL"
                          ? *changes["kind"].if_string() + " " +
                                std::to_string(*changes["offsetSeconds"].if_int() / 86400)
                          : *changes["status"]["new"].if_string() + " 0"));
    }
  }
  std::sort(real.begin(), real.end());
  std::sort(predicted.begin(), predicted.end());
  EXPECT_EQ(predicted, real);
}

TEST(LookAhead, ChangesNothing) {
  World world;
  const auto id = world.custom().key.id;
  LookAhead ahead(*world.keys);
  EXPECT_EQ(ahead.simulate(World::root(), base::Seconds{30 * 86400}).size(), 4U);
  EXPECT_TRUE(world.ledger(id).empty());
  EXPECT_EQ(world.stored(id).state, KeyState::enabled);
}

TEST(LookAhead, CalendarHoldsComingDeadlinesInOrder) {
  World world;
  (void)world.custom("first; a,b\\c");
  (void)world.custom_forever("second");
  const auto deadlines = LookAhead(*world.keys).calendar(World::root(), base::Seconds{400 * 86400});
  ASSERT_EQ(deadlines.size(), 3U);
  EXPECT_EQ(deadlines[0].timer, "EXPIRY");
  EXPECT_EQ(deadlines[0].at, at("2027-03-16"));
  EXPECT_EQ(deadlines[1].timer, "INACTIVITY");
  const std::string text = to_icalendar(deadlines, "acme", world.clock.now());
  EXPECT_NE(text.find("DTSTART:20270316T000000Z\r\n"), std::string::npos);
  EXPECT_NE(text.find("first\\; a\\,b\\\\c"), std::string::npos);
  std::size_t begin = 0;
  while (begin < text.size()) {
    const auto end = text.find("\r\n", begin);
    ASSERT_NE(end, std::string::npos);
    EXPECT_LE(end - begin, 75U);
    begin = end + 2;
  }
}

TEST(LookAhead, WhyNamesTimersAndWhatComesNext) {
  World world;
  const auto id = world.custom("Push key").key.id;
  const Json answer = LookAhead(*world.keys).why(World::root(), id);
  EXPECT_EQ(*answer["status"].if_string(), "ENABLED");
  const auto& timers = *answer["timers"].if_array();
  ASSERT_EQ(timers.size(), 3U);
  EXPECT_EQ(timers[0]["runs"], Json(true));
  EXPECT_EQ(timers[1]["runs"], Json(true));
  EXPECT_EQ(timers[2]["runs"], Json(false));
  const auto& next = *answer["next"].if_array();
  ASSERT_GE(next.size(), 4U);
  EXPECT_EQ(*next[0]["kind"].if_string(), "key_expiring");
  EXPECT_EQ(*next[0]["recipients"].if_array(),
            (Json::Array{"anna@example.com", "bert@example.com"}));
  EXPECT_EQ(refusal([&] { (void)LookAhead(*world.keys).why(World::root(), "nosuch"); }),
            "API_KEY_NOT_FOUND");
}

ImportRequest rows(std::initializer_list<const char*> texts, bool dry_run = false) {
  ImportRequest out;
  for (const auto* text : texts) out.keys.push_back(parse_json(text));
  out.dry_run = dry_run;
  return out;
}

TEST(Import, TakesValuesAndHashes) {
  World world;
  const std::string hash = base::to_hex(base::sha256("another-secret-value"));
  const auto answer = import_keys(
      *world.keys, World::root(),
      rows({R"({"displayName":"a","value":"some-old-secret-value","createdDate":"2026-12-01"})",
            (R"({"displayName":"b","sha256":")" + hash + R"(","last4":"alue","enabled":false})")
                .c_str()}));
  ASSERT_EQ(answer.keys.size(), 2U);
  const auto& a = answer.keys[0];
  EXPECT_EQ(a.created, at("2026-12-01"));
  EXPECT_FALSE(a.expires_at) << "what is taken over keeps its end, and it had none";
  EXPECT_EQ(world.observer.values[a.id][0].sha256, base::sha256("some-old-secret-value"));
  EXPECT_EQ(world.stored(answer.keys[1].id).state, KeyState::disabled);
  EXPECT_EQ(world.operations(a.id), Lines{"IMPORT"});
  int status = 0;
  EXPECT_EQ(refusal(
                [&] {
                  (void)import_keys(
                      *world.keys, World::root(),
                      rows({R"({"displayName":"c","value":"some-old-secret-value"})"}));
                },
                &status),
            "VALUE_EXISTS");
  EXPECT_EQ(status, 409);
}

TEST(Import, ADryRunWritesNothingAndListsTheComing60Days) {
  World world;
  const auto answer = import_keys(
      *world.keys, World::root(),
      rows(
          {R"({"displayName":"old","value":"some-old-secret-value","createdDate":"2020-01-01"})",
           R"({"displayName":"due","value":"some-due-secret-value","expirationDate":"2027-04-10"})"},
          true));
  EXPECT_TRUE(world.keys->list(World::root(), KeyFilter::all).empty());
  Lines lines;
  for (const auto& event : answer.next) lines.push_back(line(event));
  EXPECT_EQ(lines, (Lines{"2027-03-01T12:00:00Z old MAIL key_inactive 1",
                          "2027-03-03T00:00:00Z old TRANSITION DISABLED_FOR_INACTIVITY 0",
                          "2027-03-03T00:00:00Z old MAIL key_inactive_disabled 0",
                          "2027-04-04T00:00:00Z due MAIL key_expiring 7",
                          "2027-04-09T00:00:00Z due MAIL key_expiring 2",
                          "2027-04-11T00:00:00Z due TRANSITION EXPIRED 0",
                          "2027-04-11T00:00:00Z due MAIL key_expired 0"}));
}

TEST(Import, IsAllOrNothingAndNamesTheRow) {
  World world;
  for (const auto* bad :
       {R"({"displayName":"","value":"some-old-secret-value"})",
        R"({"displayName":"x","value":"short"})", R"({"displayName":"x"})",
        R"({"displayName":"x","sha256":"abc"})",
        R"({"displayName":"x","value":"some-bad-secret-value","expirationDate":"2020-01-01"})",
        R"({"displayName":"x","value":"some-bad-secret-value","privileges":["A/API_KEY/EDIT"]})",
        R"({"displayName":"x","value":"some-bad-secret-value","allowedIps":["10.0.0.1"]})"}) {
    try {
      (void)import_keys(*world.keys, World::root(),
                        rows({R"({"displayName":"good","value":"some-good-secret-value"})", bad}));
      ADD_FAILURE() << bad;
    } catch (const ProblemError& error) {
      EXPECT_NE(std::string(error.what()).find("key 2:"), std::string::npos) << error.what();
    }
  }
  EXPECT_TRUE(world.keys->list(World::root(), KeyFilter::all).empty());
}

}  // namespace
}  // namespace sallyport::daemon

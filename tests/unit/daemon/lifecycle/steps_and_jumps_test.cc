// Looking at a key every hour, and every second within two seconds of each boundary, must give the
// same transitions and notices as looking at it only when it says that it is due.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <sstream>
#include <string>

#include "daemon/lifecycle/events.h"
#include "daemon/lifecycle/exposure.h"
#include "tests/unit/daemon/lifecycle/sample_key.h"

namespace sallyport::daemon::lifecycle {
namespace {

using store::KeyState;
using store::NoticeState;

constexpr Seconds two_years{2 * 366 * 86400};

struct Happening {
  Instant at{};
  enum class What { use, extend, disable, activate, report, withdraw, revoke } what{};
  store::Severity severity{};
};

std::string describe(const Transition& transition) {
  std::ostringstream out;
  out << "-> " << static_cast<int>(transition.to) << " from " << static_cast<int>(transition.from)
      << " due " << base::format_iso(transition.at);
  return out.str();
}

std::string describe(const PlannedNotice& notice) {
  std::ostringstream out;
  out << notify::to_string(notice.kind) << " cycle " << base::format_iso(notice.cycle) << " offset "
      << notice.offset.count() << " due " << base::format_iso(notice.due) << " state "
      << static_cast<int>(notice.state);
  return out.str();
}

/// One key, driven along. What a scheduler, an outbox and callers would do to it.
class Life {
 public:
  Life(store::ApiKey key, Policy policy, std::optional<Seconds> mail_delay)
      : key_(std::move(key)), policy_(std::move(policy)), mail_delay_(mail_delay) {}

  void look(Instant now) {
    Facts facts;
    if (needs_acceptance(key_, policy_, now)) {
      const auto sent = sent_.find(base::to_unix(inactivity_clock(key_)));
      if (sent != sent_.end() && sent->second <= now) facts.warning_accepted = sent->second;
    }
    take(evaluate(key_, facts, policy_, now), now);
  }

  void happen(const Happening& what) {
    const Instant now = what.at;
    if (what.what == Happening::What::use) {
      key_.last_used = now;
      if (key_.inactivity_progress.cycle) look(now);  // as store::wake_warned_keys sees to
      return;
    }
    look(now);
    switch (what.what) {
      case Happening::What::extend:
        if (allowed(Event::extend, now)) extend(key_, now);
        break;
      case Happening::What::disable:
        if (allowed(Event::disable, now)) disable(key_, now);
        break;
      case Happening::What::activate:
        if (allowed(Event::activate, now)) activate(key_, now);
        break;
      case Happening::What::revoke:
        if (allowed(Event::revoke, now)) revoke(key_, now);
        break;
      case Happening::What::report: {
        ExposureReport report;
        report.severity = what.severity;
        report.url = "https://example.org/" + std::to_string(base::to_unix(now));
        for (const auto& notice : report_exposure(key_, report, policy_, now).notices) {
          log_.push_back(describe(notice));
        }
        break;
      }
      case Happening::What::withdraw:
        if (allowed(Event::withdraw_exposure, now)) {
          for (const auto& notice : withdraw_exposure(key_, "false alarm", now)) {
            log_.push_back(describe(notice));
          }
        }
        break;
      case Happening::What::use:
        break;
    }
    look(now);
  }

  [[nodiscard]] std::optional<Instant> next_due() const { return key_.next_due; }
  /// A mail server takes a warning at this instant, which wakes the key.
  [[nodiscard]] std::optional<Instant> next_acceptance(Instant after) const {
    std::optional<Instant> next;
    for (const auto& [cycle, when] : sent_) {
      if (when > after && (!next || when < *next)) next = when;
    }
    return next;
  }
  [[nodiscard]] const std::vector<std::string>& log() const { return log_; }
  [[nodiscard]] const store::ApiKey& key() const { return key_; }
  [[nodiscard]] const std::set<Instant>& boundaries() const { return boundaries_; }

 private:
  bool allowed(Event event, Instant now) {
    return check(event, key_, policy_, now).verdict == Verdict::allowed;
  }

  void take(Evaluation evaluation, Instant now) {
    key_ = std::move(evaluation.key);
    for (const auto& transition : evaluation.transitions) {
      log_.push_back(describe(transition));
      boundaries_.insert(transition.at);
    }
    for (const auto& notice : evaluation.notices) {
      log_.push_back(describe(notice));
      boundaries_.insert(notice.due);
      if (notice.kind == notify::Kind::key_inactive && notice.state == NoticeState::pending &&
          notice.offset == policy_.inactivity_warnings.back() && mail_delay_) {
        sent_.emplace(base::to_unix(notice.cycle), now + *mail_delay_);
      }
    }
  }

  store::ApiKey key_;
  Policy policy_;
  std::optional<Seconds> mail_delay_;
  std::map<std::int64_t, Instant> sent_;
  std::vector<std::string> log_;
  std::set<Instant> boundaries_;
};

struct Scenario {
  store::ApiKey key;
  Policy policy;
  std::optional<Seconds> mail_delay;
  std::vector<Happening> happenings;
};

Scenario random_scenario(std::mt19937_64& random) {
  const auto below = [&](std::int64_t bound) {
    return std::uniform_int_distribution<std::int64_t>(0, bound - 1)(random);
  };
  Scenario out;
  const Instant start = at("2027-06-01") + Seconds{below(400 * 86400)};
  out.key = sample_key(start, below(2) ? "CUSTOM" : "INTEGRATION");
  out.key.is_public = below(8) == 0;
  if (below(3) == 0) out.policy.inactivity = base::Period{0, 2 + static_cast<int>(below(6)), 0, 0};
  if (below(8) == 0) out.policy.inactivity = base::Period{0, 0, 0, 1 + static_cast<int>(below(40))};
  if (below(2)) {
    base::Period lifetime;
    lifetime.months = static_cast<int>(below(20));
    lifetime.days = 1 + static_cast<int>(below(30));
    out.key.expires_at = expiry_after(start, lifetime);
  }
  const Seconds delays[] = {Seconds{4},        Seconds{50},        Seconds{200},
                            Seconds{3 * 3600}, Seconds{30 * 3600}, Seconds{86400},
                            Seconds{9 * 86400}};
  if (below(8) != 0) out.mail_delay = delays[below(7)];
  const std::int64_t count = below(8);
  for (std::int64_t i = 0; i < count; ++i) {
    Happening happening;
    happening.at = start + Seconds{below(two_years.count())};
    // Half of them at a full day, where the deadlines lie.
    if (below(2)) happening.at = base::start_of_day(happening.at) + Seconds{below(3) - 1};
    if (happening.at <= start) continue;
    happening.what = static_cast<Happening::What>(std::min<std::int64_t>(below(12), 6));
    if (below(3) == 0) happening.what = Happening::What::use;
    happening.severity = static_cast<store::Severity>(below(5));
    out.happenings.push_back(happening);
  }
  std::sort(out.happenings.begin(), out.happenings.end(),
            [](const Happening& a, const Happening& b) { return a.at < b.at; });
  return out;
}

Life jump(const Scenario& scenario, unsigned& looks) {
  Life life(scenario.key, scenario.policy, scenario.mail_delay);
  Instant now = scenario.key.created;
  const Instant end = now + two_years;
  std::size_t next = 0;
  life.look(now);
  while (true) {
    std::optional<Instant> wake = life.next_due();
    if (const auto mail = life.next_acceptance(now); mail && (!wake || *mail < *wake)) wake = mail;
    const bool happens =
        next < scenario.happenings.size() && (!wake || scenario.happenings[next].at <= *wake);
    if (happens) {
      now = scenario.happenings[next].at;
      life.happen(scenario.happenings[next++]);
    } else if (wake && *wake <= end) {
      EXPECT_GT(*wake, now) << "due again without anything to do";
      if (*wake <= now) break;
      now = *wake;
      life.look(now);
    } else {
      break;
    }
    ++looks;
  }
  return life;
}

Life step(const Scenario& scenario, const std::set<Instant>& boundaries) {
  std::set<Instant> instants;
  const Instant start = scenario.key.created;
  const Instant end = start + two_years;
  for (Instant hour = start; hour <= end; hour += Seconds{3600}) instants.insert(hour);
  for (const Instant boundary : boundaries) {
    for (int offset = -2; offset <= 2; ++offset) {
      const Instant near = boundary + Seconds{offset};
      if (near >= start && near <= end) instants.insert(near);
    }
  }
  Life life(scenario.key, scenario.policy, scenario.mail_delay);
  std::size_t next = 0;
  Instant before = start;
  for (const Instant now : instants) {
    while (true) {
      const auto mail = life.next_acceptance(before);
      const bool happens = next < scenario.happenings.size() && scenario.happenings[next].at <= now;
      if (mail && *mail <= now && (!happens || *mail < scenario.happenings[next].at)) {
        before = *mail;
        life.look(*mail);
      } else if (happens) {
        before = std::max(before, scenario.happenings[next].at);
        life.happen(scenario.happenings[next++]);
      } else {
        break;
      }
    }
    before = now;
    life.look(now);
  }
  return life;
}

TEST(StepsAndJumps, GiveTheSameTransitionsAndNotices) {
  std::mt19937_64 random(20270101);
  unsigned transitions = 0;
  for (int run = 0; run < 60; ++run) {
    const Scenario scenario = random_scenario(random);
    unsigned looks = 0;
    const Life jumped = jump(scenario, looks);
    const Life stepped = step(scenario, jumped.boundaries());
    ASSERT_EQ(jumped.log(), stepped.log()) << "run " << run;
    ASSERT_EQ(static_cast<int>(jumped.key().state), static_cast<int>(stepped.key().state));
    transitions += static_cast<unsigned>(jumped.log().size());
  }
  EXPECT_GT(transitions, 200U) << "the scenarios hardly do anything";
}

/// Looking weeks late: the same end, and of each timer's missed warnings one at most to be mailed.
TEST(StepsAndJumps, LateLooksEndTheSameAndMailOnlyTheTightest) {
  std::mt19937_64 random(7);
  for (int run = 0; run < 300; ++run) {
    Scenario scenario = random_scenario(random);
    scenario.happenings.clear();
    scenario.mail_delay = Seconds{5};
    const Instant created = scenario.key.created;
    store::ApiKey late = scenario.key;
    std::set<std::string> seen;
    for (Instant now = created; now <= created + two_years; now += Seconds{21 * 86400 + 12345}) {
      Facts facts;
      facts.warning_accepted = now - Seconds{21 * 86400};
      const Evaluation evaluation = evaluate(late, facts, scenario.policy, now);
      std::map<int, int> pending;
      for (const auto& notice : evaluation.notices) {
        EXPECT_TRUE(seen.insert(std::to_string(static_cast<int>(notice.kind)) + "/" +
                                std::to_string(notice.cycle.time_since_epoch().count()) + "/" +
                                std::to_string(notice.offset.count()))
                        .second)
            << "a notice was planned twice";
        if (notice.state == NoticeState::pending) ++pending[static_cast<int>(notice.timer)];
      }
      for (const auto& [timer, count] : pending) EXPECT_EQ(count, 1);
      if (evaluation.key.next_due) {
        EXPECT_GT(*evaluation.key.next_due, now);
      }
      late = evaluation.key;
    }
    if (late.expires_at && *late.expires_at < created + Seconds{700 * 86400}) {
      EXPECT_EQ(static_cast<int>(late.state), static_cast<int>(KeyState::expired));
    } else if (!late.expires_at) {
      EXPECT_EQ(static_cast<int>(late.state), static_cast<int>(KeyState::disabled_for_inactivity));
    }
  }
}

}  // namespace
}  // namespace sallyport::daemon::lifecycle

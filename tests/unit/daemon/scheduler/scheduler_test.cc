#include "daemon/scheduler/scheduler.h"

#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <stdexcept>
#include <thread>

namespace sallyport::daemon {
namespace {

using base::from_unix;
using base::Instant;
using Steady = std::chrono::steady_clock;

constexpr std::chrono::seconds patience{20};

// A wall and a boot clock that move apart.
class TwoClocks final : public base::Clock {
 public:
  [[nodiscard]] std::chrono::sys_time<std::chrono::milliseconds> now_ms() const override {
    return from_unix(wall.load());
  }
  [[nodiscard]] std::chrono::nanoseconds monotonic() const override {
    return base::Seconds{boot.load()};
  }
  std::atomic<std::int64_t> wall{1'000'000'000};
  std::atomic<std::int64_t> boot{1000};
};

// Work that lies at instants, one a pass.
class Instants final : public DueWork {
 public:
  explicit Instants(std::string name, bool leader_only = false)
      : name_(std::move(name)), leader_only_(leader_only) {}

  [[nodiscard]] std::string name() const override { return name_; }
  [[nodiscard]] bool leader_only() const override { return leader_only_; }
  [[nodiscard]] std::optional<Instant> earliest() override {
    const std::lock_guard lock(mutex_);
    ++asked;
    if (fail_earliest) throw std::runtime_error("the store is away");
    if (due_.empty()) return std::nullopt;
    return due_.front();
  }
  bool run_pass(Instant now) override {
    const std::lock_guard lock(mutex_);
    ++passes;
    if (held) return false;
    done.push_back(now);
    due_.pop_front();
    changed_.notify_all();
    return !due_.empty();
  }
  void put(Instant at) {
    const std::lock_guard lock(mutex_);
    due_.push_back(at);
  }
  void put_first(Instant at) {
    const std::lock_guard lock(mutex_);
    due_.push_front(at);
  }
  bool wait_for_passes(int count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, patience,
                             [&] { return static_cast<int>(done.size()) >= count; });
  }

  std::vector<Instant> done;
  std::atomic<int> passes{0};
  std::atomic<int> asked{0};
  std::atomic<bool> held{false};
  std::atomic<bool> fail_earliest{false};

 private:
  const std::string name_;
  const bool leader_only_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Instant> due_;
};

class SchedulerTest : public ::testing::Test {
 protected:
  Steady::time_point deadline() { return Steady::now() + patience; }
  // Works outlive the scheduler that runs them.
  Instants& make(std::string name, bool leader_only = false) {
    return *works_.emplace_back(std::make_unique<Instants>(std::move(name), leader_only));
  }

  std::vector<std::unique_ptr<Instants>> works_;
  TwoClocks clock;
  Health health{clock};
  std::atomic<bool> synchronised{false};
  ClockWatch watch{clock, health, [this] { return synchronised.load(); }};
  std::atomic<bool> leading{true};
  Scheduler scheduler{clock, health, watch, [this] { return leading.load(); }};
};

TEST_F(SchedulerTest, DrainRunsAllThatIsDueAndNothingElse) {
  Instants& a = make("a");
  Instants& b = make("b");
  a.put(clock.now() - base::Seconds{5});
  a.put(clock.now());
  a.put(clock.now() + base::Seconds{3600});
  b.put(clock.now() + base::Seconds{7200});
  scheduler.add(a);
  scheduler.add(b);
  scheduler.start();
  ASSERT_TRUE(scheduler.drain(deadline()));
  EXPECT_EQ(a.done.size(), 2U);
  EXPECT_TRUE(b.done.empty());

  watch.step(base::Seconds{7200}, [this] { clock.wall += 7200; });
  ASSERT_TRUE(scheduler.drain(deadline()));
  EXPECT_EQ(a.done.size(), 3U);
  EXPECT_EQ(b.done.size(), 1U);
  EXPECT_EQ(b.done[0], clock.now());
}

TEST_F(SchedulerTest, WakeRunsNewWorkAtOnce) {
  Instants& work = make("work");
  scheduler.add(work);
  scheduler.start();
  ASSERT_TRUE(scheduler.drain(deadline()));
  work.put(clock.now());
  scheduler.wake("work");
  EXPECT_TRUE(work.wait_for_passes(1));
}

TEST_F(SchedulerTest, WakeAtRunsWorkWhenItIsDueAndAsksNobodyBefore) {
  Instants& work = make("work");
  scheduler.add(work);
  scheduler.start();
  ASSERT_TRUE(scheduler.drain(deadline()));
  const int asked = work.asked;
  const Instant at = clock.now() + base::Seconds{7200};
  work.put(at);
  scheduler.wake_at("work", at);
  // What lies behind it changes nothing.
  scheduler.wake_at("work", at + base::Seconds{1});
  EXPECT_EQ(scheduler.status().at(0).next, at);
  EXPECT_EQ(work.asked, asked);
  EXPECT_TRUE(work.done.empty());
  const Instant sooner = clock.now() - base::Seconds{1};
  work.put_first(sooner);
  scheduler.wake_at("work", sooner);
  EXPECT_TRUE(work.wait_for_passes(1));
  EXPECT_EQ(work.done.at(0), clock.now());
  ASSERT_TRUE(scheduler.drain(deadline()));
  EXPECT_EQ(work.done.size(), 1U);
}

// Its pass has looked already when more comes: it says that nothing is left, and more is due.
class GrowsInItsPass final : public DueWork {
 public:
  explicit GrowsInItsPass(Waker& waker) : waker_(waker) {}
  [[nodiscard]] std::string name() const override { return "grows"; }
  [[nodiscard]] std::optional<Instant> earliest() override {
    return left.load() > 0 ? std::optional(from_unix(1)) : std::nullopt;
  }
  bool run_pass(Instant) override {
    if (--left == 2) waker_.wake("grows");
    return left.load() > 2;
  }
  std::atomic<int> left{3};

 private:
  Waker& waker_;
};

TEST_F(SchedulerTest, WhatComesDuringAPassIsNotPaused) {
  GrowsInItsPass work(scheduler);
  scheduler.add(work);
  scheduler.start();
  scheduler.wake("grows");
  const auto start = Steady::now();
  while (work.left.load() > 1 && Steady::now() < start + patience) std::this_thread::yield();
  EXPECT_LE(work.left.load(), 1);
  EXPECT_LT(Steady::now() - start, std::chrono::milliseconds{900});  // the first pause is a second
  scheduler.stop();
}

TEST(SchedulerTimer, RunsByItselfWhenTheInstantComes) {
  const base::SystemClock clock;
  Health health(clock);
  ClockWatch watch(clock, health, [] { return true; });
  Instants work("work");
  Scheduler scheduler(clock, health, watch, [] { return true; });
  const Instant due = clock.now() + base::Seconds{2};
  work.put(due);
  scheduler.add(work);
  scheduler.start();
  ASSERT_TRUE(work.wait_for_passes(1));
  EXPECT_GE(work.done[0], due);
  EXPECT_LE(work.done[0], due + base::Seconds{2});
}

TEST_F(SchedulerTest, WorkThatCannotBeDoneNowIsPausedNotSpunOn) {
  Instants& work = make("work");
  work.put(clock.now());
  work.held = true;
  scheduler.add(work);
  scheduler.start();
  ASSERT_TRUE(scheduler.drain(deadline()));
  const int passes = work.passes;
  EXPECT_GE(passes, 1);
  EXPECT_LE(passes, 10);
  work.held = false;
  scheduler.wake("work");
  EXPECT_TRUE(work.wait_for_passes(1));
}

TEST_F(SchedulerTest, AFailureRaisesHealthAndIsTriedAgain) {
  Instants& work = make("work");
  work.put(clock.now());
  work.fail_earliest = true;
  scheduler.add(work);
  scheduler.start();
  ASSERT_TRUE(scheduler.drain(deadline()));
  ASSERT_EQ(health.list().size(), 1U);
  EXPECT_EQ(health.list()[0].name, "scheduler.work");
  work.fail_earliest = false;
  EXPECT_TRUE(work.wait_for_passes(1));  // by itself, after its pause
  ASSERT_TRUE(scheduler.drain(deadline()));
  EXPECT_TRUE(health.good());
}

TEST_F(SchedulerTest, OnlyTheLeaderRunsWhatOneNodeMayRun) {
  Instants& leaders = make("leaders", true);
  Instants& everybodys = make("everybodys");
  leaders.put(clock.now());
  everybodys.put(clock.now());
  scheduler.add(leaders);
  scheduler.add(everybodys);
  leading = false;
  scheduler.start();
  ASSERT_TRUE(scheduler.drain(deadline()));
  EXPECT_TRUE(leaders.done.empty());
  EXPECT_EQ(everybodys.done.size(), 1U);
  leading = true;
  scheduler.wake_all();
  EXPECT_TRUE(leaders.wait_for_passes(1));
}

TEST_F(SchedulerTest, StopsWhileWorkIsPausedOrWaiting) {
  Instants& work = make("work");
  work.put(clock.now() + base::one_day);
  scheduler.add(work);
  scheduler.start();
  scheduler.stop();
  EXPECT_TRUE(work.done.empty());
}

class ClockWatchTest : public ::testing::Test {
 protected:
  TwoClocks clock;
  Health health{clock};
  std::atomic<bool> synchronised{false};
  ClockWatch watch{clock, health, [this] { return synchronised.load(); }};
};

TEST_F(ClockWatchTest, AStepForwardHoldsFinalTransitionsUntilConfirmed) {
  clock.wall += 86400;
  EXPECT_TRUE(watch.look());
  EXPECT_FALSE(watch.final_transitions_allowed());
  EXPECT_EQ(health.list().at(0).name, "clock.stepped");
  EXPECT_FALSE(watch.look());
  EXPECT_FALSE(watch.final_transitions_allowed());
  watch.confirm();
  EXPECT_TRUE(watch.final_transitions_allowed());
  EXPECT_TRUE(health.good());
}

TEST_F(ClockWatchTest, AStepBackEndsWhenTheClockIsSynchronised) {
  clock.wall -= 86400;
  EXPECT_TRUE(watch.look());
  EXPECT_FALSE(watch.final_transitions_allowed());
  synchronised = true;
  EXPECT_FALSE(watch.look());
  EXPECT_TRUE(watch.final_transitions_allowed());
}

TEST_F(ClockWatchTest, AStepCountsBeforeItHasBeenLookedAt) {
  clock.wall += 86400;
  EXPECT_FALSE(watch.final_transitions_allowed());
  clock.wall -= 86400;
  EXPECT_TRUE(watch.final_transitions_allowed());
}

TEST_F(ClockWatchTest, AStepIsAtNoMomentBelievedWhileItIsLookedAt) {
  for (int i = 0; i < 200; ++i) {
    clock.wall += 86400;
    std::atomic<bool> asking{false};
    std::atomic<bool> looked{false};
    std::thread pass([&] {
      do {
        EXPECT_FALSE(watch.final_transitions_allowed());
        asking = true;
      } while (!looked);
    });
    while (!asking) std::this_thread::yield();
    EXPECT_TRUE(watch.look());
    looked = true;
    pass.join();
    watch.confirm();
  }
}

TEST_F(ClockWatchTest, ConfirmingTakesTheClockAsItIsNow) {
  clock.wall += 86400;
  EXPECT_TRUE(watch.look());
  clock.wall -= 86400;
  watch.confirm();
  EXPECT_TRUE(watch.final_transitions_allowed());
  EXPECT_FALSE(watch.look()) << "the step back was confirmed with it";
  EXPECT_TRUE(health.good());
}

TEST_F(ClockWatchTest, SleepingForThreeWeeksIsNoStep) {
  clock.wall += 21 * 86400;
  clock.boot += 21 * 86400;
  EXPECT_FALSE(watch.look());
  EXPECT_TRUE(watch.final_transitions_allowed());
}

TEST_F(ClockWatchTest, SlewingDoesNotAddUp) {
  for (int i = 0; i < 10; ++i) {
    clock.wall += 1800;
    EXPECT_FALSE(watch.look());
  }
  EXPECT_TRUE(watch.final_transitions_allowed());
}

TEST_F(ClockWatchTest, AStepOfOurOwnIsNone) {
  watch.step(base::one_day, [this] { clock.wall += 86400; });
  EXPECT_FALSE(watch.look());
  EXPECT_TRUE(watch.final_transitions_allowed());
}

TEST_F(ClockWatchTest, ThePolicyMayBeToGoOn) {
  watch.set_policy({false, base::Seconds{3600}});
  clock.wall += 86400;
  EXPECT_TRUE(watch.look());
  EXPECT_TRUE(watch.final_transitions_allowed());
}

}  // namespace
}  // namespace sallyport::daemon

#include "daemon/scheduler/scheduler.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/error.h"
#include "base/log.h"

namespace sallyport::daemon {
namespace {

using Steady = std::chrono::steady_clock;
// The watcher goes round at least this often: the pulse of the watchdog, and how soon a step of
// the clock that did not cancel the timer (none was armed) is seen.
constexpr std::chrono::milliseconds pulse{5000};
constexpr std::chrono::seconds first_pause{1};
constexpr std::chrono::seconds longest_pause{60};

}  // namespace

struct Scheduler::Kind {
  explicit Kind(DueWork& its) : work(its), name(its.name()) {}

  DueWork& work;
  const std::string name;
  std::thread thread;
  /// Its own: a wake of one kind is no business of the others' threads.
  std::condition_variable called;
  // Below: under the scheduler's mutex.
  bool wanted = true;  ///< to be asked again
  bool running = false;
  std::optional<base::Instant> next;
  /// Not before: after a failure, or when a pass left due what it found due.
  std::optional<Steady::time_point> paused_until;
  std::chrono::seconds pause = first_pause;
  std::uint64_t passes = 0;
  std::string problem;
};

Scheduler::Scheduler(const base::Clock& clock, Health& health, ClockWatch& watch,
                     std::function<bool()> leading)
    : clock_(clock),
      health_(health),
      watch_(watch),
      leading_(std::move(leading)),
      timer_(::timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC)),
      poked_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  if (!timer_ || !poked_) throw base::SystemError(errno, "create the scheduler's timer");
  last_alive_.store(clock_.monotonic().count());
}

Scheduler::~Scheduler() {
  stop();
}

void Scheduler::add(DueWork& work) {
  kinds_.push_back(std::make_unique<Kind>(work));
}

void Scheduler::start() {
  for (const auto& kind : kinds_) {
    kind->thread = std::thread([this, one = kind.get()] { run(*one); });
  }
  watcher_ = std::thread([this] { watch_clock(); });
}

void Scheduler::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    for (const auto& kind : kinds_) kind->called.notify_one();
  }
  changed_.notify_all();
  poke();
  for (const auto& kind : kinds_) {
    if (kind->thread.joinable()) kind->thread.join();
  }
  if (watcher_.joinable()) watcher_.join();
}

void Scheduler::poke() noexcept {
  const std::uint64_t one = 1;
  // A full counter is a poke already.
  static_cast<void>(!::write(poked_.get(), &one, sizeof(one)));
}

void Scheduler::wake(std::string_view name) noexcept {
  const std::lock_guard lock(mutex_);
  for (const auto& kind : kinds_) {
    if (kind->name == name) call(*kind);
  }
}

void Scheduler::wake_at(std::string_view name, base::Instant at) noexcept {
  bool sooner = false;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& kind : kinds_) {
      if (kind->name != name) continue;
      if (kind->running || kind->wanted || kind->paused_until) {
        // What it is about to say of itself may be from before the change.
        call(*kind);
      } else if (!kind->next || at < *kind->next) {
        kind->next = at;
        sooner = true;
      }
    }
  }
  if (sooner) poke();
}

void Scheduler::wake_all() noexcept {
  {
    const std::lock_guard lock(mutex_);
    for (const auto& kind : kinds_) call(*kind);
  }
  poke();
}

// Under the mutex.
void Scheduler::call(Kind& kind) noexcept {
  kind.wanted = true;
  kind.paused_until.reset();
  kind.called.notify_one();
}

void Scheduler::arm(std::optional<base::Instant> earliest) {
  itimerspec when{};
  if (earliest) {
    // In the machine's own time: ours may be moved against it by a test.
    const auto left = *earliest - clock_.now_ms();
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    const auto at = std::chrono::seconds{now.tv_sec} + std::chrono::nanoseconds{now.tv_nsec} +
                    std::max<std::chrono::nanoseconds>(left, std::chrono::milliseconds{1});
    const auto seconds = std::chrono::floor<std::chrono::seconds>(at);
    when.it_value.tv_sec = static_cast<time_t>(seconds.count());
    when.it_value.tv_nsec = static_cast<long>((at - seconds).count());
  } else {
    // A timer that nobody waits for is still cancelled by a clock set: a day from now will do.
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    when.it_value.tv_sec = now.tv_sec + 86400;
  }
  ::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &when, nullptr);
}

void Scheduler::watch_clock() {
  for (;;) {
    std::optional<base::Instant> earliest;
    auto wait = pulse;
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
      const auto now = Steady::now();
      for (const auto& kind : kinds_) {
        if (kind->paused_until) {
          const auto left = std::chrono::ceil<std::chrono::milliseconds>(*kind->paused_until - now);
          wait = std::clamp(left, std::chrono::milliseconds{0}, wait);
        } else if (!kind->running && !kind->wanted && kind->next) {
          earliest = earliest ? std::min(*earliest, *kind->next) : *kind->next;
        }
      }
    }
    arm(earliest);
    std::array<pollfd, 2> entries{{{timer_.get(), POLLIN, 0}, {poked_.get(), POLLIN, 0}}};
    ::poll(entries.data(), entries.size(), static_cast<int>(wait.count()));
    std::uint64_t count = 0;
    static_cast<void>(!::read(poked_.get(), &count, sizeof(count)));
    const bool clock_set = ::read(timer_.get(), &count, sizeof(count)) < 0 && errno == ECANCELED;
    last_alive_.store(clock_.monotonic().count());
    if (watch_.look() || clock_set) {
      wake_all();
      continue;
    }
    const std::lock_guard lock(mutex_);
    const auto now = clock_.now();
    for (const auto& kind : kinds_) {
      const bool due = kind->paused_until ? *kind->paused_until <= Steady::now()
                                          : !kind->running && kind->next && *kind->next <= now;
      if (due) call(*kind);
    }
  }
}

void Scheduler::run(Kind& kind) {
  std::unique_lock lock(mutex_);
  for (;;) {
    kind.called.wait(lock, [&] { return stopping_ || (kind.wanted && !kind.paused_until); });
    if (stopping_) return;
    kind.wanted = false;
    kind.running = true;
    lock.unlock();
    one_turn(kind);
    lock.lock();
    kind.running = false;
    changed_.notify_all();
    poke();
  }
}

// Passes until nothing is due, or until a pass failed or left due what was due before it.
void Scheduler::one_turn(Kind& kind) {
  std::optional<base::Instant> next;
  std::string problem;
  bool stuck = false;
  bool any_pass = false;
  try {
    const bool may_run = !kind.work.leader_only() || leading_();
    for (;;) {
      next = may_run ? kind.work.earliest() : std::nullopt;
      if (!next || *next > clock_.now()) break;
      if (stuck) break;
      {
        const std::lock_guard lock(mutex_);
        if (stopping_) return;
        ++kind.passes;
      }
      const bool more = kind.work.run_pass(clock_.now());
      any_pass = true;
      // Nothing left to do, it says: if the same is still due, it cannot be done now.
      stuck = !more;
    }
    stuck = next && *next <= clock_.now() && stuck;
  } catch (const std::exception& error) {
    problem = error.what();
    base::log_error("scheduler.pass_failed", {{"work", kind.name}}, "The {} pass failed: {}",
                    kind.name, problem);
  }
  health_.set("scheduler." + kind.name, !problem.empty(),
              fmt::format("The {} pass failed and is tried again: {}", kind.name, problem));
  const std::lock_guard lock(mutex_);
  kind.problem = problem;
  // Woken while it ran: what is due may have come after the pass had looked. That is no reason for
  // a pause, which would swallow the wake.
  if (problem.empty() && stuck && kind.wanted) stuck = false;
  if (problem.empty() && !stuck) {
    kind.next = next;
    kind.pause = first_pause;
    kind.paused_until.reset();
    if (any_pass) ++progress_;
  } else {
    if (problem.empty()) kind.next = next;
    kind.paused_until = Steady::now() + kind.pause;
    kind.pause = std::min(kind.pause * 2, longest_pause);
  }
}

bool Scheduler::idle(const Kind& kind, base::Instant now) const {
  if (kind.running) return false;
  if (kind.paused_until) return true;
  return !kind.wanted && (!kind.next || *kind.next > now);
}

bool Scheduler::drain(Steady::time_point deadline) {
  for (;;) {
    std::uint64_t before = 0;
    {
      std::unique_lock lock(mutex_);
      before = progress_;
    }
    wake_all();
    {
      std::unique_lock lock(mutex_);
      const bool quiet = changed_.wait_until(lock, deadline, [&] {
        const auto now = clock_.now();
        return stopping_ || std::all_of(kinds_.begin(), kinds_.end(),
                                        [&](const auto& kind) { return idle(*kind, now); });
      });
      if (!quiet) return false;
    }
    for (const auto& kind : kinds_) kind->work.settle(deadline);
    if (Steady::now() >= deadline) return false;
    const std::lock_guard lock(mutex_);
    if (stopping_ || progress_ == before) return true;
  }
}

std::vector<Scheduler::Status> Scheduler::status() {
  std::vector<Status> all;
  const std::lock_guard lock(mutex_);
  for (const auto& kind : kinds_) {
    all.push_back({kind->name, kind->next, kind->running, kind->passes, kind->problem});
  }
  return all;
}

}  // namespace sallyport::daemon

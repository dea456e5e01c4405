#include "store/store.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <thread>
#include <vector>

#include "base/locked.h"
#include "base/log.h"
#include "store/migrations.h"
#include "store/turns.h"
#include "store/unit.h"

namespace sallyport::store {
namespace {

// A deadlock is over at once, but on a Galera cluster whoever commits first wins: several nodes
// that change one row lose to each other time and again. Lock waits take long by themselves, and so
// get no more than the few attempts.
constexpr int few_attempts = 5;
constexpr int most_attempts = 15;
constexpr std::chrono::seconds most_retrying{3};
/// Longer than any unit of work should take: then something hangs, and saying so is better than
/// waiting on.
constexpr std::chrono::seconds most_waiting{30};

/// A partner who sends many small files has the next commit to wait for within this time.
constexpr std::chrono::milliseconds calm_after{2};

thread_local bool in_background = false;

/// Idle connections, at most `limit` in use. Threads: any. The pool outlives what it lends.
class Pool {
 public:
  using Connect = std::function<std::unique_ptr<Connection>()>;

  Pool(unsigned limit, Connect connect, std::chrono::milliseconds calm = {})
      : limit_(limit), turns_(limit, calm), connect_(std::move(connect)) {}

  class Lease {
   public:
    Lease(Pool& pool, std::unique_ptr<Connection> connection, unsigned generation)
        : pool_(pool), connection_(std::move(connection)), generation_(generation) {}
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    ~Lease() { pool_.give_back(std::move(connection_), generation_); }
    Connection& operator*() { return *connection_; }

   private:
    Pool& pool_;
    std::unique_ptr<Connection> connection_;
    unsigned generation_;
  };

  [[nodiscard]] Lease take() {
    if (!turns_.take(in_background, most_waiting)) {
      throw Error(Failure::unavailable, 0,
                  fmt::format("all {} connections to the database have been busy for {} s; "
                              "allow more of them, or look for what holds them",
                              limit_, most_waiting.count()));
    }
    std::unique_ptr<Connection> idle;
    unsigned generation = 0;
    {
      auto state = state_.lock();
      generation = state->generation;
      if (!state->idle.empty()) {
        idle = std::move(state->idle.back());
        state->idle.pop_back();
      }
    }
    if (idle) return Lease(*this, std::move(idle), generation);
    try {
      return Lease(*this, connect_(), generation);
    } catch (...) {
      give_back(nullptr, generation);
      throw;
    }
  }

 private:
  struct State {
    std::vector<std::unique_ptr<Connection>> idle;
    unsigned generation = 0;
  };

  void give_back(std::unique_ptr<Connection> connection, unsigned generation) noexcept {
    std::vector<std::unique_ptr<Connection>> dropped;  // closed after the lock is released
    {
      auto state = state_.lock();
      if (connection && !connection->usable()) {
        // What was idle meanwhile has hardly fared better.
        ++state->generation;
        dropped.swap(state->idle);
        dropped.push_back(std::move(connection));
      } else if (connection && generation == state->generation) {
        state->idle.push_back(std::move(connection));
      } else {
        dropped.push_back(std::move(connection));
      }
    }
    turns_.give_back(in_background);
  }

  unsigned limit_;
  Turns turns_;
  Connect connect_;
  base::Locked<State> state_;
};

/// Marks the thread that is in a unit of work: a second one inside could wait for the first for
/// ever.
thread_local bool in_unit = false;

class InUnit {
 public:
  InUnit() {
    if (in_unit) throw Error(Failure::broken, 0, "a unit of work was begun inside another one");
    in_unit = true;
  }
  ~InUnit() { in_unit = false; }
  InUnit(const InUnit&) = delete;
  InUnit& operator=(const InUnit&) = delete;
};

void pause_before_retry(int attempt) {
  // Some randomness, or two that are in each other's way would stay so.
  thread_local std::minstd_rand random{std::random_device{}()};
  const int most = std::min(10 << attempt, 200);
  std::this_thread::sleep_for(
      std::chrono::milliseconds(std::uniform_int_distribution<int>(1, most)(random)));
}

class PooledStore final : public Store {
 public:
  explicit PooledStore(Options options)
      : options_(std::move(options)),
        // SQLite has one writer at a time anyway: waiting here is fairer than waiting there.
        writers_(
            is_sqlite() ? 1 : std::max(1U, options_.connections), [this] { return connect(true); },
            is_sqlite() ? calm_after : std::chrono::milliseconds{}),
        readers_(std::max(1U, is_sqlite() ? options_.connections - 1 : 1U),
                 [this] { return connect(false); }) {
    Pool::Lease connection = writers_.take();
    migrate(*connection, options_);
  }

  Dialect dialect() const override { return options_.dialect; }

  void ping() override {
    run(false, [](Unit& unit) {
      Prepared& prepared = unit.prepare(Sql::ping);
      (void)prepared.next();
      prepared.reset();
    });
  }

 protected:
  void run(bool writes, const std::function<void(Unit&)>& work) override {
    const InUnit mark;
    bool reconnected = false;
    const auto started = std::chrono::steady_clock::now();
    const auto may_go_on = [&](int attempt) {
      return attempt < few_attempts || (attempt < most_attempts &&
                                        std::chrono::steady_clock::now() - started < most_retrying);
    };
    for (int attempt = 1;; ++attempt) {
      Stage stage = Stage::connecting;
      try {
        run_once(writes, work, stage);
        return;
      } catch (const Error& error) {
        if (error.kind() == Failure::conflict && may_go_on(attempt)) {
          base::log_debug("store.conflict", {{"attempt", attempt}, {"code", error.code()}}, "{}",
                          error.what());
        } else if (stage == Stage::working && error.kind() == Failure::unavailable &&
                   !reconnected) {
          // Nothing was committed: once more, on a fresh connection.
          reconnected = true;
          continue;
        } else {
          throw;
        }
      }
      pause_before_retry(attempt);
    }
  }

 private:
  enum class Stage { connecting, working, committing };

  [[nodiscard]] bool is_sqlite() const { return options_.dialect == Dialect::sqlite; }

  std::unique_ptr<Connection> connect(bool writes) {
    return is_sqlite() ? connect_sqlite(options_, writes) : connect_mysql(options_);
  }

  void run_once(bool writes, const std::function<void(Unit&)>& work, Stage& stage) {
    Pool::Lease lease = writes || !is_sqlite() ? writers_.take() : readers_.take();
    Connection& connection = *lease;
    stage = Stage::working;
    connection.begin(writes);
    try {
      Unit unit(connection, options_.dialect);
      work(unit);
      unit.finish();
      stage = Stage::committing;
      connection.commit();
    } catch (...) {
      connection.rollback();
      throw;
    }
  }

  Options options_;
  Pool writers_;
  Pool readers_;
};

}  // namespace

void work_in_background() noexcept {
  in_background = true;
}

std::unique_ptr<Store> open_store(Options options) {
  return std::make_unique<PooledStore>(std::move(options));
}

}  // namespace sallyport::store

// The worker threads that take files through their steps, and the due work that brings files back:
// retries, interrupted uploads, and after a start everything the journal knows as unfinished.
//
// Files come in by offer(); the rows themselves are read again when a worker takes them, so what is
// kept here is only who comes when. A step that cannot be done is recorded as waiting; when even
// that cannot be recorded (the store is away) the whole journal is looked through again as soon as
// it answers. A sweep every minute is the net below all of it, over unfinished rows only.
//
// Threads: everything from any thread. start() before, stop() after everything else; stop() lets
// running steps end.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "daemon/files/context.h"
#include "daemon/files/inbound.h"
#include "daemon/files/journal.h"
#include "daemon/files/lanes.h"
#include "daemon/scheduler/due_work.h"

namespace sallyport::daemon {

class Outbound;

class Pipeline final : public DueWork {
 public:
  /// `outbound` may be null in tests of the other direction.
  Pipeline(const FileContext& context, Inbound& inbound, Outbound* outbound);
  ~Pipeline() override;

  /// Where files come from; told to resolve interrupted uploads. Set once before start().
  void set_intake(Intake& intake) { intake_ = &intake; }
  /// Looks through the journal, then starts the workers.
  void start();
  void stop();

  /// There may be something to do for the file. Cheap.
  void offer(const store::File& file);
  /// Blocks until nothing can be done now, or the deadline; true = idle.
  bool wait_idle(std::chrono::steady_clock::time_point deadline);

  // DueWork
  [[nodiscard]] std::string name() const override { return "files"; }
  [[nodiscard]] std::optional<base::Instant> earliest() override;
  bool run_pass(base::Instant now) override;
  [[nodiscard]] bool leader_only() const override { return true; }
  void settle(std::chrono::steady_clock::time_point deadline) override {
    static_cast<void>(wait_idle(deadline));
  }

  /// One job in the calling thread; false if there is nothing to do. For tests without workers.
  bool work_once();
  /// Offers every unfinished file of the journal.
  void look_through_journal();

 private:
  void run();
  void work(const Job& job);
  void finish(const Job& job, const store::File& file, StepResult result);
  void fall_back(const Job& job, const std::string& id, const std::string& sentence,
                 bool disk_full);
  void offer_unsettled();
  void settle_later(const std::string& id, const std::string& sentence);
  void note_stuck(const std::string& id, const std::string& sentence);
  [[nodiscard]] bool clock_went_back(base::Instant now) const;
  template <class Change>
  void with_lanes(Change&& change);

  FileContext context_;
  Inbound& inbound_;
  Outbound* outbound_;
  Intake* intake_ = nullptr;

  std::mutex mutex_;
  std::condition_variable changed_;
  Lanes lanes_;
  std::map<std::string, std::string> stuck_;  ///< file id -> why it waits
  /// Done with, but the original could not be moved where the journal has it.
  std::set<std::string> unsettled_;
  bool stopping_ = false;
  std::vector<std::thread> workers_;
  std::atomic<std::int64_t> next_sweep_{0};
  std::atomic<bool> journal_unseen_{true};
  std::atomic<bool> looked_{false};
};

}  // namespace sallyport::daemon

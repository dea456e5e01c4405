// Does what after_delivery.h records: hooks, webhooks and receipts, by a few threads of its own, so
// that a hook that hangs holds up neither files nor the other tasks. At least once each; retried
// with pauses from 10 s to 1 h for two days, then given up with a health condition and a step of
// the file's history; 'sallyportctl files retry' tries it again (after_delivery.h).
//
// Threads: start() and stop() by the owner; passes by the scheduler.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/c_handle.h"
#include "daemon/files/context.h"
#include "daemon/scheduler/due_work.h"
#include "store/files.h"

namespace sallyport::daemon {

class FileTasks final : public DueWork {
 public:
  explicit FileTasks(const FileContext& context);
  ~FileTasks() override;

  void start();
  /// Ends a hook that runs; it is run again after the next start.
  void stop();
  /// One task in the calling thread; false if none is queued. For tests without threads.
  bool work_once();

  [[nodiscard]] std::string name() const override { return "file-tasks"; }
  [[nodiscard]] std::optional<base::Instant> earliest() override;
  bool run_pass(base::Instant now) override;
  [[nodiscard]] bool leader_only() const override { return true; }
  void settle(std::chrono::steady_clock::time_point deadline) override;

 private:
  using Id = std::pair<std::string, std::string>;  ///< file, kind
  void run();
  void work(const store::FileTask& task);
  /// Empty: done; else what went wrong.
  [[nodiscard]] std::string attempt(const store::File& file, const store::FileTask& task);
  /// `had_failed`: what the file was when the task was done.
  void record(const store::FileTask& task, bool had_failed, const std::string& trouble);
  /// Health names one that was given up, as long as there is any.
  void tell_given_up();

  FileContext context_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<store::FileTask> queue_;
  std::set<Id> known_;  ///< queued or being done
  bool stopping_ = false;
  base::UniqueFd interrupt_;  ///< an eventfd, readable from stop() on
  std::vector<std::thread> threads_;
};

/// Runs the configured program for a delivered file; empty if it ended with 0, else what went
/// wrong. Facts of the file are in its environment (SALLYPORT_FILE_ID, _PARTNER, _OBJECT, _NAME,
/// _PATH, _SIZE, _SHA256, _ORIGINAL_SHA256, _RECEIVED), nothing of the daemon's is. It is ended
/// when `cancel` becomes readable (-1: never).
[[nodiscard]] std::string run_hook(const FileContext& context, const store::File& file, int cancel);
/// Posts a signed CloudEvent about a delivered file.
[[nodiscard]] std::string send_webhook(const FileContext& context, const store::File& file);
/// Puts the clear-signed receipt under /Outgoing/Receipts, once.
[[nodiscard]] std::string write_receipt(const FileContext& context, const store::File& file);

}  // namespace sallyport::daemon

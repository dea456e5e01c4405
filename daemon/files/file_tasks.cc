#include "daemon/files/file_tasks.h"
#include "daemon/files/after_delivery.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "base/error.h"
#include "base/log.h"
#include "daemon/files/journal.h"

namespace sallyport::daemon {
namespace {

using store::File;
using store::FileTask;
using store::Unit;

constexpr unsigned threads = 4;
constexpr unsigned page = 100;
constexpr base::Seconds first_pause{10};
constexpr base::Seconds longest_pause{3600};
constexpr base::Seconds give_up_after{2 * 86400};
constexpr std::chrono::seconds busy_pause{1};

/// Only a clock that went back makes a task wait so long.
bool is_beyond_any_pause(base::Instant due, base::Instant now) {
  return due > now + longest_pause;
}

}  // namespace

FileTasks::FileTasks(const FileContext& context)
    : context_(context), interrupt_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!interrupt_) throw base::SystemError(errno, "make a descriptor that ends hooks");
}

FileTasks::~FileTasks() {
  stop();
}

void FileTasks::start() {
  for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this] { run(); });
}

void FileTasks::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  const std::uint64_t one = 1;
  // Cannot fail: the counter of an eventfd is far from its end.
  static_cast<void>(!::write(interrupt_.get(), &one, sizeof one));
  for (auto& thread : threads_) thread.join();
  threads_.clear();
}

void FileTasks::run() {
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (stopping_) return;
    }
    static_cast<void>(work_once());
  }
}

bool FileTasks::work_once() {
  FileTask task;
  {
    const std::lock_guard lock(mutex_);
    if (queue_.empty()) return false;
    task = std::move(queue_.front());
    queue_.pop_front();
  }
  work(task);
  {
    const std::lock_guard lock(mutex_);
    known_.erase({task.file_id, task.kind});
  }
  changed_.notify_all();
  context_.waker.wake(name());
  return true;
}

std::string FileTasks::attempt(const File& file, const FileTask& task) {
  if (task.kind == "hook") return run_hook(context_, file, interrupt_.get());
  if (task.kind == "webhook") return send_webhook(context_, file);
  if (task.kind == "receipt") return write_receipt(context_, file);
  return "there is no task of the kind " + task.kind;
}

void FileTasks::work(const FileTask& task) {
  std::string trouble;
  bool had_failed = false;
  try {
    const auto file =
        context_.store.read([&](Unit& unit) { return store::find_file(unit, task.file_id); });
    had_failed = file && file->state == store::FileState::failed;
    trouble = file ? attempt(*file, task) : "";
  } catch (const std::exception& error) {
    trouble = error.what();
  }
  {
    const std::lock_guard lock(mutex_);
    // Perhaps only because of that: still due, and nobody's fault.
    if (stopping_ && !trouble.empty()) return;
  }
  try {
    record(task, had_failed, trouble);
  } catch (const std::exception& error) {
    // Still due: done again, which "at least once" allows.
    base::log_error("file.task", {{"file", task.file_id}, {"kind", task.kind}},
                    "cannot record the {} of file {}: {}", task.kind, task.file_id, error.what());
  }
}

void FileTasks::record(const FileTask& task, bool had_failed, const std::string& trouble) {
  const base::Instant now = context_.now();
  const bool gives_up = !trouble.empty() && now - task.created >= give_up_after;
  context_.store.write([&](Unit& unit) {
    // Replaced meanwhile, as by the receipt of a failed file's new run: that one is still due.
    const auto rows = store::file_tasks(unit, task.file_id);
    const bool is_the_same = std::any_of(rows.begin(), rows.end(), [&](const FileTask& row) {
      return row.kind == task.kind && row.created == task.created;
    });
    const auto file = store::find_file(unit, task.file_id);
    const bool has_failed = file && file->state == store::FileState::failed;
    if (!is_the_same || has_failed != had_failed) return;
    if (!trouble.empty() && !gives_up) {
      FileTask again = task;
      const int doublings = std::min(task.attempts, 10);
      ++again.attempts;
      again.next_due = now + std::min(first_pause * (1 << doublings), longest_pause);
      again.last_error = trouble.substr(0, 500);
      store::put_file_task(unit, again);
      return;
    }
    store::delete_file_task(unit, task.file_id, task.kind);
    if (gives_up) store::put_given_up_task(unit, {task.file_id, task.kind, now});
    if (file) {
      store::insert_file_step(unit,
                              {task.file_id, file->state, now,
                               task.kind + (trouble.empty() ? " done" : " given up: " + trouble)});
    }
  });
  const std::string condition = "files." + task.kind;
  if (trouble.empty()) {
    context_.health.clear(condition);
    return;
  }
  base::log_warning("file.task_failed", {{"file", task.file_id}, {"kind", task.kind}},
                    "the {} of file {} {}: {}", task.kind, task.file_id,
                    gives_up ? "is given up" : "is tried again", trouble);
  context_.health.raise(condition, "The " + task.kind + " of a file fails: " + trouble);
}

void FileTasks::tell_given_up() {
  const auto task = context_.store.read(store::find_given_up_task);
  context_.health.set("files.given_up", task.has_value(),
                      task ? "The " + task->kind + " of file " + task->file_id +
                                 " was given up after two days; 'sallyportctl files retry " +
                                 task->file_id + "' tries it again"
                           : "");
}

std::optional<base::Instant> FileTasks::earliest() {
  // Here, for it is asked at the start, after every task, and when somebody asked for one again.
  tell_given_up();
  const auto due = context_.store.read([](Unit& unit) { return store::earliest_file_task(unit); });
  if (due && is_beyond_any_pause(*due, context_.now())) return context_.now();
  return due;
}

bool FileTasks::run_pass(base::Instant now) {
  const auto due = context_.store.read([&](Unit& unit) {
    const auto first = store::earliest_file_task(unit);
    const bool went_back = first && is_beyond_any_pause(*first, now);
    return store::due_file_tasks(unit, went_back ? *first : now, page);
  });
  if (due.empty()) return false;
  std::unique_lock lock(mutex_);
  for (const FileTask& task : due) {
    if (known_.insert({task.file_id, task.kind}).second) queue_.push_back(task);
  }
  changed_.notify_all();
  // They stay due until they are done: do not come back for the same ones at once.
  if (!threads_.empty()) {
    changed_.wait_for(lock, busy_pause, [this] { return stopping_ || known_.empty(); });
  }
  return false;
}

void FileTasks::settle(std::chrono::steady_clock::time_point deadline) {
  std::unique_lock lock(mutex_);
  changed_.wait_until(lock, deadline, [this] { return stopping_ || known_.empty(); });
}

}  // namespace sallyport::daemon

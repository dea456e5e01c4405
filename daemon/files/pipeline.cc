#include "daemon/files/pipeline.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "daemon/files/outbound.h"

namespace sallyport::daemon {
namespace {

using store::File;
using store::FileState;
using store::Unit;

constexpr unsigned ahead_in_line = 32;
constexpr unsigned page = 500;
constexpr std::chrono::seconds busy_pause{1};

std::string line_of(const File& file) {
  return file.partner + '/' + file.object;
}

/// What is on its way somewhere; what lies still (archived, failed, available) is retention's.
const std::vector<FileState>& unfinished() {
  static const std::vector<FileState> states{
      FileState::receiving, FileState::received, FileState::decrypted, FileState::delivered,
      FileState::queued,    FileState::held,     FileState::encrypted};
  return states;
}

}  // namespace

Pipeline::Pipeline(const FileContext& context, Inbound& inbound, Outbound* outbound)
    : context_(context), inbound_(inbound), outbound_(outbound), lanes_(ahead_in_line) {}

Pipeline::~Pipeline() {
  stop();
}

void Pipeline::start() {
  unsigned count = context_.config.get()->files.workers;
  // One more than there are cores: now and then one waits for gpg to start, or for the store.
  if (count == 0) count = std::max(2U, std::thread::hardware_concurrency() + 1);
  for (unsigned i = 0; i < count; ++i) workers_.emplace_back([this] { run(); });
}

void Pipeline::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (auto& worker : workers_) worker.join();
  workers_.clear();
}

template <class Change>
void Pipeline::with_lanes(Change&& change) {
  {
    const std::lock_guard lock(mutex_);
    change(lanes_);
  }
  changed_.notify_all();
}

void Pipeline::offer(const File& file) {
  with_lanes([&](Lanes& lanes) {
    switch (file.state) {
      case FileState::received:
      case FileState::decrypted:
        lanes.add(file.id, line_of(file), file.sequence, file.state == FileState::decrypted);
        return;
      case FileState::receiving:
      case FileState::delivered:
        lanes.leave_if_waiting(file.id);  // the signature of another file
        [[fallthrough]];
      case FileState::archived:
      case FileState::failed:
      case FileState::queued:
      case FileState::held:
      case FileState::encrypted:
        lanes.add_errand(file.id);
        return;
      default:
        return;
    }
  });
}

bool Pipeline::wait_idle(std::chrono::steady_clock::time_point deadline) {
  if (intake_ != nullptr) intake_->wait_idle(deadline);
  std::unique_lock lock(mutex_);
  return changed_.wait_until(lock, deadline, [this] { return stopping_ || !lanes_.is_active(); });
}

void Pipeline::run() {
  // Partners who wait for the answer to a CLOSE come first at the store. On the processor nobody
  // does: with a nice value of 10 files waited for tens of seconds where both processors were busy.
  store::work_in_background();
  for (;;) {
    std::optional<Job> job;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] {
        if (stopping_) return true;
        job = lanes_.take();
        return job.has_value();
      });
      if (!job) return;
    }
    work(*job);
  }
}

bool Pipeline::work_once() {
  std::optional<Job> job;
  {
    const std::lock_guard lock(mutex_);
    job = lanes_.take();
  }
  if (!job) return false;
  work(*job);
  return true;
}

void Pipeline::work(const Job& job) {
  const std::string& id = job.id;
  try {
    auto file = context_.store.read([&](Unit& unit) { return store::find_file(unit, id); });
    if (!file) {
      note_stuck(id, "");
      with_lanes([&](Lanes& lanes) { lanes.leave(id); });
      return;
    }
    try {
      StepResult result = StepResult::done;
      switch (file->state) {
        case FileState::received:
          result = inbound_.prepare(*file);
          break;
        case FileState::decrypted:
          // Somebody else prepared it; its turn comes by the line.
          if (job.kind == JobKind::publish) result = inbound_.publish(*file);
          break;
        case FileState::delivered:
          result = inbound_.archive(*file);
          break;
        case FileState::failed:
        case FileState::archived:
          inbound_.settle_original(*file);
          break;
        case FileState::receiving:
          inbound_.give_up(*file);
          break;
        case FileState::queued:
        case FileState::held:
        case FileState::encrypted:
          if (outbound_ != nullptr) result = outbound_->advance(*file);
          break;
        default:
          break;
      }
      finish(job, *file, result);
    } catch (const Overtaken&) {
      with_lanes([&](Lanes& lanes) { lanes.leave(id); });
      if (auto now = context_.store.read([&](Unit& unit) { return store::find_file(unit, id); })) {
        if (now->version != file->version) offer(*now);
      }
    }
  } catch (const base::SystemError& error) {
    fall_back(job, id, error.what(), error.code() == ENOSPC || error.code() == EDQUOT);
  } catch (const std::exception& error) {
    fall_back(job, id, error.what(), false);
  }
}

void Pipeline::finish(const Job& job, const File& file, StepResult result) {
  if (result == StepResult::not_its_turn) {
    // An earlier file is in the journal that is not known here: look soon, but never in a circle.
    next_sweep_ = std::min<std::int64_t>(next_sweep_, base::to_unix(context_.now()) + 1);
  }
  with_lanes([&](Lanes& lanes) {
    switch (result) {
      case StepResult::retry:
        if (job.kind == JobKind::errand) {
          lanes.leave(job.id);
        } else {
          lanes.waits(job.id, !has_lost_its_place(context_, file));
        }
        break;
      case StepResult::not_its_turn:
        lanes.waits(job.id, true);
        break;
      case StepResult::failed:
        lanes.leave(job.id);
        break;
      case StepResult::done:
        if (file.state == FileState::decrypted) {
          lanes.is_prepared(job.id);
          break;
        }
        lanes.leave(job.id);
        if (file.state == FileState::delivered || file.state == FileState::encrypted) {
          lanes.add_errand(job.id);
        }
        break;
    }
  });
  note_stuck(job.id, result == StepResult::retry ? file.reason : "");
  if (result == StepResult::retry || result == StepResult::not_its_turn) {
    context_.waker.wake(name());
  }
}

void Pipeline::note_stuck(const std::string& id, const std::string& sentence) {
  std::string shown;
  std::size_t count = 0;
  {
    const std::lock_guard lock(mutex_);
    if (sentence.empty()) {
      if (stuck_.erase(id) == 0) return;
    } else {
      stuck_[id] = sentence;
    }
    count = stuck_.size();
    if (count > 0) shown = stuck_.begin()->second;
  }
  context_.health.set("files.stuck", count > 0,
                      std::to_string(count) + " files cannot go on for now, one because: " + shown);
}

void Pipeline::fall_back(const Job& job, const std::string& id, const std::string& sentence,
                         bool disk_full) {
  bool recorded = false;
  bool holds = true;
  try {
    if (auto file = context_.store.read([&](Unit& unit) { return store::find_file(unit, id); })) {
      if (file->state == FileState::failed || file->state == FileState::archived) {
        return settle_later(id, sentence);
      }
      retry_later(context_, *file, disk_full ? "disk-full" : "not-now", sentence);
      holds = !has_lost_its_place(context_, *file);
    }
    recorded = true;
  } catch (const std::exception& error) {
    // The journal cannot take it either: look through it again when it can.
    base::log_error("file.journal_away", {{"file", id}}, "cannot record that file {} waits: {}", id,
                    error.what());
    journal_unseen_ = true;
  }
  note_stuck(id, sentence);
  with_lanes([&](Lanes& lanes) {
    if (job.kind == JobKind::errand) {
      lanes.leave(id);
    } else {
      lanes.waits(id, holds);
    }
  });
  if (recorded) context_.waker.wake(name());
}

/// Its row is final and says when retention looks at it: nothing of that may change.
void Pipeline::settle_later(const std::string& id, const std::string& sentence) {
  base::log_warning("file.unsettled", {{"file", id}}, "file {} is not in its place yet: {}", id,
                    sentence);
  note_stuck(id, sentence);
  with_lanes([&](Lanes& lanes) {
    unsettled_.insert(id);
    lanes.leave(id);
  });
  next_sweep_ = std::min<std::int64_t>(next_sweep_, base::to_unix(context_.now()) + 1);
  context_.waker.wake(name());
}

void Pipeline::look_through_journal() {
  // What waited before the start is tried at once: its cause may have gone with the restart.
  const bool first_look = !looked_.exchange(true);
  std::optional<File> last;
  for (;;) {
    const auto files = context_.store.read([&](Unit& unit) {
      return store::files_in_states(unit, unfinished(), last ? &*last : nullptr, page);
    });
    const base::Instant now = context_.now();
    for (const File& file : files) {
      const bool waits = file.next_due && *file.next_due > now;
      if (!waits || first_look) {
        offer(file);
      } else if (file.state == FileState::received || file.state == FileState::decrypted) {
        // Brought back by next_due; until then it keeps its place.
        with_lanes([&](Lanes& lanes) {
          lanes.hold(file.id, line_of(file), file.sequence, !has_lost_its_place(context_, file));
        });
      }
    }
    if (files.size() < page) break;
    last = files.back();
  }
  if (intake_ != nullptr) intake_->resolve();
}

/// The next sweep is farther away than it was when it was set: by that clock, what waits for a
/// retry would wait as long as the clock went back.
bool Pipeline::clock_went_back(base::Instant now) const {
  return base::from_unix(next_sweep_) > now + context_.config.get()->files.sweep;
}

std::optional<base::Instant> Pipeline::earliest() {
  if (journal_unseen_ || clock_went_back(context_.now())) return context_.now();
  const base::Instant sweep = base::from_unix(next_sweep_);
  const auto due =
      context_.store.read([&](Unit& unit) { return store::earliest_file_due(unit, unfinished()); });
  return due ? std::min(*due, sweep) : sweep;
}

void Pipeline::offer_unsettled() {
  std::set<std::string> ids;
  with_lanes([&](Lanes&) { ids.swap(unsettled_); });
  for (const std::string& id : ids) {
    if (auto file = context_.store.read([&](Unit& unit) { return store::find_file(unit, id); })) {
      offer(*file);
    }
  }
}

bool Pipeline::run_pass(base::Instant now) {
  if (clock_went_back(now)) {
    next_sweep_ = 0;
    looked_ = false;
  }
  if (journal_unseen_.exchange(false) || base::to_unix(now) >= next_sweep_) {
    try {
      look_through_journal();
    } catch (...) {
      journal_unseen_ = true;
      throw;
    }
    next_sweep_ = base::to_unix(now + context_.config.get()->files.sweep);
    offer_unsettled();
  }
  const auto due = context_.store.read(
      [&](Unit& unit) { return store::due_files(unit, unfinished(), now, page); });
  for (const File& file : due) offer(file);
  // They stay due until a worker has had them: do not come back for the same ones at once.
  if (!due.empty() && !workers_.empty())
    static_cast<void>(wait_idle(std::chrono::steady_clock::now() + busy_pause));
  return false;
}

}  // namespace sallyport::daemon

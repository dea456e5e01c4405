// When keys were last used: collected in memory by the I/O threads, written to the store together
// (spec/api-keys.md 8).
//
// record() takes no lock: each I/O thread has a buffer that it takes out of an atomic slot for the
// moment of a write. A pass exchanges the buffers for fresh ones, merges them and writes them in
// units of bounded size; what could not be written waits in memory for the next pass. Nothing
// becomes older by it: the store keeps the later of two times.
//
// Threads: record() from its own I/O thread; run_pass()/flush() from any, one at a time.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "daemon/scheduler/due_work.h"
#include "store/store.h"

namespace sallyport::daemon {

class UsageBuffer final : public DueWork {
 public:
  struct Options {
    unsigned io_threads = 2;
    base::Seconds flush_every{10};
    /// Not empty: other nodes share the store, and each flush says so under this name.
    std::string node;
  };
  UsageBuffer(Options options, store::Store& store, const base::Clock& clock, Waker& waker);
  ~UsageBuffer() override;
  UsageBuffer(const UsageBuffer&) = delete;
  UsageBuffer& operator=(const UsageBuffer&) = delete;

  /// An attempt on a known key. From I/O thread `io_thread` only.
  void record(unsigned io_thread, std::string_view key_id, base::Instant now,
              bool allowed) noexcept;

  /// Writes everything that was recorded before the call; throws what the store throws.
  void flush();

  void set_flush_every(base::Seconds period) {
    flush_every_ = period.count();
    waker_.wake("usage");
  }

  /// Keys that wait to be written, after the last pass.
  [[nodiscard]] std::size_t waiting() const { return waiting_; }

  [[nodiscard]] std::string name() const override { return "usage"; }
  [[nodiscard]] std::optional<base::Instant> earliest() override;
  bool run_pass(base::Instant now) override;

 private:
  struct Use {
    std::int64_t last_used = 0;
    std::int64_t last_allowed = 0;  ///< 0: never
  };
  struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>{}(text);
    }
  };
  using Buffer = std::unordered_map<std::string, Use, TextHash, std::equal_to<>>;

  static void merge(Buffer& into, std::string_view key_id, const Use& use);
  void collect();

  Options options_;
  store::Store& store_;
  const base::Clock& clock_;
  Waker& waker_;
  std::vector<std::unique_ptr<std::atomic<Buffer*>>> slots_;
  std::atomic<std::int64_t> flush_every_;
  std::atomic<bool> recorded_{false};            ///< since the last pass
  std::atomic<std::int64_t> recorded_since_{0};  ///< the first such use

  std::mutex flushing_;  ///< guards what follows
  Buffer pending_;
  std::int64_t collected_until_ = 0;
  std::atomic<std::size_t> waiting_{0};
  std::atomic<std::int64_t> last_flush_{0};
};

}  // namespace sallyport::daemon

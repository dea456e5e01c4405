// Which of the nodes that share a store runs the work that only one may run: the one that holds the
// lease row. A node that cannot reach the store leads no longer than its lease lasts, by the boot
// clock.
//
// With a store of one's own there is nothing to elect: always leading, no thread.
// Thread-safe. Failures of the store end the leading and raise no alarm of their own.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "base/clock.h"
#include "store/store.h"

namespace sallyport::daemon {

class Leadership {
 public:
  /// `shared` false: always leading.
  Leadership(store::Store& store, const base::Clock& clock, std::string node, bool shared);
  ~Leadership();  ///< stop()

  /// `changed` is called from the lease's thread when the answer of leading() has changed.
  void start(std::function<void()> changed);
  /// Gives the lease back, so that another node takes over at once.
  void stop();

  [[nodiscard]] bool leading() const;
  /// One renewal; what the thread does every few seconds.
  void renew();

 private:
  void run();

  store::Store& store_;
  const base::Clock& clock_;
  const std::string node_;
  const bool shared_;
  std::function<void()> changed_;
  std::atomic<std::int64_t> until_{0};  ///< boot clock, nanoseconds
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  bool was_leading_ = false;
  std::thread thread_;
};

}  // namespace sallyport::daemon

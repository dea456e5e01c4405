// An immutable value that one thread replaces while others read it: readers take a share of the
// value that is there and keep it as long as they like. Not std::atomic<std::shared_ptr>: that of
// libstdc++ 12 gives its lock back, after a read, without release order.
//
// Threads: all of them. The lock is held for the copy of a pointer; a replaced value ends outside
// of it.
#pragma once

#include <memory>
#include <mutex>
#include <utility>

namespace sallyport::daemon {

template <class T>
class Published {
 public:
  Published() = default;
  explicit Published(std::shared_ptr<const T> value) : value_(std::move(value)) {}

  [[nodiscard]] std::shared_ptr<const T> load() const {
    const std::scoped_lock lock(mutex_);
    return value_;
  }
  void store(std::shared_ptr<const T> value) {
    const std::scoped_lock lock(mutex_);
    value_.swap(value);
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const T> value_;
};

}  // namespace sallyport::daemon

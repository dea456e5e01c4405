// A value that can be reached only while its mutex is held.
//
//   Locked<std::vector<int>> list;
//   list.lock()->push_back(1);           // locked until the end of the statement
//   auto guard = list.lock();            // locked until the end of the scope
//   std::vector<int> all = list.get();   // a copy; list.set(...) replaces all
#pragma once

#include <condition_variable>
#include <mutex>
#include <utility>

namespace sallyport::base {

template <class T>
class Locked {
 public:
  class Guard {
   public:
    T* operator->() { return value_; }
    T& operator*() & { return *value_; }
    /// Not of a temporary: a loop over it would go on after the lock has gone.
    T& operator*() && = delete;
    /// Waits on `condition` with this lock until `ready()`, which may read the value.
    template <class Predicate>
    void wait(std::condition_variable& condition, Predicate ready) {
      condition.wait(lock_, std::move(ready));
    }
    template <class Duration, class Predicate>
    bool wait_for(std::condition_variable& condition, Duration duration, Predicate ready) {
      return condition.wait_for(lock_, duration, std::move(ready));
    }

   private:
    friend class Locked;
    Guard(std::mutex& mutex, T& value) : lock_(mutex), value_(&value) {}
    std::unique_lock<std::mutex> lock_;
    T* value_;
  };

  Locked() = default;
  explicit Locked(T value) : value_(std::move(value)) {}

  [[nodiscard]] Guard lock() { return Guard(mutex_, value_); }
  [[nodiscard]] T get() {
    const std::scoped_lock lock(mutex_);
    return value_;
  }
  void set(T value) {
    const std::scoped_lock lock(mutex_);
    std::swap(value_, value);
  }

 private:
  std::mutex mutex_;
  T value_{};
};

}  // namespace sallyport::base

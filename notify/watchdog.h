// Ends a blocking conversation on a socket when its deadline passes or when somebody asks to stop.
// Per-read time-outs alone let a peer that sends a byte now and then hold a thread for ever.
// Internal to notify/.
//
// arm, disarm: from the thread that talks. stop, resume: from any thread. Does not own the
// descriptor; disarm before it is closed.
#pragma once

#include <sys/socket.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace sallyport::notify {

class Watchdog {
 public:
  Watchdog() = default;
  ~Watchdog() {
    {
      const std::lock_guard lock(mutex_);
      end_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
  }
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  /// Starts to watch a conversation; the descriptor may come later, by watch().
  void arm(std::chrono::milliseconds deadline) {
    const std::lock_guard lock(mutex_);
    if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
    until_ = std::chrono::steady_clock::now() + deadline;
    armed_ = true;
    fired_ = stopped_;
    changed_.notify_all();
  }

  void watch(int descriptor) {
    const std::lock_guard lock(mutex_);
    descriptor_ = descriptor;
    if (fired_ && descriptor_ >= 0) ::shutdown(descriptor_, SHUT_RDWR);
  }

  void disarm() {
    const std::lock_guard lock(mutex_);
    armed_ = false;
  }

  /// Ends the conversation under way, and every later one at once, until resume().
  void stop() {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    fire();
  }
  void resume() {
    const std::lock_guard lock(mutex_);
    stopped_ = false;
  }

  /// True if the conversation since arm() was ended from here.
  [[nodiscard]] bool fired() {
    const std::lock_guard lock(mutex_);
    return fired_;
  }
  [[nodiscard]] bool stopped() {
    const std::lock_guard lock(mutex_);
    return stopped_;
  }

 private:
  void fire() {
    fired_ = true;
    if (descriptor_ >= 0) ::shutdown(descriptor_, SHUT_RDWR);
  }

  void run() {
    std::unique_lock lock(mutex_);
    while (!end_) {
      if (!armed_ || fired_) {
        changed_.wait(lock);
      } else if (changed_.wait_until(lock, until_) == std::cv_status::timeout && armed_ &&
                 std::chrono::steady_clock::now() >= until_) {
        fire();
      }
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::thread thread_;
  std::chrono::steady_clock::time_point until_{};
  int descriptor_ = -1;
  bool armed_ = false;
  bool fired_ = false;
  bool stopped_ = false;
  bool end_ = false;
};

}  // namespace sallyport::notify

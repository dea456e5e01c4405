// Passwords of partners: crypt(3) yescrypt, hashed by a few threads only, because each hash takes
// memory and tens of milliseconds, and fairly by address, so that one that tries thousands cannot
// keep others from logging in (spec/gateway.md 1).
//
// Thread-safe. hash_password throws base::Error when the C library cannot do yescrypt.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/secret.h"

namespace sallyport::daemon {

[[nodiscard]] std::string hash_password(const base::Secret& password);
/// False for a wrong password and for a hash that crypt(3) cannot read. Takes as long for
/// `dummy_password_hash()` as for any of ours.
[[nodiscard]] bool check_password(const base::Secret& password, const std::string& hash);
/// A hash that no password has, for names that do not exist.
[[nodiscard]] const std::string& dummy_password_hash();

class PasswordQueue {
 public:
  explicit PasswordQueue(unsigned threads = 2);
  ~PasswordQueue();  ///< stop()
  PasswordQueue(const PasswordQueue&) = delete;
  PasswordQueue& operator=(const PasswordQueue&) = delete;

  /// Runs `work` (a hash) on one of the threads; those of one `network` one after the other in
  /// turn with those of others. False when too many of this network wait already.
  [[nodiscard]] bool submit(const std::string& network, std::function<void()> work);
  /// What waits is dropped; what runs ends.
  void stop();

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::deque<std::function<void()>>> waiting_;
  std::string last_;  ///< the network whose turn was last
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace sallyport::daemon

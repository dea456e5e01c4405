// Writes what sessions do into the store, many rows a commit, so that a login or a download does
// not wait for a disk: at once, unless there was a commit just before. What it holds when the store
// is away waits in memory, up to a bound.
//
// Thread-safe; one thread of its own. Failures raise health "audit.behind" and are tried again;
// stop() writes what is left, once.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <thread>

#include "base/clock.h"
#include "daemon/health.h"
#include "store/files.h"
#include "store/store.h"

namespace sallyport::daemon {

class AuditWriter {
 public:
  AuditWriter(store::Store& store, Health& health);
  ~AuditWriter();  ///< stop()
  AuditWriter(const AuditWriter&) = delete;
  AuditWriter& operator=(const AuditWriter&) = delete;

  void add(store::SessionEvent event);
  /// The key was used to log in.
  void touch_key(std::string key_id, base::Instant now);
  void stop();

 private:
  struct Item {
    store::SessionEvent event;
    std::string key_id;  ///< instead of the event
  };
  void put(Item item);
  void run();
  bool write(const std::deque<Item>& items);

  store::Store& store_;
  Health& health_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Item> waiting_;
  std::uint64_t dropped_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace sallyport::daemon

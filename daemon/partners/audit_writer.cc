#include "daemon/partners/audit_writer.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "store/partners.h"

namespace sallyport::daemon {
namespace {

constexpr std::size_t most_waiting = 100'000;
constexpr std::size_t batch = 500;
constexpr std::chrono::seconds retry_pause{2};
// Commits are at least so far apart. A partner who moves a thousand small files a second is a few
// commits then, and not a thousand that keep the store from those who wait for it.
constexpr std::chrono::milliseconds gather{20};
constexpr std::string_view condition = "audit.behind";

}  // namespace

AuditWriter::AuditWriter(store::Store& store, Health& health)
    : store_(store), health_(health), thread_([this] { run(); }) {}

AuditWriter::~AuditWriter() {
  stop();
}

void AuditWriter::add(store::SessionEvent event) {
  Item item;
  item.event = std::move(event);
  put(std::move(item));
}

void AuditWriter::touch_key(std::string key_id, base::Instant now) {
  Item item;
  item.key_id = std::move(key_id);
  item.event.at = now;
  put(std::move(item));
}

void AuditWriter::put(Item item) {
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    if (waiting_.size() >= most_waiting) {
      waiting_.pop_front();
      ++dropped_;
    }
    waiting_.push_back(std::move(item));
    wake = waiting_.size() == 1 || waiting_.size() == batch;
  }
  if (wake) changed_.notify_one();
}

void AuditWriter::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

bool AuditWriter::write(const std::deque<Item>& items) {
  try {
    store_.write([&](store::Unit& unit) {
      for (const Item& item : items) {
        if (item.key_id.empty()) {
          store::insert_session_event(unit, item.event);
        } else {
          store::touch_ssh_key(unit, item.key_id, item.event.at);
        }
      }
    });
    health_.clear(condition);
    return true;
  } catch (const base::Error& error) {
    health_.raise(condition,
                  fmt::format("What partners do cannot be written to the store and waits in "
                              "memory: {}",
                              error.what()));
    return false;
  }
}

void AuditWriter::run() {
  store::work_in_background();
  std::unique_lock lock(mutex_);
  std::chrono::steady_clock::time_point next_write;
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    changed_.wait_until(lock, next_write, [this] { return stopping_ || waiting_.size() >= batch; });
    next_write = std::chrono::steady_clock::now() + gather;
    const auto count = static_cast<std::ptrdiff_t>(std::min(batch, waiting_.size()));
    std::deque<Item> items(std::make_move_iterator(waiting_.begin()),
                           std::make_move_iterator(waiting_.begin() + count));
    waiting_.erase(waiting_.begin(), waiting_.begin() + count);
    lock.unlock();
    const bool written = write(items);
    lock.lock();
    if (written) {
      if (dropped_ > 0) {
        base::log_error("audit.dropped", {{"rows", dropped_}},
                        "{} records of what partners did were lost: the store was away too long",
                        dropped_);
        dropped_ = 0;
      }
      continue;
    }
    if (stopping_) {
      base::log_error("audit.dropped", {{"rows", items.size() + waiting_.size()}},
                      "{} records of what partners did were not written before the stop",
                      items.size() + waiting_.size());
      return;
    }
    waiting_.insert(waiting_.begin(), std::make_move_iterator(items.begin()),
                    std::make_move_iterator(items.end()));
    changed_.wait_for(lock, retry_pause, [this] { return stopping_; });
  }
}

}  // namespace sallyport::daemon

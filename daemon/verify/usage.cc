#include "daemon/verify/usage.h"

#include <algorithm>
#include <thread>

#include "base/log.h"
#include "store/cluster.h"
#include "store/keys.h"

namespace sallyport::daemon {

namespace {

/// Rows of one unit of work: some ten milliseconds, so that nobody waits long for the writer.
constexpr std::size_t rows_per_unit = 2000;

}  // namespace

UsageBuffer::UsageBuffer(Options options, store::Store& store, const base::Clock& clock,
                         Waker& waker)
    : options_(std::move(options)),
      store_(store),
      clock_(clock),
      waker_(waker),
      flush_every_(options_.flush_every.count()) {
  for (unsigned i = 0; i < std::max(1U, options_.io_threads); ++i) {
    slots_.push_back(std::make_unique<std::atomic<Buffer*>>(new Buffer));
  }
  last_flush_ = base::to_unix(clock_.now());
}

UsageBuffer::~UsageBuffer() {
  for (auto& slot : slots_) delete slot->load();
}

void UsageBuffer::merge(Buffer& into, std::string_view key_id, const Use& use) {
  auto found = into.find(key_id);
  if (found == into.end()) found = into.emplace(std::string(key_id), Use{}).first;
  found->second.last_used = std::max(found->second.last_used, use.last_used);
  found->second.last_allowed = std::max(found->second.last_allowed, use.last_allowed);
}

void UsageBuffer::record(unsigned io_thread, std::string_view key_id, base::Instant now,
                         bool allowed) noexcept {
  auto& slot = *slots_[io_thread % slots_.size()];
  // Ours alone until it is put back; a pass that looks meanwhile finds nothing and looks again.
  Buffer* buffer = slot.exchange(nullptr);
  try {
    const std::int64_t seconds = base::to_unix(now);
    merge(*buffer, key_id, {seconds, allowed ? seconds : 0});
  } catch (const std::exception&) {
    // Out of memory: this use is lost, as a crash would lose it.
  }
  slot.store(buffer);
  if (!recorded_.load() && !recorded_.exchange(true)) {
    recorded_since_ = base::to_unix(now);
    waker_.wake("usage");
  }
}

void UsageBuffer::collect() {
  recorded_ = false;  // before looking: a use after this asks for a pass of its own
  // Uses of this very second may still come in.
  const std::int64_t now = base::to_unix(clock_.now());
  for (auto& slot : slots_) {
    auto fresh = std::make_unique<Buffer>();
    Buffer* full = slot->load();
    while (full == nullptr || !slot->compare_exchange_weak(full, fresh.get())) {
      if (full == nullptr) std::this_thread::yield();
      full = slot->load();
    }
    (void)fresh.release();
    const std::unique_ptr<Buffer> owned(full);
    for (const auto& [key_id, use] : *owned) merge(pending_, key_id, use);
  }
  collected_until_ = now - 1;
  waiting_ = pending_.size();
}

void UsageBuffer::flush() {
  const std::lock_guard lock(flushing_);
  collect();
  unsigned woken = 0;
  while (!pending_.empty()) {
    std::vector<store::KeyUsage> rows;
    std::vector<std::string> ids;
    for (const auto& [key_id, use] : pending_) {
      store::KeyUsage row;
      row.key_id = key_id;
      row.last_used = base::from_unix(use.last_used);
      if (use.last_allowed != 0) row.last_allowed = base::from_unix(use.last_allowed);
      rows.push_back(std::move(row));
      ids.push_back(key_id);
      if (rows.size() == rows_per_unit) break;
    }
    const base::Instant now = clock_.now();
    woken += store_.write([&](store::Unit& unit) {
      store::record_usage(unit, rows);
      return store::wake_warned_keys(unit, ids, now);
    });
    for (const std::string& id : ids) pending_.erase(id);
    waiting_ = pending_.size();
  }
  if (!options_.node.empty()) {
    store_.write([&](store::Unit& unit) {
      store::Node node;
      for (const store::Node& known : store::list_nodes(unit)) {
        if (known.name == options_.node) node = known;
      }
      node.name = options_.node;
      node.last_seen = clock_.now();
      node.usage_flushed = base::from_unix(collected_until_);
      store::put_node(unit, node);
    });
  }
  last_flush_ = base::to_unix(clock_.now());
  if (woken > 0) waker_.wake("lifecycle");
}

std::optional<base::Instant> UsageBuffer::earliest() {
  if (waiting_ == 0 && !recorded_ && options_.node.empty()) return std::nullopt;
  // Counted from the last flush, but not from one long ago: uses are to be written together.
  std::int64_t from = last_flush_;
  if (waiting_ == 0 && recorded_) from = std::max(from, recorded_since_.load());
  return base::from_unix(from) + base::Seconds(flush_every_);
}

bool UsageBuffer::run_pass(base::Instant /*now*/) {
  flush();
  return false;
}

}  // namespace sallyport::daemon

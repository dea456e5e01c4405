#include "daemon/scheduler/leadership.h"

#include "base/log.h"
#include "store/cluster.h"

namespace sallyport::daemon {
namespace {

constexpr std::string_view lease = "scheduler";
// A dead leader is followed within 15 s; a notice may be late by 60 s (spec/api-keys.md 7).
constexpr base::Seconds lease_time{15};
constexpr base::Seconds renew_every{4};
// Leading ends this much before the lease does: work that has begun can end.
constexpr base::Seconds safety{3};

}  // namespace

Leadership::Leadership(store::Store& store, const base::Clock& clock, std::string node, bool shared)
    : store_(store), clock_(clock), node_(std::move(node)), shared_(shared) {}

Leadership::~Leadership() {
  stop();
}

bool Leadership::leading() const {
  return !shared_ || clock_.monotonic().count() < until_.load();
}

void Leadership::start(std::function<void()> changed) {
  changed_ = std::move(changed);
  if (!shared_) return;
  renew();
  thread_ = std::thread([this] { run(); });
}

void Leadership::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (!thread_.joinable()) return;
  thread_.join();
  const bool led = leading();
  until_.store(0);
  if (!led) return;
  try {
    store_.write([&](store::Unit& unit) { store::release_lease(unit, lease, node_); });
  } catch (const base::Error& error) {
    base::log_warning("lease.release", {}, "The lease was not given back: {}", error.what());
  }
}

void Leadership::renew() {
  // The lease counts from before the question, so that ours never lasts longer than the row's.
  const auto asked = clock_.monotonic();
  const base::Instant now = clock_.now();
  try {
    const bool ours = store_.write([&](store::Unit& unit) {
      store::put_node(unit, [&] {
        store::Node node;
        for (const store::Node& known : store::list_nodes(unit)) {
          if (known.name == node_) node = known;
        }
        node.name = node_;
        node.last_seen = now;
        return node;
      }());
      return store::take_lease(unit, lease, node_, now, now + lease_time);
    });
    until_.store(ours ? (asked + lease_time - safety).count() : 0);
  } catch (const base::Error& error) {
    base::log_debug("lease.renew", {}, "The lease was not renewed: {}", error.what());
  }
  if (leading() != was_leading_) {
    was_leading_ = !was_leading_;
    base::log_notice(
        "lease.changed", {{"leading", was_leading_ ? "yes" : "no"}}, "{}",
        was_leading_ ? "This node runs the scheduler now" : "Another node runs the scheduler now");
    if (changed_) changed_();
  }
}

void Leadership::run() {
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, renew_every, [this] { return stopping_; })) {
    lock.unlock();
    renew();
    lock.lock();
  }
}

}  // namespace sallyport::daemon

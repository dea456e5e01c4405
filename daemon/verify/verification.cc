#include "daemon/verify/verification.h"

#include <pthread.h>

#include <chrono>
#include <set>

#include "base/log.h"

namespace sallyport::daemon {

namespace {

/// A change on another node is to be in force within a second.
constexpr std::chrono::milliseconds follow_every{400};
constexpr std::chrono::seconds retry_after{1};
/// After so long a silence changes may have been pruned: everything is read again.
constexpr std::chrono::minutes reload_after{10};
constexpr unsigned changes_page = 500;
/// Long after anybody else still follows them, and however much the nodes' clocks differ.
constexpr std::chrono::hours keep_changes{24};
constexpr std::chrono::minutes prune_every{10};

}  // namespace

Verification::Verification(VerificationOptions options, store::Store& store,
                           const base::Clock& clock, Waker& waker, Health& health)
    : options_(std::move(options)),
      store_(store),
      clock_(clock),
      health_(health),
      table_(options_.rules, clock),
      usage_({options_.io_threads, options_.usage_flush, options_.node}, store, clock, waker),
      verifier_(table_, tokens_, usage_, freshness_, clock,
                {options_.trusted_proxies, options_.rules.restricted_domains}) {
  if (!options_.node.empty()) freshness_.limit(options_.max_staleness);
  table_.on_damage([this] {
    const std::lock_guard lock(mutex_);
    wake_.notify_all();
  });
}

Verification::~Verification() {
  stop();
}

void Verification::start() {
  try {
    load();
  } catch (const base::Error& error) {
    health_.raise("verify.not_loaded",
                  std::string("No key can be verified until the keys are loaded: ") + error.what());
  }
  thread_ = std::thread([this] {
    ::pthread_setname_np(::pthread_self(), "verify-upkeep");
    run();
  });
}

void Verification::stop() {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return;
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
  try {
    usage_.flush();
  } catch (const base::Error& error) {
    base::log_error("verify.usage_lost", {{"keys", usage_.waiting()}},
                    "the last use of {} keys could not be written before the end: {}",
                    usage_.waiting(), error.what());
  }
}

void Verification::use(const VerificationOptions& options) {
  usage_.set_flush_every(options.usage_flush);
  if (!options_.node.empty()) freshness_.limit(options.max_staleness);
  verifier_.use({options.trusted_proxies, options.rules.restricted_domains});
  table_.use(options.rules);
}

void Verification::access_changed() {
  try {
    tokens_.load(store_);
  } catch (const base::Error& error) {
    base::log_warning("verify.tokens_unsure", {},
                      "the gateway tokens could not be read again, which is retried: {}",
                      error.what());
    const std::lock_guard lock(mutex_);
    tokens_unsure_ = true;
    wake_.notify_all();
  }
}

void Verification::load() {
  const auto asked = clock_.monotonic();
  const std::int64_t until =
      store_.read([](store::Unit& unit) { return store::last_key_change(unit); });
  tokens_.load(store_);
  table_.load(store_);
  followed_ = until;
  loaded_ = true;
  freshness_.heard(asked);
  health_.clear("verify.not_loaded");
  const auto took =
      std::chrono::duration_cast<std::chrono::milliseconds>(clock_.monotonic() - asked);
  base::log_info("verify.loaded", {{"values", table_.size()}, {"milliseconds", took.count()}},
                 "{} key values loaded for verification in {} ms", table_.size(), took.count());
}

void Verification::follow() {
  for (;;) {
    const auto asked = clock_.monotonic();
    const auto changes = store_.read(
        [&](store::Unit& unit) { return store::key_changes_since(unit, followed_, changes_page); });
    std::set<std::string> ids;
    for (const store::KeyChange& change : changes) ids.insert(change.key_id);
    for (const std::string& id : ids) {
      std::vector<store::KeyValue> values;
      const auto key = store_.read([&](store::Unit& unit) {
        values = store::key_values(unit, id);
        return store::find_key(unit, id);
      });
      if (key) {
        table_.key_changed(*key, values);
      } else {
        table_.key_deleted(id);
      }
    }
    if (!changes.empty()) followed_ = changes.back().sequence;
    if (changes.size() < changes_page) {
      tokens_.load(store_);
      freshness_.heard(asked);
      return;
    }
  }
}

// The rows by which other nodes learn of changes; written for one node, too, since another one may
// join at any time.
void Verification::prune() {
  const auto now = clock_.monotonic();
  if (now - pruned_ < prune_every) return;
  pruned_ = now;
  store_.write([&](store::Unit& unit) {
    return store::prune_key_changes(unit, clock_.now() - keep_changes);
  });
}

void Verification::run() {
  std::unique_lock lock(mutex_);
  bool failed = false;
  const bool shared = !options_.node.empty();
  while (!stopping_) {
    const auto wanted = [&] {
      return stopping_ || (!failed && (!loaded_ || table_.damaged() || tokens_unsure_));
    };
    if (failed) {
      wake_.wait_for(lock, retry_after, wanted);
    } else if (shared) {
      wake_.wait_for(lock, follow_every, wanted);
    } else {
      wake_.wait_for(lock, prune_every, wanted);
    }
    if (stopping_) return;
    const bool tokens_unsure = std::exchange(tokens_unsure_, false);
    lock.unlock();
    try {
      const bool long_silence =
          shared && clock_.monotonic() - freshness_.last_heard() > reload_after;
      if (!loaded_ || table_.damaged() || long_silence) {
        load();
      } else if (shared) {
        follow();
      } else if (tokens_unsure) {
        tokens_.load(store_);
      }
      prune();
      if (std::exchange(failed, false)) {
        base::log_notice("verify.following_again", {}, "verification hears from the store again");
      }
      if (shared) health_.clear("verify.stale");
    } catch (const std::exception& error) {
      failed = true;
      lock.lock();
      tokens_unsure_ = tokens_unsure_ || tokens_unsure;
      lock.unlock();
      if (shared && loaded_) {
        health_.raise(
            "verify.stale",
            std::string("Changes that other nodes make to keys are not seen: ") + error.what());
      }
    }
    lock.lock();
  }
}

}  // namespace sallyport::daemon

// A store that may not be there yet: everything that works with the store is made and started all
// the same, and gets Error{unavailable} until it answers. Says in health whether it does.
//
// Thread-safe. open() is called from one thread at a time.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>

#include "daemon/config/config.h"
#include "daemon/health.h"
#include "store/store.h"

namespace sallyport::daemon {

class DeferredStore final : public store::Store {
 public:
  DeferredStore(const Config& config, Health& health);

  /// Throws store::Error, or base::Error for a secret that cannot be read.
  void open();
  [[nodiscard]] bool is_open() const { return inner() != nullptr; }

  [[nodiscard]] store::Dialect dialect() const override { return dialect_; }
  void ping() override;

 protected:
  void run(bool writes, const std::function<void(store::Unit&)>& work) override;

 private:
  [[nodiscard]] std::shared_ptr<store::Store> inner() const;
  void answered(const store::Error* error);

  const Config::Store config_;
  const store::Dialect dialect_;
  Health& health_;
  mutable std::mutex mutex_;
  std::shared_ptr<store::Store> inner_;
  std::atomic<bool> away_{false};
};

}  // namespace sallyport::daemon

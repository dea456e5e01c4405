// The tokens by which gateways on TCP show that they may ask: a small immutable list.
//
// Threads: knows() from any; load() from any. load() throws what the store throws and keeps the old
// list then.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/instant.h"
#include "daemon/verify/published.h"
#include "store/store.h"

namespace sallyport::daemon {

class GatewayTokens {
 public:
  GatewayTokens();
  void load(store::Store& store);
  [[nodiscard]] bool knows(std::string_view token, base::Instant now) const;

 private:
  struct Entry {
    base::Sha256 sha256{};
    std::optional<base::Instant> expires;
  };
  Published<std::vector<Entry>> entries_;
};

}  // namespace sallyport::daemon

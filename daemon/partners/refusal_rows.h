// Which of the connections that were refused at the door get a row of the audit: strangers may come
// as often as they like, and rows are kept. The first of an address and reason, then one an hour
// while it goes on, with how many there were. The log has them all, every ten seconds.
//
// One thread. Bounded: of more addresses than fit only the log tells.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "base/instant.h"

namespace sallyport::daemon {

class RefusalRows {
 public:
  /// `count` more; how many a row is to tell of now, 0 if none is due.
  [[nodiscard]] std::uint64_t add(const std::string& network, const std::string& reason,
                                  std::uint32_t count, base::Instant now);

 private:
  struct Since {
    base::Instant told{};
    std::uint64_t count = 0;
  };
  std::map<std::pair<std::string, std::string>, Since> refusals_;
};

}  // namespace sallyport::daemon

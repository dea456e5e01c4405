// A JSON array as an answer, piece by piece: a list of a million keys must not be held in memory.
//
// Small ones stay a text; what grows beyond a bound goes to a file without a name, which goes away
// with the answer. One thread. Throws base::SystemError when that file cannot be written.
#pragma once

#include <string>

#include "base/c_handle.h"
#include "daemon/http/router.h"

namespace sallyport::daemon {

class JsonArrayBody {
 public:
  void push(const Json& item);
  /// The answer, 200.
  [[nodiscard]] Response finish();

 private:
  void spill();

  std::string text_ = "[";
  bool empty_ = true;
  base::UniqueFd file_;
  std::uint64_t written_ = 0;
};

}  // namespace sallyport::daemon

// Interrupted work in notify/: what() is one sentence that tells an operator what to do. A refused
// mail or webhook is not an error but a value (notify/delivery.h).
#pragma once

#include "base/error.h"

namespace sallyport::notify {

class Error : public base::Error {
 public:
  using base::Error::Error;
};

}  // namespace sallyport::notify

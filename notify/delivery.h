// What became of one attempt to hand one notice to one recipient.
#pragma once

#include <string>

namespace sallyport::notify {

enum class Outcome {
  accepted,           ///< the server took responsibility; `answer` is what it said
  temporary_failure,  ///< worth another attempt later: 4xx, connection, TLS, time-out
  permanent_failure,  ///< will not get better by itself: 5xx, a malformed address
};

struct Delivery {
  Outcome outcome = Outcome::temporary_failure;
  int code = 0;        ///< SMTP or HTTP status, 0 where no server answered
  std::string answer;  ///< one line for the ledger and for an operator; no secrets, no controls
  /// The fault lies with the server or the way to it, not with this message: the rest of a batch
  /// would fare the same.
  bool server_unavailable = false;

  [[nodiscard]] bool accepted() const { return outcome == Outcome::accepted; }
};

}  // namespace sallyport::notify

// Turning a connection away before a session exists, with a proper SSH message. Never blocks.
#pragma once

#include <chrono>
#include <deque>
#include <string_view>

#include "base/c_handle.h"

namespace sallyport::sftp {

/// Connections that are being turned away. Each stays open for a moment after it was told: closing
/// at once, with the peer's own first bytes unread, would reset the connection and lose what was
/// said.
class Refusals {
 public:
  /// Sends our identification and an SSH_MSG_DISCONNECT that says `reason`, as far as the socket
  /// takes it at once.
  void refuse(base::UniqueFd peer, std::string_view reason);
  /// Closes those whose moment is over.
  void close_old();
  [[nodiscard]] bool empty() const { return open_.empty(); }

 private:
  struct Open {
    base::UniqueFd peer;
    std::chrono::steady_clock::time_point since;
  };
  std::deque<Open> open_;
};

}  // namespace sallyport::sftp

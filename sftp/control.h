// The parent's connection to the daemon: limits and bans in, refusals out. While the daemon is away
// the last limits and bans hold and a new connection is tried every second.
//
// Single-threaded; never blocks; does not throw after construction.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/c_handle.h"
#include "sftp/addresses.h"
#include "sftp/broker.h"

namespace sallyport::sftp {

class Control {
 public:
  Control(std::string broker_path, ControlHello hello);

  /// To be polled; -1 while the daemon is away.
  [[nodiscard]] int fd() const { return socket_.get(); }
  /// How long poll() may wait at most.
  [[nodiscard]] std::chrono::milliseconds next_try() const;
  /// Takes what has come, connects again if it is time to.
  void handle();
  [[nodiscard]] const FrontConfig& config() const { return config_; }
  /// Processes of sessions that should have left, since the last call.
  [[nodiscard]] std::vector<std::uint32_t> overdue() { return std::exchange(overdue_, {}); }

  /// Why a connection from `who` is not taken, in words for the peer; nullptr if it is.
  [[nodiscard]] const char* refuses(
      const PeerAddress& who, std::size_t sessions,
      const std::map<std::string, std::uint32_t, std::less<>>& unauthenticated) const;
  /// A connection that was not taken, and what refuses() said.
  void count(const std::string& network, const char* reason);
  /// One whose session has ended without a login.
  void count_unfinished(const std::string& network);

 private:
  void connect();
  void take(const Message& message);
  void send_counts();
  [[nodiscard]] bool tell(const std::string& network, const std::string& reason,
                          std::uint32_t count);

  std::string path_;
  ControlHello hello_;
  base::UniqueFd socket_;
  FrontConfig config_;
  std::map<std::string, std::int64_t, std::less<>> bans_;
  std::vector<std::uint32_t> overdue_;
  std::map<std::pair<std::string, std::string>, std::uint32_t> refusals_;
  std::map<std::string, std::uint32_t> unfinished_;
  std::chrono::steady_clock::time_point tried_{};
  std::chrono::steady_clock::time_point told_{};
  bool away_logged_ = false;
};

}  // namespace sallyport::sftp

// One SSH channel that carries SFTP: takes what libssh hands over, gives it to a Session, and sends
// the Session's replies.
//
// libssh calls back while it reads; nothing is sent from there, for a write that waits inside a
// callback loses events. Replies are sent by pump(), from the connection's loop, from a buffer that
// callbacks do not touch; what the socket does not take stays there. Single-threaded. No exception
// crosses libssh: a failure sets Activity::failed.
#pragma once

#include <libssh/callbacks.h>
#include <libssh/libssh.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include "sftp/packet.h"
#include "sftp/session.h"

namespace sallyport::sftp {

/// What the channels tell the connection.
struct Activity {
  bool seen = false;  ///< something came since the connection looked
  std::chrono::steady_clock::time_point last;
  bool failed = false;   ///< the daemon is gone
  bool flooded = false;  ///< the peer sends more than it was allowed to
};

/// True while something that was given to libssh waits for the socket to take it.
[[nodiscard]] bool output_waits(ssh_session session);

/// Its libssh session must be non-blocking.
class Channel {
 public:
  Channel(ssh_channel channel, SessionContext& context, Activity& activity);
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  /// Sends what the peer's window and the socket take at once, and goes on with requests that had
  /// to wait for that. True if it could go on at once.
  bool pump();
  /// How long the peer has enough to do: more is ready for it, but its window is shut. Zero if it
  /// may be waiting for us.
  [[nodiscard]] std::chrono::microseconds peer_is_busy_for() const;
  /// True when both sides have closed it.
  [[nodiscard]] bool closed() const;
  /// The connection ends: open uploads become partials.
  void finish();
  /// Of its session; nothing without one.
  void add_held(std::vector<HeldFile>& held, Session::Files& seen) const {
    if (session_) session_->add_held(held, seen);
  }

 private:
  std::uint32_t on_data(std::span<const std::uint8_t> data);
  int on_subsystem(std::string_view name);
  void on_end();
  void on_close();

  bool consume_carry();
  bool go_on();
  std::size_t complete_carry(std::span<const std::uint8_t> data);
  bool take_buffered(std::uint32_t most);
  void time_round_trip(std::size_t received);
  void widen_window();
  bool send();
  void close();
  [[nodiscard]] bool drained() const;

  ssh_channel channel_;
  SessionContext& context_;
  Activity& activity_;
  ssh_channel_callbacks_struct callbacks_{};
  std::optional<Session> session_;
  std::vector<std::uint8_t> carry_;  ///< requests taken from libssh that could not be handled yet
  bool held_ = false;                ///< requests of the carry are held back
  bool left_behind_ = false;         ///< libssh may hold requests, too
  ReplyBuffer sending_;
  std::size_t sent_ = 0;
  std::uint64_t received_since_widening_ = 0;
  std::uint64_t received_ = 0;  ///< counted as long as round trips are timed
  std::optional<std::chrono::steady_clock::time_point> answered_;  ///< and nothing has come since
  std::chrono::steady_clock::duration round_trip_ = std::chrono::steady_clock::duration::max();
  std::uint32_t window_;
  std::uint32_t peer_window_ = 0;  ///< the widest that has been seen
  bool rekeying_ = false;          ///< as the last attempt to send found
  bool has_sent_ = false;
  bool peer_done_ = false;
  bool peer_closed_ = false;  ///< and takes nothing more
  bool closing_ = false;
};

}  // namespace sallyport::sftp

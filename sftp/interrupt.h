// How a session that is blocked in send(2), to a peer that does not read, is still ended: when the
// daemon closes the broker connection, when the login grace is over, or when the program stops.
// Signal handlers shut the peer's socket down, which makes every call on it return.
//
// One process, one thread, one peer: process-wide by nature. Nothing here fails.
#pragma once

#include <cstdint>

namespace sallyport::sftp {

/// Installs the handlers (SIGALRM, SIGTERM, SIGIO) for this peer.
void catch_interrupts(int peer_socket);
/// SIGALRM in so many seconds; 0 takes it back.
void set_grace(std::uint32_t seconds);
/// From now on the end of the broker connection is noticed, by SIGIO.
void watch_daemon(int broker_socket);

[[nodiscard]] bool grace_is_over();
[[nodiscard]] bool told_to_stop();

/// Around what may block in send(2). If the daemon has hung up already, good() is false and nothing
/// must be sent; if it hangs up meanwhile, the peer's socket is shut down. Outside of it the
/// connection's loop notices the end itself, and can still tell the peer why.
class Sending {
 public:
  Sending();
  ~Sending();
  Sending(const Sending&) = delete;
  Sending& operator=(const Sending&) = delete;
  [[nodiscard]] bool good() const;
};

}  // namespace sallyport::sftp

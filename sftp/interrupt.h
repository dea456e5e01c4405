// How a session is ended that waits for a peer who does nothing: when the login grace, or the time
// for a last word, is over, and when the program stops. The signal handlers shut the peer's socket
// down, which makes every call on it return.
//
// One process, one peer: process-wide by nature. Nothing here fails.
#pragma once

#include <cstdint>

namespace sallyport::sftp {

/// Installs the handlers (SIGALRM, SIGTERM) for this peer, whose descriptor stays open to the end.
void catch_interrupts(int peer_socket);
/// SIGALRM in so many seconds; 0 takes it back.
void set_grace(std::uint32_t seconds);
/// The end of the grace that runs is only known (grace_is_over()) at first, and shuts the socket
/// down so many seconds later.
void leave_time_for_a_last_word(std::uint32_t seconds);
/// Around a call that might never return, whatever becomes of the socket: after so many seconds the
/// process ends. 0 takes it back, and a grace with it.
void set_limit_of_a_call(std::uint32_t seconds);

[[nodiscard]] bool grace_is_over();
[[nodiscard]] bool told_to_stop();

}  // namespace sallyport::sftp

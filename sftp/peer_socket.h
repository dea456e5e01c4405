// How libssh uses a connection's socket: it asks for 4 KiB, with a poll() before each, and its
// send() waits for a peer that takes nothing. Ours reads ahead, in pieces of up to 256 KiB (those
// two calls were a third of what a bulk upload used, tests/bench/sftp_bench), and sends what the
// socket takes at once: who waits, and for how long, is the connection's loop alone to say. What a
// peer has said is acknowledged before it is waited for: its system may hold back what it says next
// until then (40 ms of each login with OpenSSH's client). libssh 0.10 has no setting for it, so its
// recv(), send() and poll() are ours: what a program defines goes before what a library does
// (symbol interposition, ld.so(8)). For every other descriptor they are the system's.
//
// One socket a process, which is a blocking one: an EAGAIN would be a broken connection to libssh.
// Threads: what is read ahead belongs to the one that serves the connection; others, and signal
// handlers, may call all three for other descriptors.
#pragma once

#include <chrono>

namespace sallyport::sftp {

/// From now on this socket is read ahead, and sending on it does not wait.
void use_peer_socket(int socket) noexcept;
/// Reads ahead as soon as something comes, which is waited for awake (sftp/awake.h): what comes
/// then needs no poll() before it. True if something lies here, or the connection has ended.
bool read_ahead_by(std::chrono::steady_clock::time_point end) noexcept;
/// From now on sending waits until the socket has taken all: for a last word.
void wait_for_peer_to_take() noexcept;

}  // namespace sallyport::sftp

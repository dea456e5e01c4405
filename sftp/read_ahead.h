// Reads a connection's socket in pieces of up to 256 KiB where libssh asks for 4 KiB, with a poll()
// before each: those two calls were a third of what a bulk upload used (tests/bench/sftp_bench).
// libssh 0.10 has no setting for it, so its recv() and poll() are ours: what a program defines goes
// before what a library does (symbol interposition, ld.so(8)). For every other descriptor they are
// the system's.
//
// One socket a process. Threads: what is read ahead belongs to the one that serves the connection;
// others, and signal handlers, may call both for other descriptors.
#pragma once

namespace sallyport::sftp {

/// From now on what comes in on this socket is read ahead.
void read_ahead_of(int socket) noexcept;

}  // namespace sallyport::sftp

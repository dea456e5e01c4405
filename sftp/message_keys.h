// How libssh authenticates the messages of clients without AES-GCM, as paramiko and PuTTY are
// by their choice: libssh 0.10 makes OpenSSL's key object and its HMAC anew for each message, and
// OpenSSL 3.0 looks everything that it needs for them up by name, which costs more than all else
// that is done for a small request (tests/bench/clients_bench --only psftp). Neither has a
// setting for it, so the two calls in question are ours, as those for the socket are
// (sftp/peer_socket.h): who asks for a key that has been made is given the one there is, and who
// asks for the beginning of its HMAC a copy of it. Where that fails, for want of memory, the
// process ends: libssh would send the message in the clear. All else goes to OpenSSL, and so does
// everything before keep_message_keys().
//
// Threads: what is kept belongs to the thread that asked for it.
#pragma once

namespace sallyport::sftp {

/// From now on the last few keys are kept: one for each direction, and those of a rekeying.
void keep_message_keys() noexcept;

}  // namespace sallyport::sftp

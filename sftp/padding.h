// The random bytes that libssh pads each message with: it asks OpenSSL for a dozen of them at a
// time, and OpenSSL 3.0's generator sets up its cipher three times for that: more than the
// encryption of a small answer costs, and a twentieth of a session's time where small requests come
// one by one (tests/bench/sftp_bench --only small-put,small-get). Neither has a setting for it, so
// the call is ours, as those of sftp/message_keys.h are: after keep_padding() small requests are
// served from a few KiB that the same generator made at once. Each byte is given once and wiped.
// All else goes to OpenSSL, and so does everything before keep_padding(), which is every key of a
// connection's first key exchange; a later one makes its secrets inside OpenSSL and takes its
// cookie from here.
//
// Threads: what is kept belongs to the thread that asked for it. Not before a fork: both processes
// would have the same.
#pragma once

namespace sallyport::sftp {

void keep_padding() noexcept;

}  // namespace sallyport::sftp

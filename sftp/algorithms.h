// What we offer and accept in SSH, in one place: the listener sets it, the sheet for partners
// prints it. Nothing here that ssh-audit could blame a configuration for. Older clients (SHA-1
// signatures, CBC, MACs without encrypt-then-MAC) are turned away on purpose; docs/partners says
// which.
#pragma once

namespace sallyport::sftp {

/// Not group18: it costs us 200 ms of a processor (group16: 30) before anybody has said who he is,
/// and a stranger nothing.
inline constexpr const char* key_exchange_algorithms =
    "curve25519-sha256,curve25519-sha256@libssh.org,diffie-hellman-group16-sha512";
/// GCM first: with AES in hardware it is the fastest by far. CTR is for clients without GCM.
inline constexpr const char* cipher_algorithms =
    "aes128-gcm@openssh.com,aes256-gcm@openssh.com,aes256-ctr,aes192-ctr,aes128-ctr";
inline constexpr const char* mac_algorithms =
    "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com";
inline constexpr const char* host_key_algorithms = "ssh-ed25519,rsa-sha2-512,rsa-sha2-256";
inline constexpr const char* user_key_algorithms =
    "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,rsa-sha2-512,rsa-sha2-"
    "256";

}  // namespace sallyport::sftp

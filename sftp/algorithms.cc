// What we offer and accept: nothing that ssh-audit could blame a configuration for. Older clients
// (SHA-1 signatures, CBC, MACs without encrypt-then-MAC) are turned away on purpose; docs/partners
// says which.
#include <libssh/libssh.h>
#include <libssh/server.h>

#include <memory>

#include "base/error.h"
#include "sftp/connection.h"
#include "sftp/host_keys.h"

namespace sallyport::sftp {
namespace {

constexpr const char* key_exchanges =
    "curve25519-sha256,curve25519-sha256@libssh.org,diffie-hellman-group18-sha512,diffie-hellman-"
    "group16-sha512";
// GCM first: with AES in hardware it is the fastest by far. CTR is for clients without GCM.
constexpr const char* ciphers =
    "aes128-gcm@openssh.com,aes256-gcm@openssh.com,aes256-ctr,aes192-ctr,aes128-ctr";
constexpr const char* macs = "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com";
constexpr const char* host_key_algorithms = "ssh-ed25519,rsa-sha2-512,rsa-sha2-256";
constexpr const char* user_key_algorithms =
    "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,rsa-sha2-512,rsa-sha2-"
    "256";
constexpr const char* software = "Sallyport";

void set(ssh_bind bind, ssh_bind_options_e option, const void* value) {
  if (ssh_bind_options_set(bind, option, value) != SSH_OK) {
    throw base::Error(std::string("libssh refuses one of our settings: ") + ssh_get_error(bind));
  }
}

}  // namespace

ssh_bind make_bind(const HostKeys& keys) {
  base::CHandle<ssh_bind_struct, ssh_bind_free> bind(ssh_bind_new());
  if (!bind) throw base::Error("libssh could not be initialised.");
  const bool no = false;
  set(bind.get(), SSH_BIND_OPTIONS_PROCESS_CONFIG, &no);
  set(bind.get(), SSH_BIND_OPTIONS_BANNER, software);
  set(bind.get(), SSH_BIND_OPTIONS_KEY_EXCHANGE, key_exchanges);
  set(bind.get(), SSH_BIND_OPTIONS_CIPHERS_C_S, ciphers);
  set(bind.get(), SSH_BIND_OPTIONS_CIPHERS_S_C, ciphers);
  set(bind.get(), SSH_BIND_OPTIONS_HMAC_C_S, macs);
  set(bind.get(), SSH_BIND_OPTIONS_HMAC_S_C, macs);
  keys.give_to(bind.get());
  set(bind.get(), SSH_BIND_OPTIONS_HOSTKEY_ALGORITHMS, host_key_algorithms);
  set(bind.get(), SSH_BIND_OPTIONS_PUBKEY_ACCEPTED_KEY_TYPES, user_key_algorithms);
  return bind.release();
}

}  // namespace sallyport::sftp

#include "sftp/algorithms.h"

#include <libssh/libssh.h>
#include <libssh/server.h>

#include <memory>

#include "base/error.h"
#include "sftp/connection.h"
#include "sftp/host_keys.h"

namespace sallyport::sftp {
namespace {

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
  set(bind.get(), SSH_BIND_OPTIONS_KEY_EXCHANGE, key_exchange_algorithms);
  set(bind.get(), SSH_BIND_OPTIONS_CIPHERS_C_S, cipher_algorithms);
  set(bind.get(), SSH_BIND_OPTIONS_CIPHERS_S_C, cipher_algorithms);
  set(bind.get(), SSH_BIND_OPTIONS_HMAC_C_S, mac_algorithms);
  set(bind.get(), SSH_BIND_OPTIONS_HMAC_S_C, mac_algorithms);
  keys.give_to(bind.get());
  set(bind.get(), SSH_BIND_OPTIONS_HOSTKEY_ALGORITHMS, host_key_algorithms);
  set(bind.get(), SSH_BIND_OPTIONS_PUBKEY_ACCEPTED_KEY_TYPES, user_key_algorithms);
  return bind.release();
}

}  // namespace sallyport::sftp

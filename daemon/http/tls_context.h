// Private to server.cc (it includes Asio): the TLS settings of the TCP listener.
#pragma once

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <boost/asio/ssl/context.hpp>
#include <memory>
#include <string>

#include "base/secret.h"
#include "daemon/http/server.h"
#include "daemon/http/sockets.h"

namespace sallyport::daemon {

/// TLS 1.2 and 1.3 with forward secrecy only; a client certificate is asked for, not demanded, when
/// there is an authority for it. Throws HttpError that names the file.
[[nodiscard]] inline std::shared_ptr<boost::asio::ssl::context> make_tls_context(
    const TlsFiles& files) {
  namespace ssl = boost::asio::ssl;
  auto context = std::make_shared<ssl::context>(ssl::context::tls_server);
  SSL_CTX* native = context->native_handle();
  SSL_CTX_set_min_proto_version(native, TLS1_2_VERSION);
  SSL_CTX_set_cipher_list(native, "ECDHE+AESGCM:ECDHE+CHACHA20");
  SSL_CTX_set_options(
      native, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(native, SSL_MODE_RELEASE_BUFFERS);

  const auto require = [](const boost::system::error_code& error, const std::string& option,
                          const std::string& file) {
    if (error) {
      throw HttpError(option + " = \"" + file + "\" cannot be used: " + error.message());
    }
  };
  boost::system::error_code error;
  context->use_certificate_chain_file(files.certificate, error);
  require(error, "http.certificate_file", files.certificate);
  try {
    const base::Secret key = base::read_secret(files.private_key);
    context->use_private_key(boost::asio::buffer(key.reveal()), ssl::context::pem, error);
  } catch (const base::Error& unreadable) {
    throw HttpError(std::string("http.private_key_file: ") + unreadable.what());
  }
  require(error, "http.private_key_file", files.private_key);
  if (SSL_CTX_check_private_key(native) != 1) {
    throw HttpError("http.private_key_file does not belong to http.certificate_file");
  }
  if (!files.client_ca.empty()) {
    context->load_verify_file(files.client_ca, error);
    require(error, "http.client_ca_file", files.client_ca);
    SSL_CTX_set_client_CA_list(native, SSL_load_client_CA_file(files.client_ca.c_str()));
    context->set_verify_mode(ssl::verify_peer);
    static constexpr unsigned char session[] = "sallyport";  // needed to resume with certificates
    SSL_CTX_set_session_id_context(native, session, sizeof(session) - 1);
  }
  return context;
}

}  // namespace sallyport::daemon

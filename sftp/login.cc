#include "sftp/login.h"

#include <poll.h>
#include <time.h>

#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "base/bytes.h"
#include "sftp/packet.h"

namespace sallyport::sftp {
namespace {

constexpr std::chrono::seconds answer_deadline{20};
// Clients offer each key of an agent by a probe. More than this is no agent but a search.
constexpr std::uint32_t most_probes = 30;
// Of any kind: methods that we do not know are refused without a call to us, so they are only
// counted.
constexpr std::uint32_t most_requests = 100;
constexpr std::uint32_t least_rsa_bits = 2048;
constexpr const char* unavailable =
    "The service is temporarily unavailable, please try again later";

std::string or_empty(const char* text) {
  return text == nullptr ? std::string() : std::string(text);
}

std::optional<std::string> wire_blob(ssh_key key) {
  char* text = nullptr;
  if (ssh_pki_export_pubkey_base64(key, &text) != SSH_OK) return std::nullopt;
  auto blob = base::from_base64(text);
  ssh_string_free_char(text);
  return blob;
}

// The kinds of spec/gateway.md 1. The daemon refuses others when they are added; a stranger may
// offer anything.
bool acceptable(ssh_key key, std::string_view blob) {
  switch (ssh_key_type(key)) {
    case SSH_KEYTYPE_ED25519:
    case SSH_KEYTYPE_ECDSA_P256:
    case SSH_KEYTYPE_ECDSA_P384:
    case SSH_KEYTYPE_ECDSA_P521:
      return true;
    case SSH_KEYTYPE_RSA: {
      PacketReader reader({reinterpret_cast<const std::uint8_t*>(blob.data()), blob.size()});
      (void)reader.bytes();  // "ssh-rsa"
      (void)reader.bytes();  // exponent
      auto modulus = reader.bytes();
      while (!modulus.empty() && modulus.front() == 0) modulus = modulus.subspan(1);
      if (modulus.empty()) return false;
      const auto top = static_cast<unsigned>(modulus.front());
      const std::size_t bits =
          modulus.size() * 8 - static_cast<std::size_t>(__builtin_clz(top) - 24);
      return bits >= least_rsa_bits;
    }
    default:
      return false;
  }
}

void wait(std::uint32_t milliseconds) {
  if (milliseconds == 0) return;
  timespec time{static_cast<time_t>(milliseconds / 1000),
                static_cast<long>(milliseconds % 1000) * 1000000};
  ::clock_nanosleep(CLOCK_MONOTONIC, 0, &time, nullptr);
}

}  // namespace

Login::Login(ssh_session session, BrokerClient* broker, LoginSetup setup)
    : session_(session), broker_(broker), setup_(std::move(setup)) {
  callbacks_.userdata = this;
  callbacks_.auth_password_function = [](ssh_session, const char* user, const char* password,
                                         void* self) {
    return static_cast<Login*>(self)->on_password(user, password);
  };
  callbacks_.auth_pubkey_function = [](ssh_session, const char* user, ssh_key key, char state,
                                       void* self) {
    return static_cast<Login*>(self)->on_key(user, key, state);
  };
  callbacks_.auth_none_function = [](ssh_session, const char* user, void* self) {
    return static_cast<Login*>(self)->on_none(user);
  };
  // Without it libssh begins a Kerberos login of its own, which asks the system for keys.
  callbacks_.gssapi_select_oid_function = [](ssh_session, const char*, int, ssh_string*, void*) {
    return static_cast<ssh_string>(nullptr);
  };
  callbacks_.service_request_function = [](ssh_session, const char* service, void* self) {
    return static_cast<Login*>(self)->on_service(service);
  };
  callbacks_.channel_open_request_session_function = [](ssh_session, void* self) {
    return static_cast<Login*>(self)->setup_.open_channel();
  };
  ssh_callbacks_init(&callbacks_);
  ssh_set_server_callbacks(session_, &callbacks_);
  ssh_set_auth_methods(session_, SSH_AUTH_METHOD_PUBLICKEY | SSH_AUTH_METHOD_PASSWORD);
}

int Login::on_service(const char* service) {
  if (std::strcmp(service, "ssh-userauth") == 0) return 0;
  // libssh would leave the peer without an answer.
  if (!over()) {
    why_over_ = "This service is not offered";
    reason_ = "service";
  }
  return -1;
}

// The usual way to ask which methods there are. Once; after that it is an attempt like any other.
int Login::on_none(const char* user) {
  if (over()) return SSH_AUTH_DENIED;
  user_ = std::string_view(user).substr(0, 255);
  if (!std::exchange(asked_for_methods_, true)) return SSH_AUTH_DENIED;
  return denied(false);
}

void Login::count_requests(std::uint32_t count) {
  if (over() || count < most_requests) return;
  why_over_ = "Too many authentication failures";
  reason_ = "max_attempts";
}

void Login::introduce() {
  if (introduced_) return;
  introduced_ = true;
  SessionHello hello;
  hello.address = setup_.address;
  hello.port = setup_.port;
  hello.client_banner = or_empty(ssh_get_clientbanner(session_)).substr(0, 255);
  hello.key_exchange = or_empty(ssh_get_kex_algo(session_));
  hello.cipher = or_empty(ssh_get_cipher_in(session_));
  hello.mac = or_empty(ssh_get_hmac_in(session_));
  broker_->send(hello);
  if (!setup_.banner.empty()) show(setup_.banner);
}

void Login::show(const std::string& sentence) {
  ssh_string text = ssh_string_from_char(sentence.c_str());
  (void)ssh_send_issue_banner(session_, text);
  ssh_string_free(text);
}

// libssh answers the request with a failure, at which most clients leave before they read why.
void Login::come_back_later(const std::string& why, const std::string& reason) {
  if (why_over_.empty()) show(why + (why.ends_with('.') ? "\r\n" : ".\r\n"));
  why_over_ = why;
  reason_ = reason;
}

int Login::on_password(const char* user, const char* password) {
  LoginQuery query;
  query.user = user;
  query.method = LoginMethod::password;
  query.password = password;
  if (proven_user_ == query.user) query.proven_key = proven_key_;
  return ask(std::move(query));
}

int Login::on_key(const char* user, ssh_key key, char state) {
  const bool probe = state == SSH_PUBLICKEY_STATE_NONE;
  // Only a checked signature proves anything; every other state is a claim.
  if (!probe && state != SSH_PUBLICKEY_STATE_VALID) return denied(false);
  const auto blob = wire_blob(key);
  if (!blob) return denied(probe);
  LoginQuery query;
  query.user = user;
  query.key = acceptable(key, *blob) ? *blob : std::string();
  query.signature_verified = !probe;
  return ask(std::move(query));
}

int Login::ask(LoginQuery query) {
  if (over()) return SSH_AUTH_DENIED;
  if (broker_ == nullptr) {
    come_back_later(unavailable, "unavailable");
    return SSH_AUTH_DENIED;
  }
  user_ = query.user.substr(0, 255);
  if (query.user.size() > 255) query.user.clear();
  const bool probe = query.method == LoginMethod::key && !query.signature_verified;
  try {
    introduce();
    Received received = broker_->finish(broker_->start(query), answer_deadline);
    ::explicit_bzero(query.password.data(), query.password.size());
    auto* answer = std::get_if<LoginAnswer>(&received.envelope.message);
    if (answer == nullptr) throw BrokerError("The daemon answered a login with something else.");
    wait(answer->delay_ms);
    switch (answer->outcome) {
      case LoginOutcome::deny:
        return denied(probe);
      case LoginOutcome::refuse:
        come_back_later(answer->sentence.empty() ? unavailable : answer->sentence, "refused");
        return SSH_AUTH_DENIED;
      case LoginOutcome::partial:
        if (query.method != LoginMethod::key) return denied(false);
        if (probe) return SSH_AUTH_SUCCESS;
        proven_user_ = query.user;
        proven_key_ = query.key;
        ssh_set_auth_methods(session_, SSH_AUTH_METHOD_PASSWORD);
        return SSH_AUTH_PARTIAL;
      case LoginOutcome::allow:
        if (probe) return SSH_AUTH_SUCCESS;
        if (!received.descriptor)
          throw BrokerError("The daemon let a partner in without its directory.");
        setup_.enter_partner(std::move(received.descriptor), std::move(*answer));
        logged_in_ = true;
        return SSH_AUTH_SUCCESS;
    }
  } catch (const std::exception&) {
    // No exception may cross libssh. The peer learns nothing of what is wrong here.
    ::explicit_bzero(query.password.data(), query.password.size());
    come_back_later(unavailable, "unavailable");
  }
  return SSH_AUTH_DENIED;
}

void Login::unanswered(const std::string& user, bool unknown_key) {
  if (over()) return;
  user_ = user.substr(0, 255);
  why_over_ = unknown_key
                  ? "Keys of this kind are not supported: offer an RSA, ECDSA or Ed25519 key"
                  : "The signature is not valid";
  reason_ = unknown_key ? "unknown_key_type" : "bad_signature";
  if (broker_ == nullptr) return;
  try {
    introduce();
  } catch (const std::exception&) {
    reason_ = "unavailable";
  }
}

int Login::denied(bool probe) {
  if (probe) {
    if (++probes_ >= most_probes) why_over_ = "Too many keys were offered";
  } else if (++failures_ >= setup_.max_attempts) {
    why_over_ = "Too many authentication failures";
  }
  if (!why_over_.empty()) reason_ = "max_attempts";
  return SSH_AUTH_DENIED;
}

}  // namespace sallyport::sftp

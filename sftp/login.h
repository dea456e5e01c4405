// Authentication of one connection: libssh's callbacks on one side, the daemon's answers on the
// other. No policy is here: who may log in with what is the daemon's to say.
//
// Single-threaded; the object must outlive the ssh_session's use of it. A daemon that is gone makes
// the login fail.
#pragma once

#include <libssh/callbacks.h>
#include <libssh/libssh.h>
#include <libssh/server.h>

#include <cstdint>
#include <functional>
#include <string>

#include "base/c_handle.h"
#include "sftp/broker.h"

namespace sallyport::sftp {

struct LoginSetup {
  std::string address;
  std::uint16_t port = 0;
  std::uint32_t max_attempts = 6;
  std::string banner;
  /// Called inside the answer that lets the peer in, before it is sent: nothing of the peer's is
  /// handled between being let in and the second layer of the sandbox.
  std::function<void(base::UniqueFd, LoginAnswer)> enter_partner;
  std::function<ssh_channel()> open_channel;
};

class Login {
 public:
  /// `broker` is null while the daemon is away: every login is told to come back later.
  Login(ssh_session session, BrokerClient* broker, LoginSetup setup);
  Login(const Login&) = delete;
  Login& operator=(const Login&) = delete;

  /// A request was not answered, since its signature or its key is none, or of a kind of keys that
  /// we do not know: the connection is over. The latter is no attempt at anything.
  void unanswered(const std::string& user, bool unknown_key);
  /// `count` login requests have come in all, with those that libssh answers by itself.
  void count_requests(std::uint32_t count);

  [[nodiscard]] bool logged_in() const { return logged_in_; }
  /// True when there is nothing more to wait for.
  [[nodiscard]] bool over() const { return logged_in_ || !why_over_.empty() || failed_; }
  /// What to tell the peer.
  [[nodiscard]] const std::string& why_over() const { return why_over_; }
  /// What to tell the daemon (LoginFailure::reason).
  [[nodiscard]] const std::string& reason() const { return reason_; }
  [[nodiscard]] const std::string& user() const { return user_; }

 private:
  int on_password(const char* user, const char* password);
  int on_key(const char* user, ssh_key key, char state);
  int on_service(const char* service);
  int on_none(const char* user);
  int ask(LoginQuery query);
  int denied(bool probe);
  void introduce();
  void show(const std::string& sentence);
  /// Nothing is wrong with the login, but it cannot be now.
  void come_back_later(const std::string& why, const std::string& reason);

  ssh_session session_;
  BrokerClient* broker_;
  LoginSetup setup_;
  ssh_server_callbacks_struct callbacks_{};
  bool introduced_ = false;
  bool logged_in_ = false;
  bool failed_ = false;
  std::uint32_t failures_ = 0;
  std::uint32_t probes_ = 0;
  bool asked_for_methods_ = false;
  std::string user_;
  std::string proven_user_;
  std::string proven_key_;
  std::string why_over_;
  std::string reason_ = "disconnected";
};

}  // namespace sallyport::sftp

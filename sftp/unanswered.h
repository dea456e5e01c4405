// Sees login requests that libssh leaves without an answer: those whose signature is bad, or whose
// key or algorithm it does not take. It calls nobody then, the client would wait for ever, and no
// attempt would be counted.
//
// libssh tells only its log, so that is read while a login goes on: a login request was handed to
// its handler, and no packet went out. Owned by a connection; its one thread. Nothing fails; a
// libssh that words its log otherwise leaves the login grace to end such connections.
#pragma once

#include <libssh/callbacks.h>
#include <libssh/libssh.h>

#include <cstdint>
#include <string>

namespace sallyport::sftp {

class UnansweredRequests {
 public:
  /// From now on, until it goes.
  explicit UnansweredRequests(ssh_session session);
  ~UnansweredRequests();
  UnansweredRequests(const UnansweredRequests&) = delete;
  UnansweredRequests& operator=(const UnansweredRequests&) = delete;

  /// To be asked between two rounds of events.
  [[nodiscard]] bool any();
  /// It came with a key of a kind that libssh does not know, such as Ed448.
  [[nodiscard]] bool unknown_key() const { return unknown_key_; }
  /// Of the last login request; what a peer claims.
  [[nodiscard]] const std::string& user() const { return user_; }
  /// Login requests that have come, answered or not.
  [[nodiscard]] std::uint32_t seen() const { return seen_; }

 private:
  void logged(const char* text);
  void look();

  ssh_session session_;
  ssh_counter_struct packets_{};
  std::string user_;
  bool waits_ = false;
  bool any_ = false;
  bool unknown_key_ = false;
  std::uint32_t seen_ = 0;
  std::uint64_t sent_before_ = 0;
};

}  // namespace sallyport::sftp

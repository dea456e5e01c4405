#include "sftp/unanswered.h"

#include <string_view>

namespace sallyport::sftp {
namespace {

// SSH_MSG_USERAUTH_REQUEST is 50.
constexpr std::string_view login_request = "Dispatching handler for packet type 50";
constexpr std::string_view next_message = ": packet: read type ";
constexpr std::string_view before_user = " for user '";
constexpr std::string_view no_such_key = ": Unknown key type found!";

}  // namespace

UnansweredRequests::UnansweredRequests(ssh_session session) : session_(session) {
  ssh_set_counters(session, nullptr, &packets_);
  ssh_set_log_userdata(this);
  ssh_set_log_callback([](int, const char*, const char* line, void* self) {
    if (self != nullptr) static_cast<UnansweredRequests*>(self)->logged(line);
  });
  ssh_set_log_level(SSH_LOG_PACKET);
}

UnansweredRequests::~UnansweredRequests() {
  ssh_set_log_level(SSH_LOG_NOLOG);
  ssh_set_log_userdata(nullptr);
  ssh_set_counters(session_, nullptr, nullptr);
}

void UnansweredRequests::logged(const char* text) {
  const std::string_view line(text);
  const std::size_t at = line.find(before_user);
  if (at != line.npos && line.ends_with('\'')) {
    user_ = line.substr(at + before_user.size());
    user_.pop_back();
  }
  if (line.ends_with(no_such_key)) unknown_key_ = true;
  // The next message, whatever it is: what is answered to that is no answer to the request.
  if (line.find(next_message) != line.npos) look();
  if (!line.ends_with(login_request)) return;
  look();
  if (!any_) unknown_key_ = false;
  ++seen_;
  waits_ = true;
  sent_before_ = packets_.out_packets;
}

void UnansweredRequests::look() {
  if (waits_ && packets_.out_packets == sent_before_) any_ = true;
  waits_ = false;
}

bool UnansweredRequests::any() {
  look();
  return any_;
}

}  // namespace sallyport::sftp

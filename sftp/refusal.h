// Turning a connection away before a session exists, with a proper SSH message. Never blocks.
#pragma once

#include <string_view>

namespace sallyport::sftp {

/// Sends our identification and an SSH_MSG_DISCONNECT that says `reason`, as far as the socket
/// takes it at once. The caller closes the socket.
void refuse(int peer, std::string_view reason);

}  // namespace sallyport::sftp

// Ids of sessions: 26 characters a-z2-7 (RFC 4648 base32), new for each login. The first five say
// which node let the session in, so that one that starts beside others, on the same file system,
// tells what its own sessions left behind from what others' sessions are at.
//
// Pure; safe from any thread.
#pragma once

#include <string>
#include <string_view>

namespace sallyport::daemon {

[[nodiscard]] std::string make_session_id(std::string_view node);
[[nodiscard]] bool is_session_of(std::string_view session_id, std::string_view node);

}  // namespace sallyport::daemon

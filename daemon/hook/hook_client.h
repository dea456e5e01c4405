// The daemon's side of the hook socket: sends the facts, waits for the outcome.
//
// Thread-safe; each call has a connection of its own and blocks until the hook has ended or
// request.limit and a little more have passed. Throws base::Error when the service cannot be
// reached or goes away without an answer; how the hook ended is a value.
#pragma once

#include <string>

#include "daemon/hook/hook_message.h"

namespace sallyport::daemon {

[[nodiscard]] HookOutcome ask_hook_service(const std::string& socket, const HookRequest& request);

}  // namespace sallyport::daemon

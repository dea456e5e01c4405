// The daemon's side of the hook socket: sends the facts, waits for the outcome.
//
// Thread-safe; each call has a connection of its own and blocks until the hook has ended, `cancel`
// (a descriptor, -1 for none) is readable, or request.limit and a little more have passed. The
// service ends a hook whose asker has gone. Throws base::Error when the service cannot be
// reached or goes away without an answer; how the hook ended is a value.
#pragma once

#include <string>

#include "daemon/hook/hook_message.h"

namespace sallyport::daemon {

[[nodiscard]] HookOutcome ask_hook_service(const std::string& socket, const HookRequest& request,
                                           int cancel = -1);

}  // namespace sallyport::daemon

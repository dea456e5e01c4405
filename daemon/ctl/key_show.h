// How sallyportctl shows a key.
#pragma once

#include "daemon/ctl/command.h"
#include "daemon/http/json.h"

namespace sallyport::daemon::ctl {

[[nodiscard]] Style key_status_style(const std::string& status);
void show_key(Context& context, const Json& key);
/// An answer that is a key; as it is with --json.
void show_key_reply(Context& context, const Reply& reply);
/// An answer that holds a new value: the one moment in which it is seen. It goes to standard
/// output, alone.
void show_new_key(Context& context, const Reply& reply);

}  // namespace sallyport::daemon::ctl

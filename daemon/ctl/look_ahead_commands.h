// sallyportctl key simulate|calendar|why|import.
#pragma once

#include "daemon/ctl/command.h"

namespace sallyport::daemon::ctl {

/// To the group of `key`.
void add_look_ahead_commands(Command key, Context& context);

}  // namespace sallyport::daemon::ctl

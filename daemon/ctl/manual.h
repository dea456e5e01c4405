// The COMMANDS part of sallyportctl(1), made from the very commands it has: it cannot go stale.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace sallyport::daemon::ctl {

/// Every command with its arguments and options, in man's own markup.
[[nodiscard]] std::string manual_commands(const CLI::App& app);

}  // namespace sallyport::daemon::ctl

// Shell completion for sallyportctl, made from the very commands it has: it cannot go stale.
#pragma once

#include <vector>

namespace CLI {
class App;
}

namespace sallyport::daemon::ctl {

class Context;

/// The commands below `app` that people are shown, in their order.
[[nodiscard]] std::vector<const CLI::App*> visible_commands(const CLI::App& app);

/// Adds "completion bash", "zsh" and "fish", each of which prints a script for that shell.
void add_completion_command(CLI::App& app, Context& context);

}  // namespace sallyport::daemon::ctl

// Shell completion for sallyportctl, made from the very commands it has: it cannot go stale.
#pragma once

namespace CLI {
class App;
}

namespace sallyport::daemon::ctl {

class Context;

/// Adds "completion bash", which prints a script for bash-completion.
void add_completion_command(CLI::App& app, Context& context);

}  // namespace sallyport::daemon::ctl

// The program sallyport-hook: answers one request of the daemon's by running the one command of its
// own configuration, as its own user, and ends.
//
// The configuration is a file of words, one a line: the program, then its arguments; lines that
// begin with '#' and empty ones are left out. It must belong to root (or to the user that runs
// this) and be writable to nobody else, for whoever writes it decides what runs.
#pragma once

#include <string>
#include <vector>

namespace sallyport::daemon {

/// The command; throws base::Error with what to do when there is none that may run.
[[nodiscard]] std::vector<std::string> read_hook_command(const std::string& path);

/// One request from `in`, its outcome to `out`. What is wrong is answered, not thrown.
void serve_hook(int in, int out, const std::string& configuration);

/// sallyport-hook's main: the connection is its standard input and output.
int run_hook_service(int argc, const char* const* argv);

}  // namespace sallyport::daemon

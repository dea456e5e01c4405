// What sallyportd and sallyport-hook tell each other over the hook socket, as bytes. Pure.
//
// The request is facts about a file and a time limit, never a command: what runs is written in the
// configuration of sallyport-hook, which the daemon can neither read nor change. Each fact is
// "SALLYPORT_NAME=value" and ends with a NUL; an empty one ends the request, so that one cut short
// is not taken for a whole one. The answer is a line ("exit 0", "signal 9", "timeout",
// "refused <sentence>") and then what the hook wrote, up to hook_output_limit bytes.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sallyport::daemon {

inline constexpr std::size_t hook_request_limit = 64 * 1024;
inline constexpr std::size_t hook_output_limit = 4096;
inline constexpr std::chrono::seconds hook_longest{3600};

struct HookRequest {
  std::vector<std::string> facts;  ///< "SALLYPORT_NAME=value"
  std::chrono::seconds limit{60};
};

struct HookOutcome {
  std::optional<int> exit_code;
  int signal = 0;
  bool timed_out = false;
  std::string refused;  ///< why nothing ran; empty if something did
  std::string output;   ///< the beginning of what the hook wrote

  [[nodiscard]] bool succeeded() const { return exit_code == 0; }
};

[[nodiscard]] std::string encode(const HookRequest& request);
/// True once `bytes` hold a whole request.
[[nodiscard]] bool is_whole_hook_request(std::string_view bytes);
/// Nothing for what is not a request: a name that is not SALLYPORT_*, a limit out of bounds, an
/// end that is missing.
[[nodiscard]] std::optional<HookRequest> decode_hook_request(std::string_view bytes);

[[nodiscard]] std::string encode(const HookOutcome& outcome);
[[nodiscard]] std::optional<HookOutcome> decode_hook_outcome(std::string_view bytes);

}  // namespace sallyport::daemon

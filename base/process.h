// Runs one program to its end: argv without a shell, chosen environment and descriptors, a
// deadline, bounded capture of what it writes.
//
// The child is spawned (never forked by hand) into a process group of its own, gets the descriptors
// that are named here and no other, default signal dispositions and an empty signal mask. When the
// program ends, or its deadline passes, what is left of its group is killed, so that nothing of it
// outlives the call; only a process that leaves the group on purpose (a daemon) does.
//
// Thread-safe. How a program ends is a value; SystemError is thrown when it cannot be spawned or
// watched.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sallyport::base {

struct ProcessRequest {
  std::vector<std::string> argv;  ///< argv[0] is the path of the program; PATH is not searched
  std::vector<std::string> environment;  ///< "NAME=value", all that there is
  std::string directory;                 ///< working directory; empty: ours

  struct Descriptor {
    int child;  ///< its number in the child
    int ours;   ///< stays ours and open
  };
  /// 0, 1 and 2 are /dev/null unless they are named here, in `input` or in `captures`.
  std::vector<Descriptor> descriptors;

  struct Capture {
    int child;
    std::size_t limit;  ///< more than this is read and dropped
    /// It says more than it may: it is killed at once instead.
    bool kills = false;
  };
  std::vector<Capture> captures;

  std::optional<std::string_view> input;  ///< what the child reads from descriptor 0
  std::optional<std::chrono::milliseconds> deadline;

  /// A descriptor; as soon as it is readable, or its peer has hung up, the program is asked to end
  /// (SIGTERM to its group) and 2 seconds later killed. -1: nobody can interrupt it.
  int cancel = -1;

  /// The program starts a daemon, which leaves the group only after its parent has ended: what is
  /// left of the group is killed only when the deadline passes.
  bool starts_daemon = false;
};

struct ProcessResult {
  std::optional<int> exit_code;  ///< nothing if a signal ended it
  int signal = 0;
  bool timed_out = false;              ///< the deadline passed, and it was killed
  bool cancelled = false;              ///< ProcessRequest::cancel ended it
  std::vector<std::string> captured;   ///< in the order of ProcessRequest::captures
  std::vector<bool> capture_overflow;  ///< there was more than the limit
  std::chrono::microseconds cpu_time{0};

  [[nodiscard]] bool succeeded() const { return exit_code == 0; }
};

[[nodiscard]] ProcessResult run_process(const ProcessRequest& request);

}  // namespace sallyport::base

// A GNUPGHOME with several agents over one set of keys, and how gpg is run on it.
//
// The first agent works on the home itself. Each other one has a directory below it with links to
// the same key files and a socket of its own: one agent does the private-key work of all its
// clients on one core. Keys are only ever written through the home itself.
//
// Thread-safe but for start() and stop(). A home that cannot be used is a PgpError that says why.
#pragma once

#include <atomic>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/locked.h"
#include "pgp/judge.h"
#include "pgp/pgp.h"

namespace sallyport::pgp {

/// One question to an agent over its socket: the first line of its answer. nullopt if nobody
/// answers within two seconds.
[[nodiscard]] std::optional<std::string> ask_agent(const std::string& socket,
                                                   std::string_view command);

/// The files gpg works on: descriptors of ours, by number in the child from 4 on.
struct GpgJob {
  std::vector<std::string> arguments;
  int input = -1;                        ///< descriptor 0
  std::optional<std::string_view> text;  ///< or this as descriptor 0
  int data = -1;                         ///< descriptor 4
  int output = -1;                       ///< descriptor 5
  std::uint64_t input_bytes = 0;
  std::uint64_t output_limit_bytes = 0;
  std::optional<base::Instant> now;
  std::chrono::seconds deadline{3600};
  std::size_t text_limit = 0;  ///< output to memory (descriptor 1) if not 0
};

class Home {
 public:
  explicit Home(const EngineOptions& options);
  ~Home();
  Home(const Home&) = delete;
  Home& operator=(const Home&) = delete;

  void start();
  void stop() noexcept;
  void probe();
  /// False until start() has succeeded: nothing can be said about a message then.
  [[nodiscard]] bool is_ready() const { return ready_; }

  [[nodiscard]] const std::filesystem::path& directory() const { return options_.home; }
  [[nodiscard]] std::filesystem::path keyring_directory() const {
    return options_.home / "keyring";
  }
  [[nodiscard]] const std::filesystem::path& limiter() const { return limiter_; }

  /// Runs gpg with the agent that has the least to do. If it turns out that this agent is away, it
  /// is started again and the job is run once more; `agent_is_back` in the run says that even that
  /// did not help.
  /// True if the agent would ask for a passphrase before it uses this key.
  [[nodiscard]] bool is_protected(const std::string& keygrip) const;

  struct Result {
    GpgRun run;
    std::string text;
    bool agent_away = false;
  };
  [[nodiscard]] Result run(const GpgJob& job);

 private:
  struct Agent {
    std::filesystem::path directory;
    std::string socket;
    std::atomic<int> jobs{0};
    base::Locked<int> starting;  // held while it is being started
  };

  void make_directories();
  void make_agent_directory(const std::filesystem::path& directory);
  void make_keyring();
  void start_agent(Agent& agent);
  [[nodiscard]] bool is_alive(const Agent& agent) const;
  [[nodiscard]] Agent& pick();
  [[nodiscard]] Result run_once(const GpgJob& job, const Agent& agent) const;

  EngineOptions options_;
  std::filesystem::path limiter_;
  std::vector<std::unique_ptr<Agent>> agents_;
  std::atomic<bool> ready_{false};  // start() has succeeded
};

}  // namespace sallyport::pgp

// Real servers for tests of mail and webhooks, each a child process on a free port of the loopback:
// tests/smtp_sink and tests/unit/notify/webhook_sink. Starting one returns when it listens; the end
// of the object ends the process.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

namespace sallyport::test {

inline std::filesystem::path source_root() {
  return std::filesystem::path(__FILE__).parent_path().parent_path().parent_path().parent_path();
}

inline std::string file_content(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// A directory that is removed at the end of its scope.
class ScratchDirectory {
 public:
  ScratchDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "sallyport-test-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = name;
  }
  ~ScratchDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

class PythonServer {
 public:
  PythonServer(const std::filesystem::path& program, std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"/usr/bin/python3", program.string()});
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    std::array<int, 2> pipe{};
    if (::pipe2(pipe.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe failed");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pipe[1], STDOUT_FILENO);
    const int error = posix_spawn(&process_, argv[0], &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    ::close(pipe[1]);
    std::string line;
    char c = 0;
    // Ends with the line, or with the process: no time-out is needed.
    while (error == 0 && ::read(pipe[0], &c, 1) == 1 && c != '\n') line += c;
    ::close(pipe[0]);
    if (line.empty()) {
      stop();
      throw std::runtime_error(program.string() + " did not start");
    }
    port_ = static_cast<std::uint16_t>(std::stoi(line));
  }
  ~PythonServer() { stop(); }
  PythonServer(const PythonServer&) = delete;
  PythonServer& operator=(const PythonServer&) = delete;

  [[nodiscard]] std::uint16_t port() const { return port_; }
  void stop() {
    if (process_ <= 0) return;
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
    process_ = -1;
  }

 private:
  pid_t process_ = -1;
  std::uint16_t port_ = 0;
};

/// The mails of one sink as they came, in order.
class MailServer {
 public:
  explicit MailServer(std::vector<std::string> arguments = {}) : server_(start(arguments)) {}

  [[nodiscard]] std::uint16_t port() const { return server_.port(); }
  void stop() { server_.stop(); }
  [[nodiscard]] std::size_t count() const {
    return static_cast<std::size_t>(
        std::count_if(std::filesystem::directory_iterator(directory_.path()), {},
                      [](const auto& entry) { return entry.path().extension() == ".eml"; }));
  }
  /// `number` from 1.
  [[nodiscard]] std::filesystem::path file(std::size_t number) const {
    return directory_.path() / (std::to_string(number) + ".eml");
  }
  [[nodiscard]] std::string mail(std::size_t number) const { return file_content(file(number)); }

 private:
  PythonServer start(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--dir", directory_.path().string(), "--with-parent"});
    return PythonServer(source_root() / "tests" / "smtp_sink", std::move(arguments));
  }

  ScratchDirectory directory_;
  PythonServer server_;
};

/// ca.pem, good.pem (localhost), expired.pem, other_name.pem, foreign.pem (of another authority),
/// each with .key; made once for all tests of a program.
inline const std::filesystem::path& certificates() {
  static const ScratchDirectory directory;
  static const bool made = [] {
    const std::string script =
        (source_root() / "tests" / "unit" / "notify" / "make_certificates").string();
    const std::string command = "/usr/bin/python3 " + script + " " + directory.path().string();
    if (std::system(command.c_str()) != 0) throw std::runtime_error("no certificates");
    return true;
  }();
  (void)made;
  return directory.path();
}

inline std::vector<std::string> with_certificate(const std::string& name,
                                                 std::vector<std::string> arguments) {
  arguments.insert(arguments.end(), {"--tls-cert", (certificates() / (name + ".pem")).string(),
                                     "--tls-key", (certificates() / (name + ".key")).string()});
  return arguments;
}

}  // namespace sallyport::test

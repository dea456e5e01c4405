#include "pgp/home.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/landlock.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>

#include "base/c_handle.h"
#include "base/file_io.h"
#include "base/log.h"

namespace sallyport::pgp {
namespace {

namespace fs = std::filesystem;

/// What every gpg on the home goes by; runs on messages say the same on their command line.
constexpr std::string_view gpg_conf =
    "# Written by sallyportd at each start.\n"
    "batch\n"
    "no-tty\n"
    "no-greeting\n"
    "no-autostart\n"
    "disable-dirmngr\n"
    "no-auto-key-locate\n"
    "no-auto-key-retrieve\n"
    "trust-model always\n"
    "weak-digest SHA1\n"
    "personal-cipher-preferences AES256 AES192 AES\n"
    "personal-digest-preferences SHA512 SHA384 SHA256\n"
    "cert-digest-algo SHA512\n"
    "import-options self-sigs-only,import-minimal\n"
    "no-default-keyring\n";

constexpr std::string_view secret_keys = "private-keys-v1.d";
constexpr std::string_view keyring_name = "pubring.kbx";
/// Says nothing here, where every key was looked at before it was imported, but gpg dies without
/// it.
constexpr std::string_view trust_name = "trustdb.gpg";

constexpr std::string_view agent_conf =
    "# Written by sallyportd at each start.\n"
    "disable-scdaemon\n"
    "pinentry-program /bin/false\n"
    "no-allow-external-cache\n";

/// C rather than C.UTF-8: gpg starts faster, and its messages are not translated.
std::vector<std::string> environment(const fs::path& home) {
  return {"PATH=/usr/bin:/bin", "LC_ALL=C", "HOME=" + home.string(), "GNUPGHOME=" + home.string()};
}

fs::path find_limiter(const fs::path& wanted) {
  if (!wanted.empty()) return wanted;
  std::error_code ignored;
  const fs::path here = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  for (const fs::path& path :
       {here / "sallyport-gpg", here / "../pgp/sallyport-gpg", here / "../../pgp/sallyport-gpg"}) {
    if (!here.empty() && ::access(path.c_str(), X_OK) == 0) return fs::weakly_canonical(path);
  }
  return SALLYPORT_LIMITER;
}

std::string_view first_line(std::string_view text) {
  return text.substr(0, std::min(text.find('\n'), text.size()));
}

bool wait_readable(int fd) {
  constexpr int two_seconds_ms = 2000;
  pollfd polled{fd, POLLIN, 0};
  return ::poll(&polled, 1, two_seconds_ms) == 1;
}

/// A line of the agent's answer; nullopt if it says nothing, or something endless.
std::optional<std::string> read_line(int fd) {
  std::string line;
  constexpr std::size_t longest = 1000;
  while (line.size() < longest) {
    char c = 0;
    if (!wait_readable(fd) || ::recv(fd, &c, 1, 0) != 1) return std::nullopt;
    if (c == '\n') return line;
    line.push_back(c);
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> ask_agent(const std::string& socket, std::string_view command) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket.empty() || socket.size() >= sizeof address.sun_path) return std::nullopt;
  std::copy(socket.begin(), socket.end(), address.sun_path);
  const base::UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return std::nullopt;
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return std::nullopt;
  const auto greeting = read_line(fd.get());
  if (!greeting || !greeting->starts_with("OK")) return std::nullopt;
  const std::string line = std::string(command) + "\n";
  if (::send(fd.get(), line.data(), line.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(line.size()))
    return std::nullopt;
  return read_line(fd.get());
}

Home::Home(const EngineOptions& options)
    : options_(options), limiter_(find_limiter(options.limiter)) {
  if (options_.home.empty()) throw PgpError("the PGP home is not set: give pgp.home a directory");
  options_.home = fs::absolute(options_.home).lexically_normal();
  if (!options_.home.has_filename()) options_.home = options_.home.parent_path();
  const unsigned count = std::clamp(options_.agents, 1U, 16U);
  for (unsigned i = 0; i < count; ++i) {
    auto agent = std::make_unique<Agent>();
    agent->directory = i == 0 ? options_.home : options_.home / fmt::format("a{}", i);
    agents_.push_back(std::move(agent));
  }
}

Home::~Home() {
  stop();
}

namespace {

/// sallyport-gpg goes on without where landlock cannot be had; here somebody is told.
void warn_if_unfenced() {
  constexpr std::uint32_t ask_version = LANDLOCK_CREATE_RULESET_VERSION;
  if (::syscall(SYS_landlock_create_ruleset, nullptr, 0, ask_version) > 0) return;
  base::log_warning(
      "pgp.unfenced", {},
      "gpg runs without the fence that keeps a hostile message from the files of this user: {}",
      errno == EPERM ? "landlock is forbidden here; allow its system calls (SystemCallFilter= of "
                       "sallyportd.service does)"
                     : "this kernel has no landlock");
}

}  // namespace

void Home::start() {
  if (::access(limiter_.c_str(), X_OK) != 0) {
    throw PgpError(fmt::format(
        "the program that limits gpg is missing: {} ({}); install Sallyport whole, or set its path",
        limiter_.string(), std::strerror(errno)));
  }
  make_directories();
  probe();
  warn_if_unfenced();
  ready_ = true;
}

void Home::make_directories() {
  const std::string home = options_.home.string();
  try {
    base::make_directories(options_.home, 0700);
    struct stat status {};
    if (::stat(home.c_str(), &status) != 0) throw base::SystemError(errno, "look at " + home);
    if (!S_ISDIR(status.st_mode)) throw PgpError("it is not a directory");
    if (status.st_uid != ::geteuid())
      throw PgpError(
          fmt::format("it belongs to user {}, not to user {}", status.st_uid, ::geteuid()));
    if ((status.st_mode & 077) != 0 && ::chmod(home.c_str(), 0700) != 0)
      throw base::SystemError(errno, "close it to others");
    make_agent_directory(options_.home);
    make_keyring();
    for (std::size_t i = 1; i < agents_.size(); ++i) {
      base::make_directories(agents_[i]->directory, 0700);
      make_agent_directory(agents_[i]->directory);
      const fs::path link = agents_[i]->directory / secret_keys;
      if (!fs::is_symlink(link)) fs::create_symlink(fs::path("..") / secret_keys, link);
    }
  } catch (const std::exception& error) {
    throw PgpError(fmt::format(
        "the PGP home {} cannot be used: {}; it must be a directory that this user owns and can "
        "write to",
        home, error.what()));
  }
}

void Home::make_agent_directory(const fs::path& directory) {
  base::write_file_durably(directory / "gpg-agent.conf", agent_conf);
  if (directory != options_.home) return;
  // The keyring lies apart, so that gpg can be let at it and at nothing else.
  base::make_directories(keyring_directory(), 0700);
  const fs::path keyring = keyring_directory() / keyring_name;
  if (!fs::exists(keyring) && fs::exists(directory / keyring_name))
    fs::rename(directory / keyring_name, keyring);
  base::write_file_durably(
      directory / "gpg.conf",
      fmt::format("{}keyring {}\ntrustdb-name {}\n", gpg_conf, keyring.string(),
                  (keyring_directory() / trust_name).string()));
  base::make_directories(directory / secret_keys, 0700);
}

/// gpg makes an empty keyring on its first use, but cannot where it works on messages.
void Home::make_keyring() {
  const fs::path keyring = keyring_directory() / keyring_name;
  const fs::path trust = keyring_directory() / trust_name;
  if (fs::exists(keyring) && fs::exists(trust)) return;
  base::ProcessRequest request;
  request.argv = {limiter_, "--homedir", options_.home, "--trust-model", "pgp", "--check-trustdb"};
  request.environment = environment(options_.home);
  request.captures = {{2, 4000}};
  request.deadline = std::chrono::seconds(30);
  const base::ProcessResult result = base::run_process(request);
  if (!fs::exists(keyring) || !fs::exists(trust))
    throw PgpError("gpg made no keyring: " + printable_log(result.captured[0]));
}

void Home::probe() {
  for (const auto& agent : agents_) {
    if (agent->socket.empty()) {
      base::ProcessRequest request;
      request.argv = {SALLYPORT_GPGCONF, "--homedir", agent->directory, "--list-dirs",
                      "agent-socket"};
      request.environment = environment(agent->directory);
      request.captures = {{1, 4000}};
      request.deadline = std::chrono::seconds(30);
      agent->socket = first_line(base::run_process(request).captured[0]);
    }
    start_agent(*agent);
  }
}

bool Home::is_alive(const Agent& agent) const {
  const auto answer = ask_agent(agent.socket, "GETINFO pid");
  return answer && (answer->starts_with("D ") || answer->starts_with("OK"));
}

void Home::start_agent(Agent& agent) {
  const auto one_at_a_time = agent.starting.lock();
  if (is_alive(agent)) return;
  const std::size_t longest_socket = sizeof(sockaddr_un::sun_path) - std::strlen(".browser") - 1;
  if (agent.socket.size() > longest_socket) {
    throw PgpError(fmt::format(
        "the path of the PGP home is too long for the socket of its agent ({} bytes, at most {}): "
        "{}; move it to a shorter path",
        agent.socket.size(), longest_socket, agent.socket));
  }
  base::ProcessRequest request;
  request.argv = {SALLYPORT_GPG_AGENT, "--homedir", agent.directory, "--daemon"};
  request.starts_daemon = true;
  request.environment = environment(agent.directory);
  request.captures = {{2, 4000}};
  request.deadline = std::chrono::seconds(30);
  const base::ProcessResult result = base::run_process(request);
  if (is_alive(agent)) return;
  throw PgpError(fmt::format(
      "the agent of the PGP home {} does not start: {}; check that the directory is writable and "
      "its disk not full",
      agent.directory.string(), printable_log(result.captured[0])));
}

void Home::stop() noexcept {
  for (const auto& agent : agents_) {
    try {
      if (!agent->socket.empty()) (void)ask_agent(agent->socket, "KILLAGENT");
    } catch (const std::exception& error) {
      base::log_warning("pgp.agent_left", {}, "cannot stop the agent of {}: {}",
                        agent->directory.string(), error.what());
    }
  }
}

bool Home::is_protected(const std::string& keygrip) const {
  // "S KEYINFO <keygrip> <type> <serial> <id> <cached> <protection> ...": P with passphrase, C
  // clear.
  const auto answer = ask_agent(agents_.front()->socket, "KEYINFO " + keygrip);
  if (!answer || !answer->starts_with("S KEYINFO ")) return false;
  std::size_t at = 0;
  for (int word = 0; word < 7 && at != std::string::npos; ++word) at = answer->find(' ', at + 1);
  return at != std::string::npos && answer->substr(at + 1, 1) == "P";
}

Home::Agent& Home::pick() {
  const auto least = std::min_element(
      agents_.begin(), agents_.end(),
      [](const auto& a, const auto& b) { return a->jobs.load() < b->jobs.load(); });
  return **least;
}

Home::Result Home::run(const GpgJob& job) {
  if (!ready_) {
    // gpg would look at a home without keys and call every message one for somebody else.
    Result result;
    result.agent_away = true;
    result.run.log = "the PGP home is not in order yet";
    return result;
  }
  Agent& agent = pick();
  struct Busy {
    explicit Busy(std::atomic<int>& jobs) : count(jobs) { ++count; }
    ~Busy() { --count; }
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;
    std::atomic<int>& count;
  };
  const Busy busy(agent.jobs);
  Result result = run_once(job, agent);
  const auto looks_unanswered = [](const Result& one) {
    const GpgStatus& status = one.run.status;
    const bool wanted_key = !status.encrypted_to.empty() && status.decrypted_by.empty();
    return one.run.process.exit_code != 0 && one.run.process.signal == 0 &&
           (wanted_key || status.invalid_signer || !status.errors.empty());
  };
  if (!looks_unanswered(result) || is_alive(agent)) return result;
  base::log_warning("pgp.agent_restarted", {}, "the agent of {} was away and is started again",
                    agent.directory.string());
  try {
    start_agent(agent);
  } catch (const base::Error& error) {
    result.agent_away = true;
    result.run.log = error.what();
    return result;
  }
  result = run_once(job, agent);
  result.agent_away = looks_unanswered(result) && !is_alive(agent);
  return result;
}

Home::Result Home::run_once(const GpgJob& job, const Agent& agent) const {
  for (const int fd : {job.input, job.data, job.output}) {
    if (fd >= 0 && ::lseek(fd, 0, SEEK_SET) < 0)
      throw base::SystemError(errno, "go to the start of a file for gpg");
  }
  if (job.output >= 0 && ::ftruncate(job.output, 0) != 0)
    throw base::SystemError(errno, "empty the output of gpg");

  // An honest message is worked on at 20 MB/s at the very least; a hostile one that only burns time
  // gets no more than what its size would need.
  constexpr std::uint64_t slowest_bytes_per_second = 20'000'000;
  constexpr std::uint64_t least_cpu_seconds = 20;
  const std::uint64_t bytes =
      job.input_bytes + std::min(job.output_limit_bytes, std::uint64_t{1} << 40);
  const std::uint64_t cpu = std::min(static_cast<std::uint64_t>(options_.cpu_limit.count()),
                                     least_cpu_seconds + bytes / slowest_bytes_per_second);
  // One byte more than allowed, so that a full file is told from one that is too large.
  const std::uint64_t output = job.output_limit_bytes == std::numeric_limits<std::uint64_t>::max()
                                   ? job.output_limit_bytes
                                   : job.output_limit_bytes + 1;
  base::ProcessRequest request;
  request.argv = {
      limiter_,
      fmt::format("--sallyport=cpu:{},memory:{},output:{},parent:{},keyring:{}", cpu,
                  options_.memory_limit_bytes, output, ::getpid(), keyring_directory().string()),
      "--no-options",
      "--homedir",
      agent.directory,
      "--no-default-keyring",
      "--keyring",
      keyring_directory() / keyring_name,
      "--batch",
      "--no-tty",
      "--quiet",
      "--status-fd",
      "3",
      "--trust-model",
      "always",
      "--weak-digest",
      "SHA1",
      "--no-auto-key-retrieve",
      "--no-auto-key-locate",
      "--disable-dirmngr",
      "--no-auto-check-trustdb",
      "--no-autostart",
      "--no-random-seed-file",
      "--lock-never",
      "--enable-special-filenames"};
  if (job.now) {
    request.argv.push_back("--faked-system-time");
    request.argv.push_back(std::to_string(base::to_unix(*job.now)));
  }
  // Not to stdout: gpg exits with 0 though what it still held for stdout did not fit on the disk.
  if (job.output >= 0) {
    request.argv.insert(request.argv.end(), {"--output", "-&5"});
    request.descriptors.push_back({5, job.output});
  }
  request.argv.insert(request.argv.end(), job.arguments.begin(), job.arguments.end());
  request.environment = environment(agent.directory);
  if (job.input >= 0) request.descriptors.push_back({0, job.input});
  if (job.data >= 0) request.descriptors.push_back({4, job.data});
  request.input = job.text;
  constexpr std::size_t most_status = 1 << 20;
  constexpr std::size_t most_log = 16384;
  request.captures = {{3, most_status, true}, {2, most_log}};
  if (job.text_limit > 0) request.captures.push_back({1, job.text_limit});
  request.deadline = job.deadline;

  Result result;
  result.run.process = base::run_process(request);
  base::ProcessResult& process = result.run.process;
  result.run.status = parse_status(process.captured[0]);
  result.run.status_overflow = process.capture_overflow[0];
  result.run.log = std::move(process.captured[1]);
  constexpr int exit_not_started = 127;
  if (process.exit_code == exit_not_started)
    throw PgpError("gpg could not be started: " + printable_log(result.run.log));
  if (job.text_limit > 0) {
    result.text = std::move(process.captured[2]);
    result.run.output_bytes = result.text.size() + (process.capture_overflow[2] ? 1 : 0);
  } else if (job.output >= 0) {
    struct stat status {};
    if (::fstat(job.output, &status) != 0) throw base::SystemError(errno, "look at gpg's output");
    result.run.output_bytes = static_cast<std::uint64_t>(status.st_size);
  }
  return result;
}

}  // namespace sallyport::pgp

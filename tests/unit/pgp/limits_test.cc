// What must end, and what must not be lost when something around gpg breaks.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/landlock.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "base/file_io.h"
#include "pgp/home.h"
#include "world.h"

namespace sallyport::pgp::test {
namespace {

using ::testing::HasSubstr;
using namespace std::chrono_literals;

/// Programs that run gpg on a home below `directory`.
int count_gpg_processes(const fs::path& directory) {
  int count = 0;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    try {
      const std::string line = base::read_file(entry.path() / "cmdline");
      if (line.find(directory.string()) != std::string::npos &&
          line.find("--status-fd") != std::string::npos)
        ++count;
    } catch (const base::SystemError&) {  // it has ended meanwhile
    }
  }
  return count;
}

class Limits : public ::testing::Test {
 protected:
  /// 512 MiB of zeros in a kilobyte: what bzip2 makes of them, encrypted. Made once.
  const std::string& bomb() {
    static const std::string message = [this] {
      const fs::path path = w.new_path();
      run({"/bin/sh", "-c",
           "head -c 512M /dev/zero | gpg --homedir " + (w.directory.path() / "pa").string() +
               " --batch --quiet --trust-model always --compress-algo bzip2 -z 9 --encrypt -r " +
               w.our_key + " -o " + path.string()});
      std::string made = base::read_file(path);
      fs::remove(path);
      return made;
    }();
    return message;
  }
  World& w = world();
};

TEST_F(Limits, BombStopsAtTheLimitAndLeavesNothing) {
  const std::string& message = bomb();
  ASSERT_LT(message.size(), 100'000u);
  const auto started = std::chrono::steady_clock::now();
  const World::Opened opened = w.open(message, w.lax());  // 64 MiB
  EXPECT_LT(std::chrono::steady_clock::now() - started, 10s);
  EXPECT_EQ(code(opened.verdict.reason), "output-over-limit") << opened.verdict.detail;
  EXPECT_FALSE(opened.is_published);
  EXPECT_LE(opened.verdict.output_bytes, w.lax().output_limit_bytes + 1);
  EXPECT_EQ(count_gpg_processes(w.directory.path()), 0);
}

TEST_F(Limits, ExactlyTheLimitIsAllowed) {
  const std::string message = w.partner.gpg({"--encrypt", "-r", w.our_key}, w.text);
  Acceptance acceptance;
  acceptance.output_limit_bytes = w.text.size();
  EXPECT_TRUE(w.open(message, acceptance).verdict.accepted());
  acceptance.output_limit_bytes = w.text.size() - 1;
  EXPECT_EQ(w.open(message, acceptance).verdict.reason, Reason::output_over_limit);
}

TEST_F(Limits, DeadlineEndsIt) {
  Acceptance acceptance;
  acceptance.output_limit_bytes = 4ULL << 30;
  acceptance.deadline = 0s;
  const std::string message = w.partner.gpg({"--encrypt", "-r", w.our_key}, w.text);
  EXPECT_EQ(w.open(message, acceptance).verdict.reason, Reason::resource_limit);
  EXPECT_EQ(count_gpg_processes(w.directory.path()), 0);
}

TEST_F(Limits, CpuLimitEndsIt) {
  EngineOptions options;
  options.home = w.directory.path() / "gw";
  options.agents = 1;
  options.cpu_limit = 0s;  // the kernel's smallest: a second
  Home home(options);
  home.start();
  const std::string& message = bomb();
  const fs::path input = w.new_path();
  base::write_file_durably(input, message);
  const base::UniqueFd from = base::open_file(input, O_RDONLY);
  const base::UniqueFd to = base::open_file("/dev/null", O_WRONLY);
  GpgJob job;
  job.arguments = {"--decrypt"};
  job.input = from.get();
  job.output_limit_bytes = 1ULL << 40;
  const auto result = home.run(job);
  EXPECT_TRUE(result.run.process.signal == SIGXCPU || result.run.process.signal == SIGKILL)
      << result.run.process.signal << result.run.log;
  fs::remove(input);
}

// What a message that took gpg over would want next: other machines, other processes of the user.
TEST_F(Limits, GpgHasAFilterOfSystemCalls) {
  EngineOptions options;
  options.home = w.directory.path() / "gw";
  const Home home(options);
  int ends[2] = {-1, -1};
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const base::UniqueFd input(ends[0]);
  base::UniqueFd held(ends[1]);  // gpg waits for its end
  const std::string limiter = home.limiter();
  const std::string directory = options.home;
  std::vector<const char*> arguments = {limiter.c_str(), "--homedir",      directory.c_str(),
                                        "--batch",       "--list-packets", nullptr};
  posix_spawn_file_actions_t actions;
  ASSERT_EQ(::posix_spawn_file_actions_init(&actions), 0);
  ASSERT_EQ(::posix_spawn_file_actions_adddup2(&actions, input.get(), 0), 0);
  pid_t process = -1;
  ASSERT_EQ(::posix_spawn(&process, limiter.c_str(), &actions, nullptr,
                          const_cast<char* const*>(arguments.data()), environ),
            0);
  ::posix_spawn_file_actions_destroy(&actions);
  const fs::path facts = fs::path("/proc") / std::to_string(process);
  const auto until = std::chrono::steady_clock::now() + 20s;
  std::string status;
  while (std::chrono::steady_clock::now() < until) {
    status = base::read_file(facts / "status");
    if (status.starts_with("Name:\tgpg\n")) break;
    ::sched_yield();
  }
  EXPECT_THAT(status, HasSubstr("\nSeccomp:\t2\n"));
  held.reset();
  ASSERT_EQ(::waitpid(process, nullptr, 0), process);
}

TEST_F(Limits, GpgSeesNeitherSecretKeysNorOtherFiles) {
  // Containers of systemd-nspawn refuse landlock whatever the kernel has.
  if (::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION) < 1) {
    GTEST_SKIP() << "this container refuses landlock";
  }
  EngineOptions options;
  options.home = w.directory.path() / "gw";
  const Home home(options);
  const fs::path keyring = home.keyring_directory();
  for (const fs::path& path :
       {options.home / "private-keys-v1.d", w.directory.path() / "pa" / "pubring.kbx",
        fs::path("/etc/../tmp"), fs::path("/proc/self/status")}) {
    // gpg lists packets of any file that it can open.
    base::ProcessRequest request;
    request.argv = {home.limiter(),
                    "--sallyport=cpu:10,memory:1000000000,output:1000,parent:" +
                        std::to_string(::getpid()) + ",keyring:" + keyring.string(),
                    "--homedir",
                    options.home,
                    "--batch",
                    "--list-packets",
                    path};
    request.environment = {"LC_ALL=C"};
    request.captures = {{1, 1000}, {2, 1000}};
    const base::ProcessResult result = base::run_process(request);
    EXPECT_THAT(result.captured[1], HasSubstr("Permission denied")) << path;
  }
}

TEST_F(Limits, LimiterRefusesAnOptionThatItCannotRead) {
  EngineOptions options;
  options.home = w.directory.path() / "gw";
  base::ProcessRequest request;
  request.argv = {Home(options).limiter(), "--sallyport=cpu:10", "--version"};
  EXPECT_EQ(base::run_process(request).exit_code, 127);
}

TEST_F(Limits, FullDiskIsRetriedAndLeavesNothing) {
  if (::geteuid() != 0) GTEST_SKIP() << "mounting a small disk needs root";
  const fs::path disk = w.new_path();
  fs::create_directory(disk);
  if (::mount("none", disk.c_str(), "tmpfs", 0, "size=64k") != 0)
    GTEST_SKIP() << "mounting is not allowed here";
  const auto open_on_disk = [&](const std::string& content) {
    const fs::path input = w.new_path();
    base::write_file_durably(
        input, w.partner.gpg({"--encrypt", "--sign", "-u", w.rsa_key, "-r", w.our_key}, content));
    return w.gateway.decrypt_and_verify(input, disk / "out", w.strict());
  };
  // More than fits, and a little that does not fit either: gpg treats them differently.
  const Verdict large = open_on_disk(std::string(1'000'000, 'x'));
  EXPECT_EQ(code(large.reason), "disk-full") << large.detail;
  EXPECT_TRUE(large.retryable());
  EXPECT_FALSE(fs::exists(disk / "out"));
  base::write_file_durably(disk / "fill", std::string(60'000, 'x'));
  const Verdict small = open_on_disk(std::string(7'000, 'x'));
  EXPECT_EQ(code(small.reason), "disk-full") << small.detail;
  EXPECT_FALSE(fs::exists(disk / "out"));
  fs::remove(disk / "fill");
  EXPECT_TRUE(open_on_disk(std::string(7'000, 'x')).accepted());
  ::umount(disk.c_str());
}

TEST_F(Limits, AgentThatDiedIsStartedAgain) {
  const std::string message = w.partner.gpg({"--encrypt", "-r", w.our_key}, w.text);
  for (int round = 0; round < 2; ++round) {
    for (const char* agent : {"gw", "gw/a1"})
      run({"/usr/bin/gpgconf", "--homedir", w.directory.path() / agent, "--kill", "gpg-agent"});
    EXPECT_TRUE(w.open(message, w.lax()).verdict.accepted());
  }
  w.gateway.probe();
}

// An empty home knows no key: every message would look like one for somebody else.
TEST_F(Limits, BeforeTheHomeIsInOrderMessagesWait) {
  const fs::path message = w.new_path();
  base::write_file_durably(message, w.partner.gpg({"--encrypt", "-r", w.our_key}, w.text));
  base::write_file_durably(w.directory.path() / "no-home", "x");
  EngineOptions options;
  options.home = w.directory.path() / "no-home";
  Engine engine(options);
  EXPECT_THROW(engine.start(), PgpError);
  const Verdict verdict = engine.decrypt_and_verify(message, w.new_path(), w.lax());
  EXPECT_EQ(verdict.reason, Reason::agent_away);
  std::string text;
  EXPECT_EQ(engine.clear_sign("x", w.our_key, text).reason, Reason::agent_away);
}

TEST_F(Limits, ManyThreadsAtOnce) {
  const std::string good =
      w.partner.gpg({"--encrypt", "--sign", "-u", w.curve_key, "-r", w.our_key}, w.text);
  const std::string bad = w.partner.gpg({"--encrypt", "-r", w.rsa_key}, w.text);
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 5; ++j) {
        const World::Opened opened = w.open(good, w.strict());
        EXPECT_TRUE(opened.verdict.accepted()) << opened.verdict.detail;
        EXPECT_EQ(opened.content, w.text);
        EXPECT_EQ(w.open(bad, w.strict()).verdict.reason, Reason::not_for_us);
        EXPECT_TRUE(w.gateway.find_key(w.rsa_key).has_value());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

std::string start_error(const fs::path& home, const fs::path& limiter = {}) {
  EngineOptions options;
  options.home = home;
  options.limiter = limiter;
  Engine engine(options);
  try {
    engine.start();
  } catch (const PgpError& error) {
    return error.what();
  }
  return "started";
}

TEST(Homes, WhatIsWrongIsSaidOnce) {
  const TemporaryDirectory directory;
  if (!fs::exists("/run/user/" + std::to_string(::geteuid()))) {
    const fs::path deep = directory.path() / std::string(90, 'd');
    EXPECT_THAT(start_error(deep), HasSubstr("too long"));
  }
  base::write_file_durably(directory.path() / "file", "x");
  EXPECT_THAT(start_error(directory.path() / "file"), HasSubstr("cannot be used"));
  EXPECT_THAT(start_error(directory.path() / "file" / "gw"), HasSubstr("cannot be used"));
  EXPECT_THAT(start_error("/proc/gw"), HasSubstr("cannot be used"));
  EXPECT_THAT(start_error(directory.path() / "gw", "/nonexistent"), HasSubstr("missing"));
  EXPECT_THROW(Engine(EngineOptions{}), PgpError);
}

TEST(Homes, StoppedAndStartedAgainKeepsItsKeys) {
  const TemporaryDirectory directory;
  EngineOptions options;
  options.home = directory.path() / "gw";
  options.agents = 3;
  std::string key;
  {
    Engine engine(options);
    engine.start();
    key = engine.generate_own_key({OwnKeyType::curve25519, "Gateway", "g@example.com", {}})
              .fingerprint;
  }
  // Nobody is left behind.
  EXPECT_FALSE(ask_agent((options.home / "S.gpg-agent").string(), "NOP").has_value());
  Engine engine(options);
  engine.start();
  ASSERT_EQ(engine.list_own_keys().size(), 1u);
  EXPECT_EQ(engine.list_own_keys()[0].fingerprint, key);
  struct stat status {};
  ASSERT_EQ(::stat(options.home.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
}

}  // namespace
}  // namespace sallyport::pgp::test

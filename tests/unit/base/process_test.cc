#include "base/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "base/c_handle.h"
#include "base/error.h"
#include "base/file_io.h"

namespace sallyport::base {
namespace {

using namespace std::chrono_literals;

ProcessRequest shell(const std::string& script) {
  ProcessRequest request;
  request.argv = {"/bin/sh", "-c", script};
  request.environment = {"PATH=/usr/bin:/bin"};
  request.captures = {{1, 1000}, {2, 1000}};
  return request;
}

/// True once the process is gone or only waits to be reaped by whoever adopted it.
bool is_gone(pid_t pid) {
  const auto give_up = std::chrono::steady_clock::now() + 5s;
  while (std::chrono::steady_clock::now() < give_up) {
    if (::kill(pid, 0) != 0 && errno == ESRCH) return true;
    std::string stat;
    try {
      stat = read_file("/proc/" + std::to_string(pid) + "/stat");
    } catch (const SystemError&) {
      return true;
    }
    if (stat.find(") Z ") != std::string::npos) return true;
    std::this_thread::yield();
  }
  return false;
}

TEST(Process, ReportsExitCodeAndBothOutputs) {
  const ProcessResult result = run_process(shell("echo out; echo err >&2; exit 3"));
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_EQ(result.signal, 0);
  EXPECT_FALSE(result.timed_out);
  EXPECT_EQ(result.captured, (std::vector<std::string>{"out\n", "err\n"}));
}

TEST(Process, ReportsTheSignalThatEndedIt) {
  const ProcessResult result = run_process(shell("kill -TERM $$"));
  EXPECT_EQ(result.exit_code, std::nullopt);
  EXPECT_EQ(result.signal, SIGTERM);
}

TEST(Process, KeepsNoMoreThanTheLimitOfAFlood) {
  const ProcessResult result = run_process(shell("head -c 3000000 /dev/zero"));
  EXPECT_TRUE(result.succeeded());
  EXPECT_EQ(result.captured[0].size(), 1000u);
  EXPECT_TRUE(result.capture_overflow[0]);
  EXPECT_FALSE(result.capture_overflow[1]);
}

TEST(Process, AFloodEndsItWhereThatIsAskedFor) {
  ProcessRequest request = shell("exec cat /dev/zero");
  request.captures[0].kills = true;
  const ProcessResult result = run_process(request);
  EXPECT_EQ(result.signal, SIGKILL);
  EXPECT_TRUE(result.capture_overflow[0]);
  EXPECT_EQ(result.captured[0].size(), 1000U);
}

TEST(Process, ReadsAllThatWasInThePipeAtTheEnd) {
  ProcessRequest request = shell("head -c 60000 /dev/zero");
  request.captures[0].limit = 100000;
  EXPECT_EQ(run_process(request).captured[0].size(), 60000u);
}

TEST(Process, FeedsInputLargerThanAPipe) {
  const std::string text(1'000'000, 'x');
  ProcessRequest request = shell("wc -c");
  request.input = text;
  EXPECT_EQ(run_process(request).captured[0], "1000000\n");
}

TEST(Process, SurvivesAChildThatDoesNotReadItsInput) {
  const std::string text(1'000'000, 'x');
  ProcessRequest request = shell("exec <&-; exit 4");
  request.input = text;
  EXPECT_EQ(run_process(request).exit_code, 4);
}

TEST(Process, DeadlineKillsTheWholeGroup) {
  ProcessRequest request = shell("sleep 300 & echo $!; wait");
  request.deadline = 300ms;
  const auto started = std::chrono::steady_clock::now();
  const ProcessResult result = run_process(request);
  EXPECT_LT(std::chrono::steady_clock::now() - started, 60s);
  EXPECT_TRUE(result.timed_out);
  EXPECT_EQ(result.signal, SIGKILL);
  EXPECT_TRUE(is_gone(std::stoi(result.captured[0])));
}

TEST(Process, CancelAsksItToEndAndKillsWhatDoesNot) {
  // Cancelled once the program says on descriptor 5 that its trap is set.
  const auto run_cancelled = [](const std::string& script) {
    const UniqueFd cancel(::eventfd(0, EFD_CLOEXEC));
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    const UniqueFd ready(ends[0]);
    const UniqueFd childs(ends[1]);
    ProcessRequest request = shell(script);
    request.descriptors = {{5, childs.get()}};
    request.cancel = cancel.get();
    std::thread canceller([&] {
      char byte = 0;
      EXPECT_EQ(::read(ready.get(), &byte, 1), 1);
      const std::uint64_t one = 1;
      EXPECT_EQ(::write(cancel.get(), &one, sizeof one), 8);
    });
    const ProcessResult result = run_process(request);
    canceller.join();
    EXPECT_TRUE(result.cancelled);
    EXPECT_FALSE(result.timed_out);
    return result;
  };
  ProcessResult result =
      run_cancelled("trap 'echo tidy; exit 4' TERM; echo up >&5; sleep 1000 & wait");
  EXPECT_EQ(result.exit_code, 4);
  EXPECT_EQ(result.captured[0], "tidy\n");
  result = run_cancelled("trap '' TERM; echo up >&5; while :; do :; done");
  EXPECT_EQ(result.signal, SIGKILL);
}

TEST(Process, FloodDoesNotDelayTheDeadline) {
  ProcessRequest request = shell("while :; do echo flood; done");
  request.deadline = 300ms;
  EXPECT_TRUE(run_process(request).timed_out);
}

TEST(Process, WhatTheProgramLeftBehindIsKilledAndNotWaitedFor) {
  const ProcessResult result = run_process(shell("sleep 300 & echo $!"));
  EXPECT_TRUE(result.succeeded());
  EXPECT_TRUE(is_gone(std::stoi(result.captured[0])));
}

TEST(Process, ADaemonMayStayIfItWasAskedFor) {
  ProcessRequest request = shell("sleep 300 & echo $!");
  request.starts_daemon = true;
  const pid_t daemon = std::stoi(run_process(request).captured[0]);
  EXPECT_EQ(::kill(daemon, SIGKILL), 0);
  EXPECT_TRUE(is_gone(daemon));
}

TEST(Process, ChildHasOnlyTheNamedDescriptorsAndEnvironment) {
  const UniqueFd kept = open_file("/proc/self/status", O_RDONLY);
  const UniqueFd leaky(::open("/proc/self/status", O_RDONLY));  // without close-on-exec
  ::setenv("SALLYPORT_TEST_LEAK", "1", 1);
  ProcessRequest request = shell("ls /proc/self/fd | tr '\\n' ' '; env | grep -c LEAK");
  request.descriptors = {{5, kept.get()}};
  // ls itself opens the directory as 3.
  EXPECT_EQ(run_process(request).captured[0], "0 1 2 3 5 0\n");
  EXPECT_TRUE(leaky);
}

TEST(Process, DescriptorsCanSwapTheirNumbers) {
  const std::string path = ::testing::TempDir() + "process_swap." + std::to_string(::getpid());
  write_file_durably(path, "file");
  const UniqueFd file = open_file(path, O_RDONLY);
  const UniqueFd null = open_file("/dev/null", O_RDONLY);
  ProcessRequest request =
      shell("cat <&" + std::to_string(null.get()) + "; cat <&" + std::to_string(file.get()) + ";");
  request.descriptors = {{null.get(), file.get()}, {file.get(), null.get()}};
  EXPECT_EQ(run_process(request).captured[0], "file");
  std::filesystem::remove(path);
}

TEST(Process, StartsWithDefaultSignals) {
  struct sigaction before {};
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGTERM, &ignore, &before);
  const ProcessResult result = run_process(shell("kill -TERM $$; sleep 300"));
  ::sigaction(SIGTERM, &before, nullptr);
  EXPECT_EQ(result.signal, SIGTERM);
}

TEST(Process, AMissingProgramIsAnErrorThatNamesIt) {
  ProcessRequest request;
  request.argv = {"/nonexistent/program"};
  try {
    (void)run_process(request);
    FAIL() << "was spawned";
  } catch (const SystemError& error) {
    EXPECT_EQ(error.code(), ENOENT);
    EXPECT_NE(std::string(error.what()).find("/nonexistent/program"), std::string::npos);
  }
}

TEST(Process, ManyThreadsAtOnce) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([i] {
      for (int j = 0; j < 10; ++j) {
        const std::string word = std::to_string(i * 100 + j);
        EXPECT_EQ(run_process(shell("echo " + word)).captured[0], word + "\n");
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace sallyport::base

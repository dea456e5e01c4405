// A process in the sandbox that tries what an attacker would, and reports how it went by its exit
// status; what is deadly ends it by SIGSYS.
#include "sftp/sandbox.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>

#include "base/bytes.h"
#include "base/error.h"
#include "sftp/hash_thread.h"
#include "sftp/tree.h"
#include "tests/unit/sftp/landlock.h"

namespace sallyport::sftp {
namespace {

namespace fs = std::filesystem;

class SandboxTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "sftp_sandbox.XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
    for (const char* partner : {"acme", "other"}) {
      fs::create_directories(root_ / "partners" / partner / "tree" / "Shared");
      std::ofstream(root_ / "partners" / partner / "tree" / "Shared" / "file") << partner;
    }
    std::ofstream(root_ / "outside") << "x";
  }
  void TearDown() override { fs::remove_all(root_); }

  enum class Layer { before_login, after_login };

  /// Runs `attempt` in a sandboxed child; it returns 0 or an errno. The result is that, or
  /// 1000 + the signal that ended the child.
  int in_sandbox(Layer layer, const std::function<int(int partner)>& attempt) {
    const SandboxPlan plan((root_ / "partners").string(), !has_landlock());
    const int partner =
        ::open((root_ / "partners" / "acme").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    const pid_t child = ::fork();
    if (child == 0) {
      try {
        plan.enter_before_login();
        if (layer == Layer::after_login) plan.enter_after_login(partner);
      } catch (const std::exception&) {
        ::_exit(255);
      }
      ::_exit(attempt(partner));
    }
    ::close(partner);
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
  }
  /// The same in the hash thread of such a child.
  int in_sandbox_with_thread(const std::function<int(int partner)>& attempt) {
    const SandboxPlan plan((root_ / "partners").string(), !has_landlock());
    const base::UniqueFd partner(
        ::open((root_ / "partners" / "acme").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    const pid_t child = ::fork();
    if (child == 0) {
      int result = 255;
      const HashThread thread([&plan, &attempt, &partner, &result] {
        plan.enter_hash_thread();
        result = attempt(partner.get());
      });
      ::_exit(result);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
  }
  void expect_both(int result, const std::function<int(int)>& attempt) {
    EXPECT_EQ(in_sandbox(Layer::before_login, attempt), result) << "before login";
    EXPECT_EQ(in_sandbox(Layer::after_login, attempt), result) << "after login";
  }

  fs::path root_;
};

constexpr int killed = 1000 + SIGSYS;

int error_of(long result) {
  return result < 0 ? errno : 0;
}

TEST_F(SandboxTest, NoOtherPathCanBeOpened) {
  if (!has_landlock()) GTEST_SKIP() << "this container refuses landlock";
  expect_both(EPERM, [](int) { return error_of(::open("/etc/passwd", O_RDONLY)); });
  const std::string outside = (root_ / "outside").string();
  // Even without RESOLVE_BENEATH, as an attacker would call it, landlock says no.
  expect_both(EACCES, [&outside](int) {
    struct {
      std::uint64_t flags = O_RDONLY, mode = 0, resolve = 0;
    } how;
    return error_of(::syscall(SYS_openat2, AT_FDCWD, outside.c_str(), &how, sizeof(how)));
  });
}

TEST_F(SandboxTest, AfterLoginOtherPartnersAreOutOfReach) {
  if (!has_landlock()) GTEST_SKIP() << "this container refuses landlock";
  const auto read_other = [](int partner) {
    struct {
      std::uint64_t flags = O_RDONLY, mode = 0, resolve = 0;
    } how;
    return error_of(
        ::syscall(SYS_openat2, partner, "../other/tree/Shared/file", &how, sizeof(how)));
  };
  EXPECT_EQ(in_sandbox(Layer::after_login, read_other), EACCES);
  EXPECT_EQ(in_sandbox(Layer::after_login,
                       [](int partner) {
                         return error_of(open_beneath(partner, "tree/Shared/file", O_RDWR).get());
                       }),
            0)
      << "its own files work";
}

TEST_F(SandboxTest, RenamesAcrossFoldersWork) {
  EXPECT_EQ(
      in_sandbox(Layer::after_login,
                 [](int partner) {
                   const auto tree = open_beneath(partner, "tree", O_RDONLY | O_DIRECTORY);
                   if (::mkdirat(tree.get(), "new", 0700) != 0) return errno;
                   return error_of(::renameat(tree.get(), "Shared/file", tree.get(), "new/file"));
                 }),
      0);
}

TEST_F(SandboxTest, ProgramsProcessesAndDebuggersAreDeadly) {
  expect_both(killed, [](int) {
    char program[] = "/bin/true";
    char* arguments[] = {program, nullptr};
    return error_of(::execve(program, arguments, nullptr));
  });
  expect_both(killed, [](int) { return error_of(::syscall(SYS_fork)); });
  expect_both(killed,
              [](int) { return error_of(::ptrace(PTRACE_ATTACH, ::getppid(), nullptr, nullptr)); });
  expect_both(killed, [](int partner) { return error_of(::symlinkat("/etc", partner, "link")); });
  expect_both(EPERM, [](int) { return error_of(::syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)); });
}

TEST_F(SandboxTest, NoNewSocketsNoSignalsNoExecutableMemory) {
  expect_both(EPERM, [](int) { return error_of(::socket(AF_INET, SOCK_STREAM, 0)); });
  expect_both(EPERM, [](int) { return error_of(::socket(AF_UNIX, SOCK_STREAM, 0)); });
  expect_both(EPERM, [](int) { return error_of(::kill(::getppid(), 0)); });
  expect_both(EPERM, [](int) {
    void* memory = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? errno : 0;
  });
  expect_both(EPERM, [](int) { return error_of(::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)); });
}

TEST_F(SandboxTest, ModesAndTimesAreOfOpenFilesOnly) {
  // Landlock has no say in either, and what another partner has belongs to the same user.
  const auto inside = [](int partner) {
    return base::UniqueFd(::openat(partner, "tree/Shared", O_PATH | O_DIRECTORY));
  };
  expect_both(EPERM, [&](int) {
    return error_of(
        ::fchmodat(AT_FDCWD, (root_ / "partners/other/tree/Shared/file").c_str(), 0, 0));
  });
  expect_both(EPERM, [&](int partner) {
    return error_of(::fchmodat(inside(partner).get(), "file", 0, 0));
  });
  expect_both(EPERM, [&](int partner) {
    return error_of(::utimensat(inside(partner).get(), "file", nullptr, 0));
  });
  EXPECT_EQ(in_sandbox(Layer::after_login,
                       [](int partner) {
                         const base::UniqueFd file =
                             open_beneath(partner, "tree/Shared/file", O_RDWR);
                         if (!file) return errno;
                         const int error = error_of(::fchmod(file.get(), 0600));
                         return error != 0 ? error : error_of(::futimens(file.get(), nullptr));
                       }),
            0);
}

TEST_F(SandboxTest, LayersCannotBeAddedAfterLogin) {
  EXPECT_EQ(in_sandbox(Layer::after_login,
                       [](int) { return error_of(::syscall(SYS_seccomp, 0, 0, nullptr)); }),
            EPERM);
  EXPECT_EQ(in_sandbox(Layer::after_login,
                       [](int) {
                         return error_of(::syscall(SYS_landlock_create_ruleset, nullptr, 0, 1));
                       }),
            EPERM);
}

TEST_F(SandboxTest, MemoryIsLimitedAndCannotBeDumped) {
  const SandboxPlan plan((root_ / "partners").string(), !has_landlock());
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    plan.enter_before_login();
    [[maybe_unused]] const auto said = ::write(ends[1], "i", 1);
    timespec long_time{60, 0};
    ::clock_nanosleep(CLOCK_MONOTONIC, 0, &long_time, nullptr);
    ::_exit(0);
  }
  ::close(ends[1]);
  // Wait for the child to be inside.
  char inside = 0;
  EXPECT_EQ(::read(ends[0], &inside, 1), 1);
  ::close(ends[0]);
  rlimit memory{};
  ASSERT_EQ(::prlimit(child, RLIMIT_DATA, nullptr, &memory), 0);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  EXPECT_LE(memory.rlim_max, 256UL * 1024 * 1024);
#endif
  rlimit core{};
  ASSERT_EQ(::prlimit(child, RLIMIT_CORE, nullptr, &core), 0);
  EXPECT_EQ(core.rlim_max, 0U);
  struct stat owner {};
  ASSERT_EQ(::stat(("/proc/" + std::to_string(child) + "/mem").c_str(), &owner), 0);
  EXPECT_EQ(owner.st_uid, 0U) << "what cannot be dumped belongs to root";
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
}

// The fences are of a thread: the second one must not be the way around those of the first.
TEST_F(SandboxTest, TheHashThreadCanReadWhatIsOpenAndNothingElse) {
  const auto in_thread = [this](const std::function<int(int)>& attempt) {
    return in_sandbox_with_thread(attempt);
  };
  EXPECT_EQ(
      in_thread([](int partner) {
        struct {
          std::uint64_t flags = O_RDONLY, mode = 0, resolve = 0;
        } how;
        return error_of(::syscall(SYS_openat2, partner, "tree/Shared/file", &how, sizeof(how)));
      }),
      EPERM);
  EXPECT_EQ(in_thread([](int) { return error_of(::socket(AF_INET, SOCK_STREAM, 0)); }), EPERM);
  EXPECT_EQ(in_thread([](int) { return error_of(::write(1, "x", 1)); }), EPERM);
  EXPECT_EQ(in_thread([](int partner) { return error_of(::unlinkat(partner, "tree", 0)); }), EPERM);
  EXPECT_EQ(in_thread([](int) { return error_of(::syscall(SYS_fork)); }), killed);
  EXPECT_EQ(in_thread([](int) {
              char* const none[] = {nullptr};
              return error_of(::execve("/bin/true", none, none));
            }),
            killed);
}

TEST_F(SandboxTest, TheHashThreadWorksInTheSandbox) {
  const base::UniqueFd file(
      ::open((root_ / "partners/acme/tree/Shared/file").c_str(), O_RDONLY | O_CLOEXEC));
  const SandboxPlan plan((root_ / "partners").string(), !has_landlock());
  const base::UniqueFd partner(::open((root_ / "partners/acme").c_str(), O_PATH | O_CLOEXEC));
  const pid_t child = ::fork();
  if (child == 0) {
    // Started in the child: threads do not survive a fork.
    HashThread thread([&plan] { plan.enter_hash_thread(); });
    plan.enter_before_login();
    plan.enter_after_login(partner.get());
    thread.take(base::Sha256Stream(), file.get(), 0);
    thread.grown(4);
    auto stream = thread.finish(4);
    ::_exit(stream && stream->finish() == base::sha256("acme") ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(SandboxTest, AMissingPartnersRootIsSaidClearly) {
  EXPECT_THROW(SandboxPlan((root_ / "nowhere").string(), false), base::SystemError);
}

}  // namespace
}  // namespace sallyport::sftp

// sallyport-gpg: takes on hard limits, gives up the file system but for gpg's home, and becomes
// gpg.
//
//   sallyport-gpg [--sallyport=cpu:S,memory:B,output:B,parent:PID,keyring:DIRECTORY]
//   GPG-ARGUMENTS...
//
// What cannot be set from outside of a process without a race is set here: resource limits (a
// decompression bomb ends on a signal of the kernel's), a landlock that leaves it its home and what
// programs need to run, and its own end when the thread that wanted it ends. Descriptors that are
// open already (input, output, status) keep working; that is all that it gets of the files it
// handles. Without --sallyport (GPGME calls it so, for work on keys) the limits are small and the
// home may be written.
#include <fcntl.h>
#include <linux/landlock.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace {

struct Limits {
  rlim_t cpu_seconds = 60;
  rlim_t memory_bytes = 1UL << 30;
  rlim_t output_bytes = 256UL << 20;
};

constexpr int exit_not_started = 127;

[[noreturn]] void fail(const char* doing) {
  std::fprintf(stderr, "sallyport-gpg: cannot %s: %s\n", doing, std::strerror(errno));
  std::_Exit(exit_not_started);
}

/// What is different for work on messages.
struct Message {
  Limits limits;
  pid_t parent = 0;
  const char* keyring = nullptr;
};

Message parse_option(const char* text) {
  unsigned long cpu = 0;
  unsigned long memory = 0;
  unsigned long output = 0;
  int parent = 0;
  int end = 0;
  if (std::sscanf(text, "cpu:%lu,memory:%lu,output:%lu,parent:%d,keyring:%n", &cpu, &memory,
                  &output, &parent, &end) != 4 ||
      end == 0) {
    errno = EINVAL;
    fail("read --sallyport");
  }
  return {{cpu, memory, output}, parent, text + end};
}

void set_limit(__rlimit_resource resource, rlim_t soft, rlim_t hard) {
  rlimit current{};
  if (::getrlimit(resource, &current) != 0) fail("read a resource limit");
  if (current.rlim_max < hard) hard = current.rlim_max;
  const rlimit wanted{soft < hard ? soft : hard, hard};
  if (::setrlimit(resource, &wanted) != 0) fail("set a resource limit");
}

void take_on_limits(const Limits& limits) {
  // The soft limit says SIGXCPU, which tells a limit from other deaths; the hard one kills.
  set_limit(RLIMIT_CPU, limits.cpu_seconds, limits.cpu_seconds + 2);
  set_limit(RLIMIT_AS, limits.memory_bytes, limits.memory_bytes);
  set_limit(RLIMIT_FSIZE, limits.output_bytes, limits.output_bytes);
  set_limit(RLIMIT_CORE, 0, 0);
  set_limit(RLIMIT_NOFILE, 64, 64);
}

constexpr std::uint64_t read_rights =
    LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
/// All rights of the first landlock; what later ones add is not needed and stays denied anyway
/// where the kernel handles it.
constexpr std::uint64_t all_rights = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;

void allow(int ruleset, const char* path, std::uint64_t rights) {
  const int fd = ::open(path, O_PATH | O_CLOEXEC);
  if (fd < 0) return;  // what is not there needs no right
  landlock_path_beneath_attr rule{};
  rule.parent_fd = fd;
  rule.allowed_access = rights;
  if (::syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0)
    fail("add a landlock rule");
  ::close(fd);
}

void give_up_files(const char* directory, std::uint64_t rights) {
  landlock_ruleset_attr attributes{};
  attributes.handled_access_fs = all_rights;
  const auto ruleset =
      static_cast<int>(::syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0));
  if (ruleset < 0) return;  // a kernel without landlock; the daemon's sandbox remains
  constexpr std::uint64_t read_file = LANDLOCK_ACCESS_FS_READ_FILE;
  for (const char* path : {"/usr", "/lib", "/lib64", "/etc"}) allow(ruleset, path, read_rights);
  for (const char* path : {"/dev/urandom", "/dev/random", "/proc/sys/crypto/fips_enabled"})
    allow(ruleset, path, read_file);
  allow(ruleset, "/dev/null", read_file | LANDLOCK_ACCESS_FS_WRITE_FILE);
  if (directory != nullptr) allow(ruleset, directory, rights);
  if (::syscall(SYS_landlock_restrict_self, ruleset, 0) != 0) fail("enforce landlock");
  ::close(ruleset);
}

const char* find_home(int argc, char** argv) {
  for (int i = 1; i + 1 < argc; ++i) {
    if (std::strcmp(argv[i], "--homedir") == 0) return argv[i + 1];
  }
  return std::getenv("GNUPGHOME");
}

}  // namespace

int main(int argc, char** argv) {
  constexpr std::string_view option = "--sallyport=";
  const bool is_message = argc > 1 && std::string_view(argv[1]).starts_with(option);
  Message message;
  if (is_message) {
    message = parse_option(argv[1] + option.size());
    ++argv;
    --argc;
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) fail("ask to end with the daemon");
    if (::getppid() != message.parent) std::_Exit(exit_not_started);  // it has ended already
  }
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) fail("give up new privileges");
  if (is_message) {
    give_up_files(message.keyring, read_rights);
  } else {
    give_up_files(find_home(argc, argv), all_rights);
  }
  take_on_limits(message.limits);

  char name[] = SALLYPORT_GPG;
  argv[0] = name;
  ::execv(SALLYPORT_GPG, argv);
  fail("start " SALLYPORT_GPG);
}

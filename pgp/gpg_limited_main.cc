// sallyport-gpg: takes on hard limits, gives up the file system but for gpg's home, and becomes
// gpg.
//
//   sallyport-gpg [--sallyport=cpu:S,memory:B,output:B,parent:PID,keyring:DIRECTORY]
//   GPG-ARGUMENTS...
//
// What cannot be set from outside of a process without a race is set here: resource limits (a
// decompression bomb ends on a signal of the kernel's), a landlock that leaves it its home and what
// programs need to run, a filter of system calls that leaves it no network and no other process of
// its user's, and its own end when the thread that wanted it ends. Descriptors that are open
// already (input, output, status) keep working; that is all that it gets of the files it handles.
// Without --sallyport (GPGME calls it so, for work on keys) the limits are small and the
// home may be written.
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
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

#if defined(__x86_64__)
constexpr std::uint32_t architecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t architecture = AUDIT_ARCH_AARCH64;
#else
#error "which system calls are which is not known for this processor"
#endif

constexpr sock_filter load(std::size_t offset) {
  return {BPF_LD | BPF_W | BPF_ABS, 0, 0, static_cast<std::uint32_t>(offset)};
}
constexpr sock_filter skip_unless(std::uint32_t value, std::uint8_t instructions) {
  return {BPF_JMP | BPF_JEQ | BPF_K, 0, instructions, value};
}
constexpr sock_filter skip_if(std::uint32_t value, std::uint8_t instructions) {
  return {BPF_JMP | BPF_JEQ | BPF_K, instructions, 0, value};
}
constexpr sock_filter end_with(std::uint32_t action) {
  return {BPF_RET | BPF_K, 0, 0, action};
}
constexpr std::uint32_t refuse = SECCOMP_RET_ERRNO | EPERM;
constexpr std::size_t call_number = offsetof(seccomp_data, nr);
// Little-endian on both processors: the low half comes first, and what is compared is an int.
constexpr std::size_t first_argument = offsetof(seccomp_data, args);
constexpr std::size_t second_argument = first_argument + sizeof(std::uint64_t);

/// A message may take gpg over. It then is a program of the daemon's user: no talking to other
/// machines, no signals, limits or debugging of the user's other processes.
void give_up_calls() {
  const auto self = static_cast<std::uint32_t>(::getpid());  // execve() keeps it
  std::array<sock_filter, 96> program{};
  std::size_t length = 0;
  const auto add = [&](const sock_filter& instruction) { program[length++] = instruction; };
  const auto refuse_call = [&](long number) {
    add(skip_unless(static_cast<std::uint32_t>(number), 1));
    add(end_with(refuse));
  };
  /// Only with this value in its first argument.
  const auto only_with = [&](long number, std::uint32_t value) {
    add(skip_unless(static_cast<std::uint32_t>(number), 4));
    add(load(first_argument));
    add(skip_if(value, 1));
    add(end_with(refuse));
    add(end_with(SECCOMP_RET_ALLOW));
  };
  add(load(offsetof(seccomp_data, arch)));
  add(skip_if(architecture, 1));
  add(end_with(SECCOMP_RET_KILL_PROCESS));
  add(load(call_number));
#if defined(__x86_64__)
  constexpr std::uint32_t x32 = 0x40000000;
  add({BPF_JMP | BPF_JGE | BPF_K, 0, 1, x32});
  add(end_with(refuse));
#endif
  only_with(SYS_socket, AF_UNIX);  // its agent's
  only_with(SYS_socketpair, AF_UNIX);
  only_with(SYS_tgkill, self);
  only_with(SYS_prlimit64, 0);
  // Whether the process behind a lock file still lives is asked with signal 0.
  add(skip_unless(SYS_kill, 6));
  add(load(first_argument));
  add(skip_if(self, 3));
  add(load(second_argument));
  add(skip_if(0, 1));
  add(end_with(refuse));
  add(end_with(SECCOMP_RET_ALLOW));
  for (const long number : {SYS_tkill,
                            SYS_rt_sigqueueinfo,
                            SYS_rt_tgsigqueueinfo,
                            SYS_pidfd_open,
                            SYS_pidfd_getfd,
                            SYS_pidfd_send_signal,
                            SYS_ptrace,
                            SYS_process_vm_readv,
                            SYS_process_vm_writev,
                            SYS_kcmp,
                            SYS_io_uring_setup,
                            SYS_bpf,
                            SYS_perf_event_open,
                            SYS_userfaultfd,
                            SYS_keyctl,
                            SYS_add_key,
                            SYS_request_key,
                            SYS_mount,
                            SYS_unshare,
                            SYS_setns}) {
    refuse_call(number);
  }
  add(end_with(SECCOMP_RET_ALLOW));
  const sock_fprog filter{static_cast<unsigned short>(length), program.data()};
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) != 0) {
    if (errno == ENOSYS || errno == EINVAL) return;  // a kernel without; the rest remains
    fail("install the filter of system calls");
  }
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
  give_up_calls();

  char name[] = SALLYPORT_GPG;
  argv[0] = name;
  ::execv(SALLYPORT_GPG, argv);
  fail("start " SALLYPORT_GPG);
}

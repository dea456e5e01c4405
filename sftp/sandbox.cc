#include "sftp/sandbox.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <span>

#include "base/error.h"
#include "sftp/sanitizer_report.h"

namespace sallyport::sftp {
namespace {

// Rights newer than the headers of Debian 12, by the landlock version that brought them.
constexpr std::uint64_t access_truncate = 1ULL << 14;   // version 3
constexpr std::uint64_t access_ioctl_dev = 1ULL << 15;  // version 5

// A session needs at most: handles, channels' folders, its sockets.
constexpr rlim_t most_descriptors = 1024;
// Own buffers are a few MiB; libssh buffers whatever a peer sends beyond its window.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr rlim_t most_memory = RLIM_INFINITY;  // shadow memory is data too
#else
constexpr rlim_t most_memory = 256UL * 1024 * 1024;
#endif

[[noreturn]] void fail(int error, const char* doing) {
  throw base::SystemError(error, doing);
}

void limit(int resource, rlim_t value) {
  rlimit current{};
  if (::getrlimit(static_cast<__rlimit_resource>(resource), &current) != 0)
    fail(errno, "read a resource limit");
  const rlim_t lower = std::min(value, current.rlim_max);
  const rlimit wanted{lower, lower};
  if (::setrlimit(static_cast<__rlimit_resource>(resource), &wanted) != 0)
    fail(errno, "set a resource limit");
}

struct FilterDeleter {
  void operator()(void* context) const { seccomp_release(context); }
};
using Filter = std::unique_ptr<void, FilterDeleter>;

// Attempts at these are an attack for certain: nothing in a session calls them by mistake.
constexpr std::array deadly{SCMP_SYS(execve),
                            SCMP_SYS(execveat),
                            SCMP_SYS(ptrace),
                            SCMP_SYS(fork),
                            SCMP_SYS(vfork),
                            SCMP_SYS(bpf),
                            SCMP_SYS(mount),
                            SCMP_SYS(kexec_load),
                            SCMP_SYS(init_module),
                            SCMP_SYS(setuid),
                            SCMP_SYS(process_vm_readv),
                            SCMP_SYS(process_vm_writev),
                            SCMP_SYS(unshare),
                            SCMP_SYS(setns),
                            SCMP_SYS(io_uring_setup),
                            SCMP_SYS(userfaultfd),
                            SCMP_SYS(perf_event_open),
                            SCMP_SYS(symlinkat),
                            SCMP_SYS(linkat),
                            SCMP_SYS(mknodat),
                            SCMP_SYS(chroot),
                            SCMP_SYS(pivot_root)};

// Before and after login.
constexpr std::array always{
    // sockets that are open already, and waiting
    SCMP_SYS(recvfrom), SCMP_SYS(sendto), SCMP_SYS(recvmsg), SCMP_SYS(sendmsg), SCMP_SYS(poll),
    SCMP_SYS(ppoll), SCMP_SYS(shutdown), SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(close),
    SCMP_SYS(clock_nanosleep), SCMP_SYS(sched_yield),
    // memory, time, signals, the end
    SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(futex),
    SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(getrandom), SCMP_SYS(clock_gettime),
    SCMP_SYS(gettimeofday), SCMP_SYS(time), SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(restart_syscall), SCMP_SYS(setitimer), SCMP_SYS(exit_group), SCMP_SYS(exit),
    // the partner's files, below the descriptor
    SCMP_SYS(openat2), SCMP_SYS(pread64), SCMP_SYS(pwrite64), SCMP_SYS(newfstatat), SCMP_SYS(fstat),
    SCMP_SYS(fstatfs), SCMP_SYS(getdents64), SCMP_SYS(mkdirat), SCMP_SYS(unlinkat),
    SCMP_SYS(renameat), SCMP_SYS(renameat2), SCMP_SYS(fchmod), SCMP_SYS(ftruncate), SCMP_SYS(fsync),
    SCMP_SYS(lseek)};

constexpr std::array before_login_only{SCMP_SYS(landlock_create_ruleset),
                                       SCMP_SYS(landlock_add_rule),
                                       SCMP_SYS(landlock_restrict_self), SCMP_SYS(seccomp)};

constexpr std::array hashing{SCMP_SYS(pread64), SCMP_SYS(futex),          SCMP_SYS(madvise),
                             SCMP_SYS(munmap),  SCMP_SYS(rt_sigprocmask), SCMP_SYS(restart_syscall),
                             SCMP_SYS(exit),    SCMP_SYS(exit_group)};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
// What the sanitizers' own runtime calls at thread starts, waits and ends, and to see whether
// memory can be read before it looks at an object's type there; not in what is shipped.
constexpr std::array of_the_runtime{SCMP_SYS(sigaltstack), SCMP_SYS(sched_yield),
                                    SCMP_SYS(nanosleep),   SCMP_SYS(clock_gettime),
                                    SCMP_SYS(pipe),        SCMP_SYS(pipe2)};
#else
constexpr std::array<int, 0> of_the_runtime{};
#endif

constexpr const char* doing = "prepare the system call filter";

void check(int result) {
  if (result < 0) fail(-result, doing);
}

Filter new_filter() {
  // What is not known is refused, not deadly: a newer libc may try a call and do without.
  Filter filter(seccomp_init(SCMP_ACT_ERRNO(EPERM)));
  if (!filter) fail(ENOMEM, doing);
  for (const int call : deadly)
    check(seccomp_rule_add(filter.get(), SCMP_ACT_KILL_PROCESS, call, 0));
  for (const int call : of_the_runtime)
    check(seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, call, 0));
  return filter;
}

void allow(const Filter& filter, std::span<const int> calls) {
  for (const int call : calls) check(seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, call, 0));
}

std::vector<sock_filter> program_of(const Filter& filter) {
  const base::UniqueFd file(::memfd_create("filter", MFD_CLOEXEC));
  if (!file) fail(errno, doing);
  check(seccomp_export_bpf(filter.get(), file.get()));
  const off_t size = ::lseek(file.get(), 0, SEEK_END);
  std::vector<sock_filter> program(static_cast<std::size_t>(size) / sizeof(sock_filter));
  if (::pread(file.get(), program.data(), static_cast<std::size_t>(size), 0) != size)
    fail(EIO, doing);
  return program;
}

std::vector<sock_filter> compile_hash_thread() {
  const Filter filter = new_filter();
  allow(filter, hashing);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  allow(filter, std::array{SCMP_SYS(mmap)});  // the runtime's memory of each thread
#endif
  return program_of(filter);
}

std::vector<sock_filter> compile(bool before_login) {
  const Filter filter = new_filter();
  allow(filter, always);
  if (before_login) allow(filter, before_login_only);
  // New memory, but never executable. (The library's macros are C, which clang warns of.)
  const scmp_arg_cmp no_exec{2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0};
  for (const int call : {SCMP_SYS(mmap), SCMP_SYS(mprotect)}) {
    check(seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, call, 1, no_exec));
  }
  // Of what is open: landlock has no say in modes and times.
  const scmp_arg_cmp no_path{1, SCMP_CMP_EQ, 0, 0};
  check(seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, SCMP_SYS(utimensat), 1, no_path));
  const scmp_arg_cmp tcp{1, SCMP_CMP_EQ, IPPROTO_TCP, 0};
  const scmp_arg_cmp acknowledge{2, SCMP_CMP_EQ, TCP_QUICKACK, 0};
  check(seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, SCMP_SYS(setsockopt), 2, tcp, acknowledge));
  return program_of(filter);
}

}  // namespace

SandboxPlan::SandboxPlan(const std::string& partners_root, bool allow_weak)
    : partners_root_(::open(partners_root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)) {
  if (!partners_root_) throw base::SystemError(errno, "open the partners' root " + partners_root);
  const long version =
      ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  landlock_version_ = version > 0 ? static_cast<int>(version) : 0;
  // Version 1 cannot allow a rename from one folder into another.
  if (landlock_version_ < 2) missing_ = "landlock (version 2, Linux 5.19)";
  if (::prctl(PR_GET_SECCOMP, 0, 0, 0, 0) < 0) {
    filters_ = false;
    missing_ += missing_.empty() ? "seccomp" : " and seccomp";
  }
  if (!missing_.empty() && !allow_weak) {
    throw base::Error("This kernel has no " + missing_ +
                      ", which sessions are fenced in with. Boot a kernel that has it (Debian's "
                      "has), or start with "
                      "--allow-weak-sandbox to go without.");
  }
  if (filters_) {
    before_login_ = compile(true);
    after_login_ = compile(false);
    hash_thread_ = compile_hash_thread();
  }
}

void SandboxPlan::restrict_files(int below) const {
  if (landlock_version_ < 2) return;
  landlock_ruleset_attr attributes{};
  attributes.handled_access_fs =
      LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE |
      LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
      LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
      LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |
      LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REFER;
  std::uint64_t granted = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE |
                          LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_REMOVE_DIR |
                          LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR |
                          LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REFER;
  if (landlock_version_ >= 3) {
    attributes.handled_access_fs |= access_truncate;
    granted |= access_truncate;
  }
  if (landlock_version_ >= 5) attributes.handled_access_fs |= access_ioctl_dev;
  const base::UniqueFd ruleset(
      static_cast<int>(::syscall(SYS_landlock_create_ruleset, &attributes, sizeof(attributes), 0)));
  if (!ruleset) fail(errno, "create a landlock rule set");
  landlock_path_beneath_attr rule{};
  rule.allowed_access = granted;
  rule.parent_fd = below;
  if (below >= 0 &&
      ::syscall(SYS_landlock_add_rule, ruleset.get(), LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0) {
    fail(errno, "add a landlock rule");
  }
  if (::syscall(SYS_landlock_restrict_self, ruleset.get(), 0) != 0)
    fail(errno, "enter the landlock rule set");
}

void SandboxPlan::install(const std::vector<sock_filter>& filter) {
  // The kernel only reads it.
  sock_fprog program{static_cast<unsigned short>(filter.size()),
                     const_cast<sock_filter*>(filter.data())};
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) {
    fail(errno, "install the system call filter");
  }
}

void SandboxPlan::enter_before_login() const {
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_DATA, most_memory);
  limit(RLIMIT_NOFILE, most_descriptors);
  limit(RLIMIT_MEMLOCK, 0);
  limit(RLIMIT_MSGQUEUE, 0);
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) fail(errno, "forbid memory dumps");
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) fail(errno, "give up new privileges");
  open_sanitizer_report();
  restrict_files(partners_root_.get());
  if (filters_) install(before_login_);
}

void SandboxPlan::enter_hash_thread() const {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) fail(errno, "give up new privileges");
  restrict_files(-1);
  if (filters_) install(hash_thread_);
}

void SandboxPlan::enter_after_login(int partner_directory) const {
  restrict_files(partner_directory);
  if (filters_) install(after_login_);
}

}  // namespace sallyport::sftp

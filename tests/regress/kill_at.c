// Preloaded into the programs by a test: kills the process right before or right after the nth call of a function by which it
// touches a disk or another program. What to do is in shared memory, so that it is armed at any time: the file that
// $SALLYPORT_KILL_AT names, a struct order.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

struct order {
  char program[16];
  char call[16];
  _Atomic int countdown;  // 1: the next one; 0: none
  int after;
};
static struct order* order;

__attribute__((constructor)) static void start(void) {
  const char* path = getenv("SALLYPORT_KILL_AT");
  const int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
  if (fd < 0) return;
  void* memory = mmap(NULL, sizeof(struct order), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (memory != MAP_FAILED) order = memory;
}

static void die(void) {
  kill(getpid(), SIGKILL);
  __builtin_trap();  // a sandbox that does not allow it
}

// True if the process is to die after the call.
static int reached(const char* call) {
  if (!order || atomic_load(&order->countdown) <= 0 || strcmp(order->call, call) != 0 ||
      strcmp(order->program, program_invocation_short_name) != 0)
    return 0;
  if (atomic_fetch_sub(&order->countdown, 1) != 1) return 0;
  if (!order->after) die();
  return 1;
}

#define REAL(name) \
  static __typeof__(name)* real; \
  if (!real) real = (__typeof__(name)*)dlsym(RTLD_NEXT, #name)

#define WRAP(type, name, parameters, arguments) WRAP_AS(type, name, #name, parameters, arguments)
#define WRAP_AS(type, name, call, parameters, arguments) \
  type name parameters { \
    REAL(name); \
    const int last = reached(call); \
    const type result = real arguments; \
    const int error = errno; \
    if (last) die(); \
    errno = error; \
    return result; \
  }

WRAP(int, fsync, (int fd), (fd))
WRAP(int, fdatasync, (int fd), (fd))
WRAP(ssize_t, write, (int a, const void* b, size_t c), (a, b, c))
WRAP(int, renameat2, (int a, const char* b, int c, const char* d, unsigned e), (a, b, c, d, e))
WRAP(int, linkat, (int a, const char* b, int c, const char* d, int e), (a, b, c, d, e))
WRAP(int, unlinkat, (int a, const char* b, int c), (a, b, c))
WRAP(int, fchmod, (int a, mode_t b), (a, b))
WRAP(int, mkdirat, (int a, const char* b, mode_t c), (a, b, c))
WRAP(ssize_t, pwrite64, (int a, const void* b, size_t c, off64_t d), (a, b, c, d))
// Two names of one.
WRAP_AS(ssize_t, pwrite, "pwrite64", (int a, const void* b, size_t c, off_t d), (a, b, c, d))
WRAP(ssize_t, sendmsg, (int a, const struct msghdr* b, int c), (a, b, c))
WRAP(ssize_t, sendto, (int a, const void* b, size_t c, int d, const struct sockaddr* e, socklen_t f), (a, b, c, d, e, f))
WRAP(int, posix_spawn, (pid_t* a, const char* b, const posix_spawn_file_actions_t* c, const posix_spawnattr_t* d, char* const* e, char* const* f),
     (a, b, c, d, e, f))

// openat2 has no function of its own.
long syscall(long number, ...) {
  REAL(syscall);
  va_list list;
  va_start(list, number);
  long a[6];
  for (int i = 0; i < 6; ++i) a[i] = va_arg(list, long);
  va_end(list);
  const int last = number == SYS_openat2 ? reached("openat2") : 0;
  const long result = real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
  const int error = errno;
  if (last) die();
  errno = error;
  return result;
}

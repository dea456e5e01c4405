// Containers of systemd-nspawn refuse landlock whatever the kernel has. There the other fences are
// tested without it, and what only landlock does is skipped; on machines nothing is.
#pragma once

#include <linux/landlock.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace sallyport::sftp {

inline bool has_landlock() {
  return ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION) >= 2;
}

}  // namespace sallyport::sftp

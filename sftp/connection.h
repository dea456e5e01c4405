// One peer's connection, from its first byte to its last, in a process of its own.
//
// run_connection() is called in the child right after fork and never returns to the parent's code:
// its result is the child's exit status. It enters the sandbox before it reads anything from the
// peer. Has one thread beside its own (hash_thread.h); fails by its exit status and by what it
// tells the daemon.
#pragma once

#include <cstdint>
#include <string>

#include "base/c_handle.h"
#include "sftp/broker.h"
#include "sftp/sandbox.h"

struct ssh_bind_struct;

namespace sallyport::sftp {

struct ConnectionSetup {
  base::UniqueFd peer;
  std::string address;  ///< without port; IPv4-mapped ones as IPv4
  std::uint16_t port = 0;
  /// One byte is written when the peer has logged in; its end is the end of the child.
  base::UniqueFd parent;
  std::string broker_path;
  FrontConfig config;
  ssh_bind_struct* bind = nullptr;  ///< with host keys and algorithms; made by the parent
  const SandboxPlan* sandbox = nullptr;
};

[[nodiscard]] int run_connection(ConnectionSetup setup) noexcept;

/// The ssh_bind with our algorithms (spec/gateway.md 3), to be made once in the parent. Owned by
/// the caller; freed with ssh_bind_free. Throws base::Error.
[[nodiscard]] ssh_bind_struct* make_bind(const class HostKeys& keys);

}  // namespace sallyport::sftp

// The parent process: accepts connections, refuses what is too much or banned, and forks one
// session process for each of the others. It never reads a byte of a peer's.
//
// Single-threaded, so that fork() is safe. run() returns when the program was told to stop and its
// sessions are gone. Throws base::Error when it cannot start.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace sallyport::sftp {

struct FrontOptions {
  std::vector<std::string> listen{"0.0.0.0:2222", "[::]:2222"};
  std::string broker = "/run/sallyport/broker.sock";
  std::filesystem::path host_keys = "/var/lib/sallyport-sftp/host-keys";
  std::string partners_root = "/srv/sallyport/partners";
  std::filesystem::path port_file;
  bool allow_weak_sandbox = false;
};

void run_front(const FrontOptions& options);

}  // namespace sallyport::sftp

// The server's host keys: an Ed25519 and an RSA-3072 key in a directory that only this user can
// read, made when there is none, listed in the forms people compare, and changed in two steps: a
// second set is staged, so that partners can be told of it, and then activated.
//
//   DIR/ssh_host_ed25519_key, DIR/ssh_host_rsa_key    in use
//   DIR/staged/...                                    the next set
//   DIR/retired-<UTC time>/...                        what was in use before; never deleted by us
//
// The keys stay in this process's memory, and in that of the sessions it forks. Single-threaded.
// Throws HostKeyError with the file's name.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "sftp/broker.h"

struct ssh_bind_struct;

namespace sallyport::sftp {

class HostKeyError : public base::Error {
 public:
  using base::Error::Error;
};

class HostKeys {
 public:
  /// Loads the set in use, making it first if the directory holds none. A set of which one file is
  /// missing, unreadable or open to others is an error, not a reason to make a new one.
  explicit HostKeys(const std::filesystem::path& directory);
  ~HostKeys();
  HostKeys(const HostKeys&) = delete;
  HostKeys& operator=(const HostKeys&) = delete;

  /// Gives copies of the keys to an ssh_bind.
  void give_to(ssh_bind_struct* bind) const;
  /// Of both sets.
  [[nodiscard]] std::vector<HostKeyLine> list() const;

  /// Whether the directory holds a set, be it whole or not.
  [[nodiscard]] static bool exist(const std::filesystem::path& directory);
  /// Goes on with an activate() that was cut off, by a crash say.
  static void end_exchange(const std::filesystem::path& directory);
  /// Makes the second set. Throws if there is one already.
  static void stage(const std::filesystem::path& directory);
  /// Puts the second set into use; takes effect when the program is started again. Throws if there
  /// is none.
  static void activate(const std::filesystem::path& directory);

 private:
  struct Keys;
  std::unique_ptr<Keys> keys_;
};

}  // namespace sallyport::sftp

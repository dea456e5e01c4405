// What a session process may still do: the second fence behind openat2 (the first), should somebody
// find a hole in what parses a stranger's bytes.
//
// The parent prepares once (SandboxPlan): it finds out what the kernel offers and compiles the two
// system call filters. Each child enters two layers: before it reads the peer's first byte, and
// when the partner is known. Neither can be left again.
//
//   before login: limits on memory and files, no new privileges, no core dumps or ptrace by the
//   same
//                 user, landlock with the partners' root alone (whose mode closes it to this user),
//                 seccomp
//   after login:  landlock with the one partner's directory, and a filter without the calls that
//   set
//                 the layers up
//   hash thread:  landlock with nothing, and a filter that lets it read what is open and wait. Both
//                 kinds of fence are of a thread; this one is no way around the first thread's.
//
// Single-threaded. Throws base::SystemError; a child that cannot enter a layer must exit.
#pragma once

#include <linux/filter.h>

#include <string>
#include <vector>

#include "base/c_handle.h"

namespace sallyport::sftp {

class SandboxPlan {
 public:
  /// `partners_root` is the folder above all partners' directories. Where the kernel lacks landlock
  /// or seccomp this throws base::Error, unless `allow_weak`: then the layer is left out, and
  /// missing() tells what.
  SandboxPlan(const std::string& partners_root, bool allow_weak);

  /// What an `allow_weak` plan goes without; empty if nothing.
  [[nodiscard]] const std::string& missing() const { return missing_; }
  /// Open in the parent, to be kept open by the child until enter_before_login().
  [[nodiscard]] int partners_root() const { return partners_root_.get(); }
  /// The child has it under another number now, and the old one is closed.
  void moved_root(int descriptor) {
    (void)partners_root_.release();
    partners_root_.reset(descriptor);
  }

  void enter_before_login() const;
  void enter_after_login(int partner_directory) const;
  /// By the hash thread itself, before login.
  void enter_hash_thread() const;

 private:
  /// `below` -1: nothing at all.
  void restrict_files(int below) const;
  static void install(const std::vector<sock_filter>& filter);

  base::UniqueFd partners_root_;
  int landlock_version_ = 0;
  bool filters_ = true;
  std::vector<sock_filter> before_login_;
  std::vector<sock_filter> after_login_;
  std::vector<sock_filter> hash_thread_;
  std::string missing_;
};

}  // namespace sallyport::sftp

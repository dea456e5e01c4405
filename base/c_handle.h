// Owners for what C libraries hand out: CHandle for pointers with a free function, UniqueFd for
// file descriptors. Move-only; the owner frees at the end of its scope.
#pragma once

#include <unistd.h>

#include <memory>
#include <utility>

namespace sallyport::base {

template <auto Free>
struct CDeleter {
  template <class T>
  void operator()(T* handle) const noexcept {
    Free(handle);
  }
};

/// using SshSession = CHandle<ssh_session_struct, ssh_free>;
template <class T, auto Free>
using CHandle = std::unique_ptr<T, CDeleter<Free>>;

/// Owns one file descriptor; -1 owns nothing. close() errors are ignored: what must be on disk is
/// fsynced before (see base/file_io.h).
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) noexcept : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }
  void reset(int fd = -1) noexcept {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
  }
  explicit operator bool() const noexcept { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

}  // namespace sallyport::base

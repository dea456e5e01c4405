// The second thread of a session process: makes SHA-256 of a large upload while the first thread
// takes the next bytes off the network, which is a third of the time of an upload otherwise.
//
// It reads the file behind the writer, up to where the writer says that everything is in place, so
// that no byte is handed over in memory. One upload at a time has it; the others hash in line.
//
// Made before the sandbox, since no thread can be made in it. `enter` is called in the thread
// before anything else, and has to fence it in: its filter is narrower than that of the first
// thread. Everything but that is called by the first thread alone. The constructor throws
// base::SystemError.
#pragma once

#include <pthread.h>

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>

#include "base/bytes.h"
#include "base/page_buffer.h"

namespace sallyport::sftp {

class HashThread {
 public:
  explicit HashThread(std::function<void()> enter);
  ~HashThread();
  HashThread(const HashThread&) = delete;
  HashThread& operator=(const HashThread&) = delete;

  /// Below this a wake-up costs more than the hash.
  static constexpr std::uint64_t least_bytes = 1024 * 1024;

  [[nodiscard]] bool free() const { return !taken_; }
  /// Goes on with `stream`, which knows the first `position` bytes of `fd`. Only if free().
  void take(base::Sha256Stream stream, int fd, std::uint64_t position);
  /// The file is in place up to `size`.
  void grown(std::uint64_t size);
  /// Waits until `size` bytes are hashed and gives the stream back; nullopt with errno set if the
  /// file cannot be read. The thread is free again, and has let go of the descriptor.
  [[nodiscard]] std::optional<base::Sha256Stream> finish(std::uint64_t size);
  /// What was hashed is of no use: waits until the thread has let go.
  void drop();

 private:
  static void* run(void* self);
  void work();
  void hash_some(std::unique_lock<std::mutex>& lock);

  std::function<void()> enter_;
  pthread_t thread_{};
  bool taken_ = false;  // the first thread's alone

  std::mutex mutex_;
  std::condition_variable wake_;  // the thread waits: there is something to do
  std::condition_variable done_;  // the first thread waits: it is done, or idle
  bool stop_ = false;
  bool reading_ = false;
  bool waiting_ = false;  // the first thread waits
  bool started_ = false;
  int start_error_ = 0;
  int error_ = 0;
  int fd_ = -1;
  std::uint64_t position_ = 0;
  std::uint64_t size_ = 0;
  std::optional<base::Sha256Stream> stream_;
  base::PageBuffer buffer_;
};

}  // namespace sallyport::sftp

#include "sftp/hash_thread.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/error.h"

namespace sallyport::sftp {
namespace {

// A quarter of the second level cache, and few system calls.
constexpr std::size_t buffer_size = 128 * 1024;
// It calls nothing deep. Each idle session has one: what is not touched costs nothing.
constexpr std::size_t stack_size = 128 * 1024;

}  // namespace

HashThread::HashThread(std::function<void()> enter) : enter_(std::move(enter)) {
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  ::pthread_attr_setstacksize(&attributes, stack_size);
  // Signals are the first thread's: its handlers know the peer.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const int error = ::pthread_create(&thread_, &attributes, &HashThread::run, this);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::pthread_attr_destroy(&attributes);
  if (error != 0) throw base::SystemError(error, "start the hashing thread");
  std::unique_lock lock(mutex_);
  done_.wait(lock, [this] { return started_; });
  if (start_error_ == 0) return;
  lock.unlock();
  ::pthread_join(thread_, nullptr);
  throw base::SystemError(start_error_, "fence the hashing thread in");
}

HashThread::~HashThread() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    wake_.notify_one();
  }
  ::pthread_join(thread_, nullptr);
}

void* HashThread::run(void* self) {
  static_cast<HashThread*>(self)->work();
  return nullptr;
}

void HashThread::work() {
  int error = 0;
  try {
    if (enter_) enter_();
  } catch (const base::SystemError& failure) {
    error = failure.code();
  } catch (const std::exception&) {
    error = EPERM;
  }
  std::unique_lock lock(mutex_);
  started_ = true;
  start_error_ = error;
  done_.notify_one();
  if (error != 0) return;
  while (!stop_) {
    if (error_ == 0 && position_ < size_) {
      hash_some(lock);
    } else {
      wake_.wait(lock);
    }
  }
}

void HashThread::hash_some(std::unique_lock<std::mutex>& lock) {
  reading_ = true;
  const std::uint64_t position = position_;
  const std::size_t wanted = std::min<std::uint64_t>(size_ - position, buffer_size);
  const int fd = fd_;
  lock.unlock();
  const ssize_t count = ::pread(fd, buffer_.data(), wanted, static_cast<off_t>(position));
  int error = count < 0 ? errno : (count == 0 ? EIO : 0);
  try {
    if (count > 0) stream_->update(buffer_.first(static_cast<std::size_t>(count)));
  } catch (const base::Error&) {
    error = EIO;
  }
  lock.lock();
  reading_ = false;
  if (error == 0) {
    position_ += static_cast<std::uint64_t>(count);
  } else if (error != EINTR) {
    error_ = error;
  }
  if (waiting_) done_.notify_one();
}

void HashThread::take(base::Sha256Stream stream, int fd, std::uint64_t position) {
  const std::lock_guard lock(mutex_);
  if (!buffer_) buffer_ = base::PageBuffer(buffer_size);
  stream_.emplace(std::move(stream));
  fd_ = fd;
  position_ = size_ = position;
  error_ = 0;
  taken_ = true;
}

void HashThread::grown(std::uint64_t size) {
  const std::lock_guard lock(mutex_);
  const bool idle = position_ >= size_ && !reading_;
  size_ = size;
  if (idle) wake_.notify_one();
}

std::optional<base::Sha256Stream> HashThread::finish(std::uint64_t size) {
  std::unique_lock lock(mutex_);
  size_ = size;
  wake_.notify_one();
  waiting_ = true;
  done_.wait(lock, [this] { return !reading_ && (error_ != 0 || position_ >= size_); });
  waiting_ = false;
  taken_ = false;
  fd_ = -1;
  position_ = size_ = 0;
  if (error_ != 0) {
    errno = error_;
    return std::nullopt;
  }
  return std::exchange(stream_, std::nullopt);
}

void HashThread::drop() {
  std::unique_lock lock(mutex_);
  size_ = position_;
  waiting_ = true;
  done_.wait(lock, [this] { return !reading_; });
  waiting_ = false;
  taken_ = false;
  fd_ = -1;
  position_ = size_ = 0;
  stream_.reset();
}

}  // namespace sallyport::sftp

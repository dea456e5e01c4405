#include "daemon/partners/password.h"

#include <crypt.h>

#include <cstring>
#include <memory>

#include "base/bytes.h"
#include "base/error.h"
#include "base/log.h"

namespace sallyport::daemon {
namespace {

// One address (or /64) may have so many passwords waiting; a connection has one at a time.
constexpr std::size_t most_waiting = 100;

// crypt_data is 32 KiB: not for the stack of a small thread.
std::string crypt_with(const base::Secret& password, const char* setting) {
  const auto data = std::make_unique<crypt_data>();
  std::memset(data.get(), 0, sizeof(crypt_data));
  const std::string phrase(password.reveal());
  const char* hash = ::crypt_rn(phrase.c_str(), setting, data.get(), sizeof(crypt_data));
  std::string result = hash == nullptr ? "" : hash;
  ::explicit_bzero(data.get(), sizeof(crypt_data));
  ::explicit_bzero(const_cast<char*>(phrase.data()), phrase.size());
  return result;
}

}  // namespace

std::string hash_password(const base::Secret& password) {
  const std::string random = base::random_bytes(16);
  char setting[CRYPT_GENSALT_OUTPUT_SIZE];
  if (::crypt_gensalt_rn("$y$", 0, random.data(), static_cast<int>(random.size()), setting,
                         sizeof(setting)) == nullptr) {
    throw base::Error("The C library cannot hash passwords with yescrypt: install libcrypt1.");
  }
  std::string hash = crypt_with(password, setting);
  if (hash.empty() || hash[0] == '*') throw base::Error("Hashing a password failed.");
  return hash;
}

bool check_password(const base::Secret& password, const std::string& hash) {
  const std::string got = crypt_with(password, hash.c_str());
  return !got.empty() && got[0] != '*' && base::equal_constant_time(got, hash);
}

const std::string& dummy_password_hash() {
  static const std::string hash = hash_password(base::Secret(base::random_id()));
  return hash;
}

PasswordQueue::PasswordQueue(unsigned threads) {
  for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this] { run(); });
}

PasswordQueue::~PasswordQueue() {
  stop();
}

void PasswordQueue::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    waiting_.clear();
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

bool PasswordQueue::submit(const std::string& network, std::function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return false;
    auto& queue = waiting_[network];
    if (queue.size() >= most_waiting) return false;
    queue.push_back(std::move(work));
  }
  changed_.notify_one();
  return true;
}

void PasswordQueue::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
    if (stopping_) return;
    // The next network after the one that was served last, round and round.
    auto turn = waiting_.upper_bound(last_);
    if (turn == waiting_.end()) turn = waiting_.begin();
    last_ = turn->first;
    const std::function<void()> work = std::move(turn->second.front());
    turn->second.pop_front();
    if (turn->second.empty()) waiting_.erase(turn);
    lock.unlock();
    try {
      work();
    } catch (const std::exception& error) {
      base::log_error("password.check", {}, "Checking a password failed: {}", error.what());
    }
    lock.lock();
  }
}

}  // namespace sallyport::daemon

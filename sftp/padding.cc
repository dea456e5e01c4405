#include "sftp/padding.h"

#include <dlfcn.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <array>
#include <cstddef>
#include <cstring>

namespace sallyport::sftp {
namespace {

// Blocks of a cipher have 16 bytes, and padding less than two of them.
constexpr std::size_t largest_request = 32;

using MakeRandom = int (*)(unsigned char*, int);

bool keeps = false;

int make_random(unsigned char* target, int count) {
  static const auto openssl = reinterpret_cast<MakeRandom>(::dlsym(RTLD_NEXT, "RAND_bytes"));
  return openssl(target, count);
}

struct Pool {
  std::array<unsigned char, 4096> bytes{};
  std::size_t left = 0;

  Pool() = default;
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool() {
    OPENSSL_cleanse(bytes.data(), bytes.size());
    left = 0;
  }

  int take(unsigned char* target, std::size_t count) {
    if (left < count) {
      const int made = make_random(bytes.data(), static_cast<int>(bytes.size()));
      if (made != 1) return made;
      left = bytes.size();
    }
    left -= count;
    std::memcpy(target, bytes.data() + left, count);
    OPENSSL_cleanse(bytes.data() + left, count);
    return 1;
  }
};

thread_local Pool pool;

}  // namespace

void keep_padding() noexcept {
  keeps = true;
}

}  // namespace sallyport::sftp

extern "C" int RAND_bytes(unsigned char* target, int count) {
  using namespace sallyport::sftp;
  if (!keeps || count <= 0 || static_cast<std::size_t>(count) > largest_request)
    return make_random(target, count);
  return pool.take(target, static_cast<std::size_t>(count));
}

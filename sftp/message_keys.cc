#include "sftp/message_keys.h"

#include <dlfcn.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <utility>

#include "base/c_handle.h"

namespace sallyport::sftp {
namespace {

using Key = base::CHandle<EVP_PKEY, EVP_PKEY_free>;
using Digest = base::CHandle<EVP_MD_CTX, EVP_MD_CTX_free>;
using MakeKey = EVP_PKEY* (*)(int, ENGINE*, const unsigned char*, int);
using BeginHmac = int (*)(EVP_MD_CTX*, EVP_PKEY_CTX**, const EVP_MD*, ENGINE*, EVP_PKEY*);

// HMAC-SHA-512's, as SSH makes them.
constexpr std::size_t longest_secret = 64;

// OpenSSL's own.
MakeKey make_key = nullptr;
BeginHmac begin_hmac = nullptr;
bool keeps = false;

template <class Function>
void find(Function& function, const char* name) {
  if (function == nullptr) function = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
}

struct Kept {
  std::array<unsigned char, longest_secret> secret{};
  std::size_t size = 0;
  Key key;
  const EVP_MD* digest = nullptr;
  Digest begun;

  Kept() = default;
  Kept(const Kept&) = delete;
  Kept& operator=(const Kept&) = delete;
  ~Kept() { clear(); }
  void clear() {
    OPENSSL_cleanse(secret.data(), secret.size());
    size = 0;
    key.reset();
    begun.reset();
    digest = nullptr;
  }
};

thread_local std::array<Kept, 4> kept;
thread_local std::size_t oldest = 0;

// libssh sends a message as it is, in the clear, when it cannot authenticate it.
[[noreturn]] void give_up() {
  ::_exit(1);
}

EVP_PKEY* key_of(std::span<const unsigned char> secret) {
  auto found = std::find_if(kept.begin(), kept.end(), [secret](const Kept& entry) {
    return entry.key && entry.size == secret.size() &&
           CRYPTO_memcmp(entry.secret.data(), secret.data(), secret.size()) == 0;
  });
  if (found == kept.end()) {
    Key key(make_key(EVP_PKEY_HMAC, nullptr, secret.data(), static_cast<int>(secret.size())));
    if (!key) give_up();
    found = kept.begin() + static_cast<std::ptrdiff_t>(oldest);
    oldest = (oldest + 1) % kept.size();
    found->clear();
    std::copy(secret.begin(), secret.end(), found->secret.begin());
    found->size = secret.size();
    found->key = std::move(key);
  }
  if (EVP_PKEY_up_ref(found->key.get()) != 1) give_up();
  return found->key.get();
}

int hmac_of(EVP_MD_CTX* context, const EVP_MD* digest, EVP_PKEY* key) {
  const auto found = std::find_if(kept.begin(), kept.end(),
                                  [key](const Kept& entry) { return entry.key.get() == key; });
  if (found == kept.end()) return begin_hmac(context, nullptr, digest, nullptr, key);
  if (found->begun && found->digest == digest &&
      EVP_MD_CTX_copy_ex(context, found->begun.get()) == 1)
    return 1;
  if (begin_hmac(context, nullptr, digest, nullptr, key) != 1) give_up();
  found->begun.reset(EVP_MD_CTX_new());
  found->digest = digest;
  // What cannot be kept is made anew.
  if (found->begun && EVP_MD_CTX_copy_ex(found->begun.get(), context) != 1) found->begun.reset();
  return 1;
}

}  // namespace

void keep_message_keys() noexcept {
  keeps = true;
}

}  // namespace sallyport::sftp

extern "C" {

EVP_PKEY* EVP_PKEY_new_mac_key(int type, ENGINE* engine, const unsigned char* secret, int size) {
  using namespace sallyport::sftp;
  find(make_key, "EVP_PKEY_new_mac_key");
  if (!keeps || type != EVP_PKEY_HMAC || engine != nullptr || size <= 0 ||
      static_cast<std::size_t>(size) > longest_secret)
    return make_key(type, engine, secret, size);
  return key_of({secret, static_cast<std::size_t>(size)});
}

int EVP_DigestSignInit(EVP_MD_CTX* context, EVP_PKEY_CTX** key_context, const EVP_MD* digest,
                       ENGINE* engine, EVP_PKEY* key) {
  using namespace sallyport::sftp;
  find(begin_hmac, "EVP_DigestSignInit");
  if (!keeps || key_context != nullptr || engine != nullptr || digest == nullptr || key == nullptr)
    return begin_hmac(context, key_context, digest, engine, key);
  return hmac_of(context, digest, key);
}

}  // extern "C"

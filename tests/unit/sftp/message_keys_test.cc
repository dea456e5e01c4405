#include "sftp/message_keys.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <string>
#include <vector>

#include "base/c_handle.h"

namespace sallyport::sftp {
namespace {

using Key = base::CHandle<EVP_PKEY, EVP_PKEY_free>;
using Digest = base::CHandle<EVP_MD_CTX, EVP_MD_CTX_free>;

std::string bytes_of(const unsigned char* bytes, std::size_t count) {
  return {reinterpret_cast<const char*>(bytes), count};
}

const unsigned char* bytes(const std::string& text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

// As libssh does for each message.
std::string authenticate(const std::string& secret, const EVP_MD* digest, const std::string& text) {
  Digest context(EVP_MD_CTX_new());
  Key key(
      EVP_PKEY_new_mac_key(EVP_PKEY_HMAC, nullptr, bytes(secret), static_cast<int>(secret.size())));
  EXPECT_TRUE(key);
  EXPECT_EQ(EVP_DigestSignInit(context.get(), nullptr, digest, nullptr, key.get()), 1);
  key.reset();
  EXPECT_EQ(EVP_DigestSignUpdate(context.get(), text.data(), text.size()), 1);
  std::array<unsigned char, EVP_MAX_MD_SIZE> result{};
  std::size_t size = result.size();
  EXPECT_EQ(EVP_DigestSignFinal(context.get(), result.data(), &size), 1);
  return bytes_of(result.data(), size);
}

// OpenSSL's own way, which none of ours is part of.
std::string expected(const std::string& secret, const EVP_MD* digest, const std::string& text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> result{};
  unsigned size = 0;
  HMAC(digest, secret.data(), static_cast<int>(secret.size()), bytes(text), text.size(),
       result.data(), &size);
  return bytes_of(result.data(), size);
}

TEST(MessageKeys, AreWhatLibsshAsks) {
  Dl_info program{};
  ASSERT_NE(::dladdr(reinterpret_cast<const void*>(&keep_message_keys), &program), 0);
  for (const char* name : {"EVP_PKEY_new_mac_key", "EVP_DigestSignInit"}) {
    Dl_info info{};
    ASSERT_NE(::dladdr(::dlsym(RTLD_DEFAULT, name), &info), 0) << name;
    EXPECT_EQ(info.dli_fbase, program.dli_fbase) << name << " is that of " << info.dli_fname;
  }
}

TEST(MessageKeys, AuthenticateAsOpensslDoes) {
  keep_message_keys();
  // More keys than are kept, in an order in which each is found, made, and made again.
  for (int round = 0; round < 60; ++round) {
    const std::string secret(32 + static_cast<std::size_t>(round % 2) * 32,
                             static_cast<char>('a' + round % 3 + round / 20 * 3));
    const std::string text = "message " + std::to_string(round);
    for (const EVP_MD* digest : {EVP_sha256(), EVP_sha512(), EVP_sha256()}) {
      ASSERT_EQ(authenticate(secret, digest, text), expected(secret, digest, text)) << round;
    }
  }
}

TEST(MessageKeys, TheSameKeyIsMadeOnce) {
  keep_message_keys();
  const std::string secret(32, 'k');
  const auto key = [&secret](int size) {
    return Key(EVP_PKEY_new_mac_key(EVP_PKEY_HMAC, nullptr, bytes(secret), size));
  };
  const Key first = key(32);
  EXPECT_EQ(first.get(), key(32).get());
  EXPECT_NE(first.get(), key(31).get()) << "a key that another begins with is another";
  const std::string same_length(32, 'l');
  const Key other(EVP_PKEY_new_mac_key(EVP_PKEY_HMAC, nullptr, bytes(same_length), 32));
  EXPECT_NE(first.get(), other.get());
}

TEST(MessageKeys, OneThatIsHeldOutlivesItsPlace) {
  keep_message_keys();
  const std::string secret(32, 'h');
  const Key held(EVP_PKEY_new_mac_key(EVP_PKEY_HMAC, nullptr, bytes(secret), 32));
  for (char c = 'A'; c < 'K'; ++c) authenticate(std::string(32, c), EVP_sha256(), "x");
  Digest context(EVP_MD_CTX_new());
  ASSERT_EQ(EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, held.get()), 1);
  std::array<unsigned char, 32> result{};
  std::size_t size = result.size();
  ASSERT_EQ(EVP_DigestSign(context.get(), result.data(), &size, bytes(secret), 3), 1);
  EXPECT_EQ(bytes_of(result.data(), size), expected(secret, EVP_sha256(), "hhh"));
}

TEST(MessageKeys, BeginningAgainIsNobodysKey) {
  keep_message_keys();
  const auto begun_again = [](const std::string& secret) {
    Digest context(EVP_MD_CTX_new());
    const Key key(EVP_PKEY_new_mac_key(EVP_PKEY_HMAC, nullptr, bytes(secret), 32));
    EXPECT_EQ(EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key.get()), 1);
    EXPECT_EQ(EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, nullptr), 1);
    std::array<unsigned char, 32> result{};
    std::size_t size = result.size();
    EXPECT_EQ(EVP_DigestSign(context.get(), result.data(), &size, bytes("x"), 1), 1);
    return bytes_of(result.data(), size);
  };
  for (char c = 'p'; c < 'x'; ++c) {
    const std::string secret(32, c);
    EXPECT_EQ(begun_again(secret), expected(secret, EVP_sha256(), "x"));
  }
  const std::string longer(100, 'z');
  EXPECT_EQ(authenticate(longer, EVP_sha256(), "x"), expected(longer, EVP_sha256(), "x"));
}

TEST(MessageKeys, SignaturesAreNotTouched) {
  keep_message_keys();
  const Key key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  ASSERT_TRUE(key);
  const std::string text = "an exchange hash";
  std::array<unsigned char, 64> signature{};
  for (int round = 0; round < 2; ++round) {
    Digest context(EVP_MD_CTX_new());
    std::size_t size = signature.size();
    ASSERT_EQ(EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key.get()), 1);
    ASSERT_EQ(EVP_DigestSign(context.get(), signature.data(), &size, bytes(text), text.size()), 1);
    Digest check(EVP_MD_CTX_new());
    ASSERT_EQ(EVP_DigestVerifyInit(check.get(), nullptr, nullptr, nullptr, key.get()), 1);
    EXPECT_EQ(EVP_DigestVerify(check.get(), signature.data(), size, bytes(text), text.size()), 1);
  }
}

}  // namespace
}  // namespace sallyport::sftp

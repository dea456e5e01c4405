#include "sftp/padding.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <set>
#include <thread>

namespace sallyport::sftp {
namespace {

using Bytes = std::array<unsigned char, 16>;

Bytes some() {
  Bytes bytes{};
  EXPECT_EQ(RAND_bytes(bytes.data(), static_cast<int>(bytes.size())), 1);
  return bytes;
}

TEST(Padding, IsAskedForHere) {
  Dl_info program{};
  ASSERT_NE(::dladdr(reinterpret_cast<const void*>(&keep_padding), &program), 0);
  Dl_info info{};
  ASSERT_NE(::dladdr(::dlsym(RTLD_DEFAULT, "RAND_bytes"), &info), 0);
  EXPECT_EQ(info.dli_fbase, program.dli_fbase) << "RAND_bytes is that of " << info.dli_fname;
}

TEST(Padding, NothingIsGivenTwice) {
  keep_padding();
  std::set<Bytes> seen;
  for (int i = 0; i < 2000; ++i) EXPECT_TRUE(seen.insert(some()).second) << i;
  // Nor to another thread.
  std::thread([&seen] {
    for (int i = 0; i < 2000; ++i) EXPECT_TRUE(seen.insert(some()).second) << i;
  }).join();
}

TEST(Padding, EveryByteIsRandom) {
  keep_padding();
  std::array<int, 256> counts{};
  for (int i = 0; i < 16'000; ++i) {
    for (const unsigned char byte : some()) ++counts[byte];
  }
  // 1000 of each are expected; ten standard deviations off is no chance.
  const auto [least, most] = std::minmax_element(counts.begin(), counts.end());
  EXPECT_GT(*least, 680);
  EXPECT_LT(*most, 1320);
}

TEST(Padding, OddAndLargeRequestsAreOpensslsOwn) {
  keep_padding();
  std::array<unsigned char, 100> bytes{};
  EXPECT_EQ(RAND_bytes(bytes.data(), 100), 1);
  EXPECT_GT(std::set<unsigned char>(bytes.begin(), bytes.end()).size(), 40U);
  EXPECT_EQ(RAND_bytes(bytes.data(), 0), 1);
  EXPECT_EQ(RAND_bytes(bytes.data(), 31), 1);
  EXPECT_EQ(RAND_bytes(bytes.data(), 1), 1);
}

}  // namespace
}  // namespace sallyport::sftp

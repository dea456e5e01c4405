// The second thread's digests are those of one thread, whatever is written in which order.
#include "sftp/hash_thread.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "base/c_handle.h"
#include "base/error.h"
#include "sftp/staging.h"

namespace sallyport::sftp {
namespace {

class GrowingHashTest : public testing::Test {
 protected:
  GrowingHashTest() : file_(::memfd_create("upload", MFD_CLOEXEC)), thread_({}) {
    content_.resize(5 * HashThread::least_bytes + 12345);
    std::uint32_t state = 1;
    for (char& c : content_) c = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
  }

  void put(GrowingHash& hash, std::uint64_t offset, std::size_t count) {
    const auto piece = content_.substr(offset, count);
    ASSERT_EQ(::pwrite(file_.get(), piece.data(), piece.size(), static_cast<off_t>(offset)),
              static_cast<ssize_t>(piece.size()));
    hash.written(file_.get(), offset,
                 {reinterpret_cast<const std::uint8_t*>(piece.data()), piece.size()});
  }
  void put_all(GrowingHash& hash, std::size_t step = 100'001) {
    for (std::size_t at = 0; at < content_.size(); at += step)
      put(hash, at, std::min(step, content_.size() - at));
  }
  std::optional<base::Sha256> finish(GrowingHash& hash) {
    return hash.finish(file_.get(), content_.size());
  }

  base::UniqueFd file_;
  HashThread thread_;
  std::string content_;
};

TEST_F(GrowingHashTest, InOrderTheThreadMakesIt) {
  GrowingHash hash(&thread_);
  put_all(hash);
  EXPECT_FALSE(thread_.free());
  EXPECT_EQ(finish(hash), base::sha256(content_));
  EXPECT_TRUE(thread_.free());
}

TEST_F(GrowingHashTest, OneUploadAtATimeHasTheThread) {
  GrowingHash first(&thread_);
  put_all(first);
  GrowingHash second(&thread_);
  put_all(second);
  EXPECT_EQ(finish(second), base::sha256(content_));
  EXPECT_EQ(finish(first), base::sha256(content_));
  GrowingHash third(&thread_);
  put_all(third, 300'000);
  EXPECT_EQ(finish(third), base::sha256(content_));
}

TEST_F(GrowingHashTest, WhatIsRewrittenIsReadAgain) {
  GrowingHash hash(&thread_);
  put_all(hash);
  content_[10] = static_cast<char>(content_[10] + 1);
  put(hash, 0, 100);
  EXPECT_TRUE(thread_.free());
  EXPECT_EQ(finish(hash), base::sha256(content_));
}

TEST_F(GrowingHashTest, WhatIsCutOffAndWrittenAgainCounts) {
  GrowingHash hash(&thread_);
  put_all(hash);
  ASSERT_EQ(::ftruncate(file_.get(), 2'000'000), 0);
  hash.truncated(2'000'000);
  content_.resize(2'500'000, 'x');
  put(hash, 2'000'000, 500'000);
  EXPECT_EQ(finish(hash), base::sha256(content_));
}

TEST_F(GrowingHashTest, AHoleThatIsFilledLaterCounts) {
  GrowingHash hash(&thread_);
  const std::size_t half = content_.size() / 2;
  put(hash, 0, half - 1000);
  put(hash, half, content_.size() - half);
  put(hash, half - 1000, 1000);
  EXPECT_EQ(finish(hash), base::sha256(content_));
}

TEST_F(GrowingHashTest, AFileThatShrinksUnderItIsAnError) {
  GrowingHash hash(&thread_);
  put(hash, 0, HashThread::least_bytes);
  ASSERT_EQ(::ftruncate(file_.get(), 100), 0);
  const std::uint8_t byte = 0;
  hash.written(file_.get(), HashThread::least_bytes, {&byte, 1});
  EXPECT_EQ(hash.finish(file_.get(), HashThread::least_bytes + 1), std::nullopt);
  EXPECT_EQ(errno, EIO);
  EXPECT_TRUE(thread_.free());
}

TEST_F(GrowingHashTest, AnUploadThatGoesAwayLetsTheThreadGo) {
  {
    GrowingHash hash(&thread_);
    put_all(hash);
    EXPECT_FALSE(thread_.free());
  }
  EXPECT_TRUE(thread_.free());
}

TEST(HashThread, WithoutItsFenceItDoesNotStart) {
  EXPECT_THROW(HashThread([] { throw base::SystemError(EPERM, "enter"); }), base::SystemError);
}

}  // namespace
}  // namespace sallyport::sftp

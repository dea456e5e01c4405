#include "sftp/read_ahead.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <string>

#include "base/c_handle.h"

namespace sallyport::sftp {
namespace {

class ReadAheadTest : public ::testing::Test {
 protected:
  ReadAheadTest() {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) std::abort();
    ours.reset(ends[0]);
    theirs.reset(ends[1]);
    read_ahead_of(ours.get());
  }
  ~ReadAheadTest() override { read_ahead_of(-1); }

  [[nodiscard]] std::string read(std::size_t size, int flags = 0) const {
    std::string piece(size, '\0');
    const ssize_t count = ::recv(ours.get(), piece.data(), size, flags);
    piece.resize(count < 0 ? 0 : static_cast<std::size_t>(count));
    return piece;
  }
  void send(const std::string& text) const {
    ASSERT_EQ(::send(theirs.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  }
  [[nodiscard]] short ready(short events = POLLIN) const {
    pollfd entry{ours.get(), events, 0};
    return ::poll(&entry, 1, 0) == 1 ? entry.revents : short{0};
  }

  base::UniqueFd ours;
  base::UniqueFd theirs;
};

// Else nothing is wrong but the speed, and nobody notices.
TEST(ReadAhead, IsWhatLibsshCalls) {
  Dl_info program{};
  ASSERT_NE(::dladdr(reinterpret_cast<const void*>(&read_ahead_of), &program), 0);
  for (const char* name : {"recv", "poll"}) {
    Dl_info info{};
    ASSERT_NE(::dladdr(::dlsym(RTLD_DEFAULT, name), &info), 0) << name;
    EXPECT_EQ(info.dli_fbase, program.dli_fbase) << name << " is that of " << info.dli_fname;
  }
}

TEST_F(ReadAheadTest, WhatWasReadAheadComesInOrderAndInPieces) {
  send("abcdefgh");
  EXPECT_EQ(read(3), "abc");
  std::array<char, 8> rest{};
  EXPECT_EQ(::recvfrom(ours.get(), rest.data(), rest.size(), MSG_DONTWAIT, nullptr, nullptr), -1)
      << "the socket itself is empty";
  send("ij");
  EXPECT_EQ(read(3), "def");
  EXPECT_EQ(read(9), "gh") << "not waiting for more than there is";
  EXPECT_EQ(read(9), "ij");
}

TEST_F(ReadAheadTest, WhatWasReadAheadCanBeReadWithoutWaiting) {
  EXPECT_EQ(ready(), 0);
  send("abcd");
  EXPECT_EQ(ready(), POLLIN);
  EXPECT_EQ(read(3), "abc");
  EXPECT_EQ(ready(), POLLIN);
  EXPECT_EQ(ready(POLLOUT), POLLOUT) << "who does not want to read is asked about the socket";
  EXPECT_EQ(read(3), "d");
  EXPECT_EQ(ready(), 0);
}

TEST_F(ReadAheadTest, OtherSocketsAreNotTouched) {
  send("abcd");
  EXPECT_EQ(read(1), "a");
  ASSERT_EQ(::send(ours.get(), "xyz", 3, 0), 3);
  std::array<char, 2> two{};
  EXPECT_EQ(::recv(theirs.get(), two.data(), two.size(), 0), 2);
  std::array<pollfd, 2> both{{{theirs.get(), POLLIN, 7}, {ours.get(), POLLIN, 7}}};
  EXPECT_EQ(::poll(both.data(), both.size(), -1), 1);
  EXPECT_EQ(both[0].revents, 0) << "its turn comes once all has been read";
  EXPECT_EQ(both[1].revents, POLLIN);
  EXPECT_EQ(read(9), "bcd");
  EXPECT_EQ(::poll(both.data(), both.size(), -1), 1);
  EXPECT_EQ(both[0].revents, POLLIN);
}

TEST_F(ReadAheadTest, TheEndAndErrorsComeAfterWhatWasReadBeforeThem) {
  send("ab");
  theirs.reset();
  EXPECT_EQ(read(1), "a");
  EXPECT_EQ(read(1), "b");
  char byte = 0;
  EXPECT_EQ(::recv(ours.get(), &byte, 1, 0), 0);
  ours.reset();
  EXPECT_EQ(::recv(-1, &byte, 1, 0), -1);
  EXPECT_EQ(errno, EBADF);
}

}  // namespace
}  // namespace sallyport::sftp

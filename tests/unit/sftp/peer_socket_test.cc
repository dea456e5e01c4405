#include "sftp/peer_socket.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>

#include "base/c_handle.h"

namespace sallyport::sftp {
namespace {

class PeerSocketTest : public ::testing::Test {
 protected:
  PeerSocketTest() {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) std::abort();
    ours.reset(ends[0]);
    theirs.reset(ends[1]);
    use_peer_socket(ours.get());
  }
  ~PeerSocketTest() override { use_peer_socket(-1); }

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

// Else it is slow, and waits for those who take nothing, and nobody notices.
TEST(PeerSocket, IsWhatLibsshCalls) {
  Dl_info program{};
  ASSERT_NE(::dladdr(reinterpret_cast<const void*>(&use_peer_socket), &program), 0);
  for (const char* name : {"recv", "send", "poll"}) {
    Dl_info info{};
    ASSERT_NE(::dladdr(::dlsym(RTLD_DEFAULT, name), &info), 0) << name;
    EXPECT_EQ(info.dli_fbase, program.dli_fbase) << name << " is that of " << info.dli_fname;
  }
}

TEST_F(PeerSocketTest, WhatWasReadAheadComesInOrderAndInPieces) {
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

TEST_F(PeerSocketTest, WhatWasReadAheadCanBeReadWithoutWaiting) {
  EXPECT_EQ(ready(), 0);
  send("abcd");
  EXPECT_EQ(ready(), POLLIN);
  EXPECT_EQ(read(3), "abc");
  EXPECT_EQ(ready(), POLLIN);
  EXPECT_EQ(ready(POLLOUT), POLLOUT) << "who does not want to read is asked about the socket";
  EXPECT_EQ(read(3), "d");
  EXPECT_EQ(ready(), 0);
}

TEST_F(PeerSocketTest, OtherSocketsAreNotTouched) {
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

TEST_F(PeerSocketTest, TheEndAndErrorsComeAfterWhatWasReadBeforeThem) {
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

TEST_F(PeerSocketTest, SendingTakesWhatFitsAndDoesNotWait) {
  const std::string much(8U << 20U, 'x');
  std::size_t sent = 0;
  for (ssize_t count = 1; count > 0;) {
    count = ::send(ours.get(), much.data(), much.size(), MSG_NOSIGNAL);
    ASSERT_GE(count, 0) << std::strerror(errno);
    ASSERT_LT(count, static_cast<ssize_t>(much.size()));
    sent += static_cast<std::size_t>(count);
  }
  EXPECT_GT(sent, 0U);
  EXPECT_EQ(ready(POLLOUT), 0) << "so that libssh waits for room";
  std::string piece(1U << 20U, '\0');
  for (std::size_t read = 0; read < sent;) {
    const ssize_t count = ::recvfrom(theirs.get(), piece.data(), piece.size(), 0, nullptr, nullptr);
    ASSERT_GT(count, 0);
    read += static_cast<std::size_t>(count);
  }
  EXPECT_GT(::send(ours.get(), "more", 4, MSG_NOSIGNAL), 0);
  theirs.reset();
  EXPECT_EQ(::send(ours.get(), "more", 4, MSG_NOSIGNAL), -1) << "a real error stays one";
  EXPECT_EQ(errno, EPIPE);
}

TEST_F(PeerSocketTest, WhatComesInTimeIsReadAhead) {
  using namespace std::chrono_literals;
  const auto soon = [] { return std::chrono::steady_clock::now() + 2ms; };
  EXPECT_FALSE(read_ahead_by(soon()));
  send("abc");
  // Others may have had the processor at the first look.
  bool came = false;
  for (int i = 0; i < 100 && !came; ++i) came = read_ahead_by(soon());
  ASSERT_TRUE(came);
  std::array<char, 8> rest{};
  EXPECT_EQ(::recvfrom(ours.get(), rest.data(), rest.size(), MSG_DONTWAIT, nullptr, nullptr), -1)
      << "the socket itself is empty";
  EXPECT_TRUE(read_ahead_by(std::chrono::steady_clock::now())) << "it lies here still";
  EXPECT_EQ(ready(), POLLIN);
  EXPECT_EQ(read(9), "abc");
  theirs.reset();
  came = false;
  for (int i = 0; i < 100 && !came; ++i) came = read_ahead_by(soon());
  EXPECT_TRUE(came) << "an end is something to hear";
  char byte = 0;
  EXPECT_EQ(::recv(ours.get(), &byte, 1, 0), 0);
}

// What was sent in full is followed by one look that costs nothing, and that hides nothing for
// long.
TEST_F(PeerSocketTest, AfterSendingTheSocketIsBelievedToTakeMoreOnce) {
  ASSERT_EQ(::send(ours.get(), "abc", 3, 0), 3);
  send("request");
  EXPECT_EQ(ready(POLLIN | POLLOUT), POLLOUT);
  EXPECT_EQ(ready(POLLIN | POLLOUT), POLLIN | POLLOUT);
  ASSERT_EQ(::send(ours.get(), "abc", 3, 0), 3);
  pollfd entry{ours.get(), POLLIN | POLLOUT, 0};
  EXPECT_EQ(::poll(&entry, 1, 1000), 1);
  EXPECT_EQ(entry.revents, POLLIN | POLLOUT) << "who has time to wait asks";
  ASSERT_EQ(::send(ours.get(), "abc", 3, 0), 3);
  EXPECT_EQ(ready(POLLIN), POLLIN) << "as does who wants to read alone";
}

// A suspended partner must not stay for as long as its client has something to say.
TEST_F(PeerSocketTest, HoweverMuchThePeerSaysOthersAreHeard) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  const base::UniqueFd daemon(ends[0]);
  const base::UniqueFd session(ends[1]);
  ASSERT_EQ(::write(daemon.get(), "x", 1), 1);
  for (const short wanted : {short{POLLIN}, short{POLLOUT}}) {
    bool heard = false;
    bool answered = true;
    for (int i = 0; i < 200 && !heard; ++i) {
      if (wanted == POLLIN) {
        send("request");
        ASSERT_EQ(read(1), "r") << "and the rest is read ahead";
      } else {
        ASSERT_EQ(::send(ours.get(), "answer", 6, 0), 6);
        std::array<char, 6> taken{};
        ASSERT_EQ(::recvfrom(theirs.get(), taken.data(), taken.size(), 0, nullptr, nullptr), 6);
      }
      std::array<pollfd, 2> both{{{ours.get(), wanted, 7}, {session.get(), POLLIN, 7}}};
      const int count = ::poll(both.data(), both.size(), 0);
      heard = both[1].revents == POLLIN;
      answered = both[0].revents == wanted && count == (heard ? 2 : 1);
      ASSERT_TRUE(answered) << i;
      if (wanted == POLLIN) {
        ASSERT_EQ(read(9), "equest");
      }
    }
    EXPECT_TRUE(heard) << wanted;
  }
}

// An error, or nothing to report, is that of what was asked.
TEST_F(PeerSocketTest, WhatIsAskedAtLastDoesNotWaitForWhatLiesHere) {
  for (int i = 0; i < 200; ++i) {
    send("ab");
    ASSERT_EQ(read(1), "a");
    pollfd entry{ours.get(), POLLIN, 7};
    ASSERT_EQ(::poll(&entry, 1, -1), 1);
    ASSERT_EQ(entry.revents, POLLIN);
    ASSERT_EQ(read(1), "b");
  }
}

TEST_F(PeerSocketTest, ALastWordWaitsUntilItIsTaken) {
  wait_for_peer_to_take();
  const std::string much(8U << 20U, 'x');
  std::thread reader([this, &much] {
    std::string piece(1U << 16U, '\0');
    for (std::size_t read = 0; read < much.size();) {
      const ssize_t count =
          ::recvfrom(theirs.get(), piece.data(), piece.size(), 0, nullptr, nullptr);
      if (count <= 0) return;
      read += static_cast<std::size_t>(count);
    }
  });
  EXPECT_EQ(::send(ours.get(), much.data(), much.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(much.size()));
  reader.join();
}

}  // namespace
}  // namespace sallyport::sftp

#include "store/turns.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

namespace sallyport::store {
namespace {

constexpr std::chrono::seconds patience{20};

class TurnsTest : public ::testing::Test {
 protected:
  ~TurnsTest() override {
    for (std::thread& thread : threads_) thread.join();
  }
  /// Somebody who waits for a turn, notes that it came, and gives it back.
  void want(char who, bool background) {
    const unsigned before = turns.waiting();
    threads_.emplace_back([this, who, background] {
      if (!turns.take(background, patience)) return;
      {
        const std::lock_guard lock(mutex_);
        order_ += who;
      }
      turns.give_back(background);
    });
    const auto end = std::chrono::steady_clock::now() + patience;
    while (turns.waiting() == before && std::chrono::steady_clock::now() < end) {
      std::this_thread::yield();
    }
    ASSERT_EQ(turns.waiting(), before + 1);
  }
  std::string order() {
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    return order_;
  }

  Turns turns{1};

 private:
  std::mutex mutex_;
  std::string order_;
  std::vector<std::thread> threads_;
};

TEST_F(TurnsTest, WhatSomebodyWaitsForGoesFirst) {
  ASSERT_TRUE(turns.take(false, patience));
  want('b', true);
  want('f', false);
  turns.give_back(false);
  EXPECT_EQ(order(), "fb");
}

TEST_F(TurnsTest, TheBackgroundHasEveryEighthTurn) {
  ASSERT_TRUE(turns.take(true, patience));
  want('b', true);
  want('b', true);
  for (int i = 0; i < 16; ++i) want('f', false);
  turns.give_back(true);
  EXPECT_EQ(order(), "fffffffbfffffffbff");
}

TEST_F(TurnsTest, NobodyWaitsForALineThatIsEmpty) {
  ASSERT_TRUE(turns.take(true, patience));
  for (int i = 0; i < 9; ++i) want('f', false);
  turns.give_back(true);
  EXPECT_EQ(order(), "fffffffff");
  ASSERT_TRUE(turns.take(false, patience));
  want('b', true);
  want('b', true);
  turns.give_back(false);
  EXPECT_EQ(order(), "fffffffffbb");
}

TEST_F(TurnsTest, ABurstIsNotBrokenIntoButForEveryEighthTurn) {
  Turns calm(1, std::chrono::seconds{3600});
  ASSERT_TRUE(calm.take(true, patience));  // it is calm at first
  calm.give_back(true);
  for (int i = 0; i < 7; ++i) {
    EXPECT_EQ(calm.take(true, std::chrono::milliseconds{1}), i == 0) << i;
    if (i == 0) calm.give_back(true);
    ASSERT_TRUE(calm.take(false, patience));
    calm.give_back(false);
  }
  EXPECT_TRUE(calm.take(true, std::chrono::milliseconds{1})) << "the eighth turn";
  calm.give_back(true);
  EXPECT_FALSE(calm.take(true, std::chrono::milliseconds{1}));
}

TEST_F(TurnsTest, WhenItIsCalmTheBackgroundGoesOn) {
  Turns calm(1, std::chrono::milliseconds{2});
  ASSERT_TRUE(calm.take(false, patience));
  calm.give_back(false);
  EXPECT_TRUE(calm.take(true, patience)) << "with nobody there to call it";
  calm.give_back(true);
}

TEST_F(TurnsTest, AllOfTheBackgroundComeThroughABurst) {
  Turns calm(1, std::chrono::milliseconds{2});
  std::atomic<int> done{0};
  constexpr int each = 50;
  std::vector<std::jthread> background;
  for (int i = 0; i < 4; ++i) {
    background.emplace_back([&] {
      for (int turn = 0; turn < each && calm.take(true, patience); ++turn, ++done) {
        calm.give_back(true);
      }
    });
  }
  // It is never calm until a third of them have come by the eighth turns; then nobody calls.
  while (done < each * 4 / 3) {
    ASSERT_TRUE(calm.take(false, patience));
    calm.give_back(false);
  }
  background.clear();
  EXPECT_EQ(done, each * 4);
}

TEST_F(TurnsTest, PatienceEnds) {
  ASSERT_TRUE(turns.take(false, patience));
  EXPECT_FALSE(turns.take(false, std::chrono::milliseconds{1}));
  EXPECT_FALSE(turns.take(true, std::chrono::milliseconds{1}));
  EXPECT_EQ(turns.waiting(), 0U);
  turns.give_back(false);
  EXPECT_TRUE(turns.take(true, patience));
  turns.give_back(true);
}

TEST_F(TurnsTest, SeveralMayHaveOneAtOnce) {
  Turns two(2);
  ASSERT_TRUE(two.take(false, patience));
  ASSERT_TRUE(two.take(true, patience));
  EXPECT_FALSE(two.take(false, std::chrono::milliseconds{1}));
  two.give_back(true);
  EXPECT_TRUE(two.take(false, patience));
}

}  // namespace
}  // namespace sallyport::store

// Who gets one of a few things next. What somebody waits for (an answer to a partner, to a gateway,
// to an administrator) goes before work in the background, which has every eighth turn all the
// same, so that it goes on however much the others want.
//
// Threads: any. Nothing here fails.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace sallyport::store {

class Turns {
 public:
  explicit Turns(unsigned limit) : limit_(limit) {}

  /// Waits for a turn; false if none came within `patience`.
  [[nodiscard]] bool take(bool background, std::chrono::milliseconds patience);
  void give_back() noexcept;
  /// How many wait now.
  [[nodiscard]] unsigned waiting();

 private:
  struct Line {
    std::condition_variable called;
    unsigned waiting = 0;
  };
  [[nodiscard]] bool backgrounds_turn() const;

  const unsigned limit_;
  std::mutex mutex_;
  unsigned in_use_ = 0;
  unsigned in_a_row_ = 0;  ///< turns of the foreground since the last one of the background
  Line foreground_;
  Line background_;
};

}  // namespace sallyport::store

// Which bytes of a file have been written or read: a sorted list of intervals that merge when they
// touch. A sequential transfer is one interval, whatever its length.
//
// Pure; not thread-safe; nothing fails. `most_ranges` bounds the memory a hostile peer can take:
// when it is reached, add() says so.
#pragma once

#include <cstdint>
#include <vector>

namespace sallyport::sftp {

class Ranges {
 public:
  static constexpr std::size_t most_ranges = 65536;

  /// Adds [begin, end). False if that would be one more range than we keep.
  [[nodiscard]] bool add(std::uint64_t begin, std::uint64_t end);
  /// Forgets everything from `size` on.
  void truncate(std::uint64_t size);
  /// True if every byte of [0, size) is in.
  [[nodiscard]] bool covers(std::uint64_t size) const;
  /// The end of the interval that begins at 0.
  [[nodiscard]] std::uint64_t contiguous() const;
  void clear() { ranges_.clear(); }

 private:
  struct Range {
    std::uint64_t begin;
    std::uint64_t end;
  };
  std::vector<Range> ranges_;
};

}  // namespace sallyport::sftp

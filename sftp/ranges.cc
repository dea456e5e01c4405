#include "sftp/ranges.h"

#include <algorithm>

namespace sallyport::sftp {

bool Ranges::add(std::uint64_t begin, std::uint64_t end) {
  if (begin >= end) return true;
  if (!ranges_.empty() && ranges_.back().end == begin) {  // the next piece of a sequential transfer
    ranges_.back().end = end;
    return true;
  }
  auto first =
      std::lower_bound(ranges_.begin(), ranges_.end(), begin,
                       [](const Range& range, std::uint64_t value) { return range.end < value; });
  auto last = first;
  while (last != ranges_.end() && last->begin <= end) {
    begin = std::min(begin, last->begin);
    end = std::max(end, last->end);
    ++last;
  }
  if (first == last) {
    if (ranges_.size() >= most_ranges) return false;
    ranges_.insert(first, Range{begin, end});
    return true;
  }
  *first = Range{begin, end};
  ranges_.erase(first + 1, last);
  return true;
}

void Ranges::truncate(std::uint64_t size) {
  while (!ranges_.empty() && ranges_.back().begin >= size) ranges_.pop_back();
  if (!ranges_.empty()) ranges_.back().end = std::min(ranges_.back().end, size);
}

bool Ranges::covers(std::uint64_t size) const {
  return size == 0 || contiguous() >= size;
}

std::uint64_t Ranges::contiguous() const {
  return ranges_.empty() || ranges_.front().begin != 0 ? 0 : ranges_.front().end;
}

}  // namespace sallyport::sftp

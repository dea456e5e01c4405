#include "daemon/config/nearest.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace sallyport::daemon {
namespace {

std::string folded(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
    if (c == '_') c = '-';
  }
  return out;
}

}  // namespace

std::size_t typing_distance(std::string_view a, std::string_view b) {
  // Three rows of the table of optimal string alignment: a swap looks two rows back.
  std::vector<std::size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    before.swap(last);
    last.swap(row);
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, change});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
  }
  return row[b.size()];
}

std::string did_you_mean(std::string_view typed, const std::vector<std::string>& known) {
  const std::string word = folded(typed);
  const std::string* best = nullptr;
  std::size_t least = word.size();  // a word of which no letter stays is no guess
  for (const std::string& other : known) {
    const std::size_t far = typing_distance(word, folded(other));
    if (far < least) {
      least = far;
      best = &other;
    }
  }
  if (best == nullptr || least > 1 + word.size() / 4) return "";
  return fmt::format("; did you mean '{}'?", *best);
}

}  // namespace sallyport::daemon

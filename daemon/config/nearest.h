// What somebody who mistyped a word may have meant: for options, sections, commands and policies.
//
// Pure. Thread-safe.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace sallyport::daemon {

/// How many letters have to be changed, added, left out or swapped with their neighbour.
[[nodiscard]] std::size_t typing_distance(std::string_view a, std::string_view b);

/// "; did you mean 'smtp'?" for the word that is nearest to `typed`, or "" when none is near.
/// Large and small letters, '-' and '_' are the same.
[[nodiscard]] std::string did_you_mean(std::string_view typed,
                                       const std::vector<std::string>& known);

}  // namespace sallyport::daemon

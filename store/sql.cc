#include "store/sql.h"

#include "base/bytes.h"

namespace sallyport::store {

std::string shortened(std::string_view text) {
  constexpr std::size_t most = 60;
  if (text.size() <= most) return std::string(text);
  return std::string(text.substr(0, most)) + "...";
}

namespace {

/// The length of the well-formed sequence at the start of `text`; 0 if there is none.
std::size_t sequence_length(std::string_view text) {
  const auto first = static_cast<unsigned char>(text.front());
  if (first < 0x80) return 1;
  std::size_t length = 0;
  if (first >= 0xC2 && first <= 0xDF) length = 2;
  if (first >= 0xE0 && first <= 0xEF) length = 3;
  if (first >= 0xF0 && first <= 0xF4) length = 4;
  if (length == 0 || text.size() < length) return 0;
  return base::is_utf8(text.substr(0, length)) ? length : 0;
}

}  // namespace

std::string_view valid_utf8(std::string_view text, std::string& copy) {
  if (base::is_utf8(text)) return text;
  copy.clear();
  while (!text.empty()) {
    const std::size_t length = sequence_length(text);
    if (length == 0) {
      copy += "\xEF\xBF\xBD";
      text.remove_prefix(1);
    } else {
      copy += text.substr(0, length);
      text.remove_prefix(length);
    }
  }
  return copy;
}

}  // namespace sallyport::store

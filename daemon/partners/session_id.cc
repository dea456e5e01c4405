#include "daemon/partners/session_id.h"

#include "base/bytes.h"

namespace sallyport::daemon {
namespace {

constexpr std::size_t tag_length = 5;

std::string tag_of(std::string_view node) {
  constexpr std::string_view alphabet = "abcdefghijklmnopqrstuvwxyz234567";
  const base::Sha256 hash = base::sha256(node);
  std::string tag;
  for (std::size_t i = 0; i < tag_length; ++i) tag += alphabet[hash[i] & 31U];
  return tag;
}

}  // namespace

std::string make_session_id(std::string_view node) {
  return tag_of(node) + base::random_id().substr(tag_length);
}

bool is_session_of(std::string_view session_id, std::string_view node) {
  return session_id.starts_with(tag_of(node));
}

}  // namespace sallyport::daemon

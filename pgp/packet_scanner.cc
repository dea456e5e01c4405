#include "pgp/packet_scanner.h"

#include <algorithm>
#include <limits>
#include <string_view>

#include "base/bytes.h"

namespace sallyport::pgp {
namespace {

/// Enough of a body for every field that is read below.
constexpr std::size_t prefix_size = 12;

enum Tag : std::uint8_t {
  tag_public_session_key = 1,
  tag_signature = 2,
  tag_symmetric_session_key = 3,
  tag_one_pass = 4,
  tag_secret_key = 5,
  tag_public_key = 6,
  tag_secret_subkey = 7,
  tag_compressed = 8,
  tag_encrypted = 9,
  tag_marker = 10,
  tag_literal = 11,
  tag_trust = 12,
  tag_user_id = 13,
  tag_public_subkey = 14,
  tag_user_attribute = 17,
  tag_encrypted_integrity = 18,
  tag_encrypted_aead = 20,
  tag_padding = 21,
};

bool is_key_part(std::uint8_t tag) {
  constexpr std::uint8_t parts[] = {
      tag_signature, tag_secret_key, tag_public_key,     tag_secret_subkey, tag_trust,
      tag_user_id,   tag_padding,    tag_user_attribute, tag_public_subkey,
  };
  return std::find(std::begin(parts), std::end(parts), tag) != std::end(parts);
}

bool is_public_key_algorithm(std::uint8_t id) {
  return (id >= 1 && id <= 3) || (id >= 16 && id <= 35);
}

bool is_hash_algorithm(std::uint8_t id) {
  return id >= 1 && id <= 14;
}

}  // namespace

void PacketScanner::feed(std::span<const std::uint8_t> data) {
  std::size_t at = 0;
  while (at < data.size() && state_ != State::ignore) {
    if (state_ == State::tag) {
      on_tag(data[at++]);
    } else if (state_ == State::length) {
      on_length(data[at++]);
    } else {
      const auto count =
          static_cast<std::size_t>(std::min<std::uint64_t>(remaining_, data.size() - at));
      const std::size_t wanted = std::min(count, prefix_size - prefix_.size());
      const auto body = data.subspan(at, wanted);
      prefix_.insert(prefix_.end(), body.begin(), body.end());
      if (!judged_ && prefix_.size() == prefix_size) judge_packet();
      if (state_ == State::ignore) return;
      at += count;
      remaining_ -= count;
      if (remaining_ == 0) end_chunk();
    }
  }
}

std::uint64_t PacketScanner::skippable() const {
  if (state_ == State::ignore) return std::numeric_limits<std::uint64_t>::max();
  if (state_ != State::body || prefix_.size() < prefix_size) return 0;
  return remaining_;
}

void PacketScanner::skip(std::uint64_t count) {
  if (state_ == State::ignore) return;
  remaining_ -= std::min(count, remaining_);
  if (state_ == State::body && remaining_ == 0) end_chunk();
}

void PacketScanner::on_tag(std::uint8_t byte) {
  if ((byte & 0x80) == 0) {
    if (stage_ == Stage::start) return fail_plain();
    report_.has_extra_data = true;
    state_ = State::ignore;
    return;
  }
  new_format_ = (byte & 0x40) != 0;
  tag_ = new_format_ ? byte & 0x3f : (byte >> 2) & 0x0f;
  indeterminate_ = false;
  if (stage_ == Stage::over && tag_ != tag_padding) {
    report_.has_extra_data = true;
    state_ = State::ignore;
    return;
  }
  in_packet_ = true;
  judged_ = false;
  prefix_.clear();
  length_octets_.clear();
  length_octets_wanted_ = 1;
  state_ = State::length;
  if (new_format_) return;
  const int length_type = byte & 3;
  if (length_type < 3) {
    length_octets_wanted_ = std::size_t{1} << length_type;
  } else {
    indeterminate_ = true;
    begin_body(std::numeric_limits<std::uint64_t>::max(), false);
  }
}

void PacketScanner::on_length(std::uint8_t byte) {
  length_octets_.push_back(byte);
  if (new_format_ && length_octets_.size() == 1) {
    if (byte >= 224 && byte < 255) return begin_body(std::uint64_t{1} << (byte & 0x1f), true);
    if (byte >= 192) length_octets_wanted_ = byte == 255 ? 5 : 2;
  }
  if (length_octets_.size() < length_octets_wanted_) return;
  std::uint64_t length = 0;
  if (new_format_ && length_octets_.size() == 2) {
    length = ((length_octets_[0] - std::uint64_t{192}) << 8) + length_octets_[1] + 192;
  } else {
    const std::size_t skipped = new_format_ && length_octets_.size() == 5 ? 1 : 0;
    for (std::size_t i = skipped; i < length_octets_.size(); ++i)
      length = length << 8 | length_octets_[i];
  }
  begin_body(length, false);
}

void PacketScanner::begin_body(std::uint64_t length, bool partial) {
  partial_ = partial;
  remaining_ = length;
  state_ = State::body;
  if (remaining_ == 0) end_chunk();
}

void PacketScanner::end_chunk() {
  if (partial_) {
    length_octets_.clear();
    length_octets_wanted_ = 1;
    state_ = State::length;
    return;
  }
  if (!judged_) judge_packet();
  if (state_ == State::ignore) return;
  in_packet_ = false;
  state_ = State::tag;
}

void PacketScanner::fail_plain() {
  report_ = Inspection{};
  state_ = State::ignore;
}

void PacketScanner::fail_malformed() {
  report_.is_malformed = true;
  state_ = State::ignore;
}

/// The first bytes of a packet are known, or all of it if it is shorter.
void PacketScanner::judge_packet() {
  judged_ = true;
  if (stage_ != Stage::start && tag_ == tag_padding) return;
  switch (stage_) {
    case Stage::start:
      return judge_first();
    case Stage::session_keys:
      if (tag_ == tag_public_session_key || tag_ == tag_symmetric_session_key)
        return read_session_key();
      if (tag_ != tag_encrypted && tag_ != tag_encrypted_integrity && tag_ != tag_encrypted_aead)
        return fail_malformed();
      report_.has_integrity = tag_ != tag_encrypted;
      if (tag_ == tag_encrypted_integrity && (prefix_.empty() || prefix_[0] != 1))
        report_.is_supported = false;
      stage_ = Stage::over;
      return;
    case Stage::signatures_before:
      if (tag_ == tag_signature) return;
      if (tag_ != tag_literal && tag_ != tag_compressed) break;
      report_.kind = Kind::signed_message;
      stage_ = Stage::over;
      return;
    case Stage::one_pass:
      if (tag_ == tag_one_pass) return;
      if (tag_ != tag_literal && tag_ != tag_compressed) return fail_malformed();
      stage_ = Stage::signed_content;
      return;
    case Stage::signed_content:
      if (tag_ != tag_signature) break;
      stage_ = Stage::content;
      return;
    case Stage::content:  // more signatures of the same content
      if (tag_ != tag_signature) break;
      return;
    case Stage::keys:
      if (!is_key_part(tag_)) break;
      return;
    case Stage::over:
      break;
  }
  report_.has_extra_data = true;
  state_ = State::ignore;
}

void PacketScanner::judge_first() {
  switch (tag_) {
    case tag_marker:
      if (prefix_.size() != 3 || prefix_[0] != 'P' || prefix_[1] != 'G' || prefix_[2] != 'P')
        return fail_plain();
      return;  // says nothing: the next one counts
    case tag_public_session_key:
    case tag_symmetric_session_key:
      if (!looks_like_session_key()) return fail_plain();
      report_.kind = Kind::encrypted;
      stage_ = Stage::session_keys;
      return read_session_key();
    // Contents without a session key before them are for nobody. Those without integrity (tag 9)
    // have no form that could be told from a Latin-1 text that begins with an E acute, so they are
    // plain.
    case tag_encrypted_integrity:
    case tag_encrypted_aead:
      if (prefix_.empty() || (prefix_[0] != 1 && prefix_[0] != 2)) return fail_plain();
      report_.has_integrity = true;
      report_.kind = Kind::encrypted;
      stage_ = Stage::over;
      return;
    case tag_one_pass:
      if (!looks_like_one_pass()) return fail_plain();
      report_.kind = Kind::signed_message;
      stage_ = Stage::one_pass;
      return;
    case tag_compressed:
    case tag_literal:
      if (!looks_like_container()) return fail_plain();
      report_.kind = Kind::signed_message;
      bare_literal_ = tag_ == tag_literal;
      stage_ = Stage::over;
      return;
    case tag_signature:
      if (!looks_like_signature()) return fail_plain();
      report_.kind = Kind::detached_signature;
      stage_ = Stage::signatures_before;
      return;
    case tag_public_key:
    case tag_secret_key:
      if (!looks_like_key()) return fail_plain();
      report_.kind = tag_ == tag_public_key ? Kind::public_key : Kind::secret_key;
      stage_ = Stage::keys;
      return;
    default:
      return fail_plain();
  }
}

void PacketScanner::read_session_key() {
  if (tag_ == tag_symmetric_session_key) {
    report_.has_password = true;
    if (prefix_.empty() || prefix_[0] > 5) report_.is_supported = false;
    return;
  }
  if (prefix_.empty()) return fail_malformed();
  if (prefix_[0] != 2 && prefix_[0] != 3) {
    report_.is_supported = false;
    return;
  }
  if (prefix_.size() < 10) return;  // cut off, or too short to be for anybody
  // A message has at most so many that anybody reads.
  constexpr std::size_t most_recipients = 100;
  if (report_.recipients.size() == most_recipients) return;
  std::string key_id = base::to_hex(std::span(prefix_).subspan(1, 8));
  std::transform(key_id.begin(), key_id.end(), key_id.begin(), [](char c) {
    return c >= 'a' && c <= 'f' ? static_cast<char>(c - 'a' + 'A') : c;
  });
  // Once each: many without a name leave room for those that have one.
  const auto& known = report_.recipients;
  if (std::find(known.begin(), known.end(), key_id) == known.end())
    report_.recipients.push_back(std::move(key_id));
}

bool PacketScanner::looks_like_session_key() const {
  if (prefix_.empty()) return false;
  if (tag_ == tag_symmetric_session_key) return prefix_[0] >= 4 && prefix_[0] <= 6;
  if (prefix_[0] == 6) return true;
  return (prefix_[0] == 2 || prefix_[0] == 3) &&
         (prefix_.size() < 10 || is_public_key_algorithm(prefix_[9]));
}

bool PacketScanner::looks_like_signature() const {
  if (prefix_.size() < 4) return false;
  if (prefix_[0] == 3) return prefix_[1] == 5;  // always five hashed octets
  return prefix_[0] >= 4 && prefix_[0] <= 6 && is_public_key_algorithm(prefix_[2]) &&
         is_hash_algorithm(prefix_[3]);
}

bool PacketScanner::looks_like_one_pass() const {
  return prefix_.size() >= 4 && (prefix_[0] == 3 || prefix_[0] == 6) &&
         is_hash_algorithm(prefix_[2]) && is_public_key_algorithm(prefix_[3]);
}

bool PacketScanner::looks_like_key() const {
  if (prefix_.size() < 6 || prefix_[0] < 2 || prefix_[0] > 6) return false;
  return prefix_[0] < 4 || is_public_key_algorithm(prefix_[5]);
}

/// Any file may begin with these two tags by chance, so the contents have to begin right as well.
bool PacketScanner::looks_like_container() const {
  if (prefix_.size() < 3) return false;
  if (tag_ == tag_literal) {
    return std::string_view("btulm1").find(static_cast<char>(prefix_[0])) !=
               std::string_view::npos &&
           (indeterminate_ || partial_ || remaining_ >= prefix_[1]);
  }
  switch (prefix_[0]) {
    case 0:
      return (prefix_[1] & 0x80) != 0;
    case 1:  // deflate: a block type that exists
      return (prefix_[1] & 6) != 6;
    case 2:  // zlib: method 8 and its header's checksum
      return (prefix_[1] & 15) == 8 && (prefix_[1] * 256 + prefix_[2]) % 31 == 0;
    case 3:
      return prefix_[1] == 'B' && prefix_[2] == 'Z';
    default:
      return false;
  }
}

Inspection PacketScanner::finish() {
  // The data ends inside of a packet whose first bytes have not been judged yet.
  if (state_ != State::ignore && in_packet_ && !judged_ && !prefix_.empty()) judge_packet();
  if (state_ != State::ignore) {
    if (stage_ == Stage::start) return Inspection{};
    const bool whole_packet = !in_packet_ || (indeterminate_ && judged_);
    const bool whole_message = stage_ == Stage::over || stage_ == Stage::content ||
                               stage_ == Stage::keys || stage_ == Stage::signatures_before;
    report_.is_complete = whole_packet && whole_message;
  }
  // A literal packet that does not end with the file is more likely a text of somebody's.
  if (bare_literal_ && (!report_.is_complete || report_.has_extra_data)) return Inspection{};
  return report_;
}

}  // namespace sallyport::pgp

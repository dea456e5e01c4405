// SFTP version 3 packets: a reader over the bytes of one request, and a buffer that replies are
// written into. Knows no file, no session and no I/O, so that it can be fuzzed alone.
//
// PacketReader never copies and never throws: reading beyond the end makes it bad() for good and
// gives zeros and empty strings. ReplyBuffer owns its memory. Neither may be shared by threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/page_buffer.h"

namespace sallyport::sftp {

enum class Type : std::uint8_t {
  init = 1,
  version = 2,
  open = 3,
  close = 4,
  read = 5,
  write = 6,
  lstat = 7,
  fstat = 8,
  setstat = 9,
  fsetstat = 10,
  opendir = 11,
  readdir = 12,
  remove = 13,
  mkdir = 14,
  rmdir = 15,
  realpath = 16,
  stat = 17,
  rename = 18,
  readlink = 19,
  symlink = 20,
  status = 101,
  handle = 102,
  data = 103,
  name = 104,
  attrs = 105,
  extended = 200,
  extended_reply = 201,
};

/// SSH_FX_*: version 3 has no more than these.
enum class Code : std::uint32_t {
  ok = 0,
  eof = 1,
  no_such_file = 2,
  permission_denied = 3,
  failure = 4,
  bad_message = 5,
  unsupported = 8,
};

namespace open_flag {
inline constexpr std::uint32_t read = 0x01, write = 0x02, append = 0x04, create = 0x08,
                               truncate = 0x10, exclusive = 0x20;
}

/// The largest data of one READ or WRITE: what limits@openssh.com offers. OpenSSH's client uses all
/// of it.
inline constexpr std::uint32_t max_data = 255 * 1024;
/// The longest packet accepted: OpenSSH's own limit.
inline constexpr std::uint32_t max_packet = 256 * 1024;

struct Attributes {
  static constexpr std::uint32_t has_size = 0x1, has_owner = 0x2, has_permissions = 0x4,
                                 has_times = 0x8, has_extended = 0x80000000;
  std::uint32_t flags = 0;
  std::uint64_t size = 0;
  std::uint32_t user = 0;
  std::uint32_t group = 0;
  std::uint32_t permissions = 0;
  std::uint32_t accessed = 0;
  std::uint32_t modified = 0;

  [[nodiscard]] bool has(std::uint32_t flag) const { return (flags & flag) != 0; }
};

class PacketReader {
 public:
  explicit PacketReader(std::span<const std::uint8_t> body) : rest_(body) {}

  [[nodiscard]] std::uint8_t u8();
  [[nodiscard]] std::uint32_t u32();
  [[nodiscard]] std::uint64_t u64();
  /// Points into the packet.
  [[nodiscard]] std::string_view string();
  [[nodiscard]] std::span<const std::uint8_t> bytes();
  [[nodiscard]] Attributes attributes();
  [[nodiscard]] bool bad() const { return bad_; }
  [[nodiscard]] bool empty() const { return rest_.empty(); }

 private:
  std::span<const std::uint8_t> take(std::size_t count);
  std::span<const std::uint8_t> rest_;
  bool bad_ = false;
};

/// One request as it lies in a stream of bytes.
struct Frame {
  enum class What { incomplete, packet, malformed };
  What what = What::incomplete;
  Type type = Type::init;
  std::span<const std::uint8_t> body;  ///< after the type byte
  std::size_t consumed = 0;            ///< length field and all
};
[[nodiscard]] Frame next_frame(std::span<const std::uint8_t> stream);
/// How many bytes an incomplete `stream` lacks for its first packet, or for its length field.
[[nodiscard]] std::size_t missing_bytes(std::span<const std::uint8_t> stream);

/// Replies, one after the other, as they go to the peer. Memory is not zeroed: file content is read
/// straight into it.
class ReplyBuffer {
 public:
  void status(std::uint32_t id, Code code, std::string_view message = {});
  void handle(std::uint32_t id, std::string_view handle);
  void attributes(std::uint32_t id, const Attributes& attributes);
  void version();
  void one_name(std::uint32_t id, std::string_view path);

  /// A packet of parts: begin, any of the put_ functions, end.
  void begin(Type type);
  void begin(Type type, std::uint32_t id);
  void put_u8(std::uint8_t value);
  void put_u32(std::uint32_t value);
  void put_u64(std::uint64_t value);
  void put_string(std::string_view value);
  void put_attributes(const Attributes& attributes);
  void end();
  /// A number whose value is known later: its place, to be set by set_u32.
  [[nodiscard]] std::size_t mark() const { return size_; }
  void set_u32(std::size_t place, std::uint32_t value);
  /// Forgets everything after `place`.
  void cut(std::size_t place) { size_ = place; }

  /// Room for a DATA reply of up to `most` bytes, to be filled and then ended by end_data() with
  /// what there is, or given up by cut(place).
  [[nodiscard]] std::span<std::uint8_t> begin_data(std::uint32_t id, std::size_t most);
  void end_data(std::size_t count);

  [[nodiscard]] const std::uint8_t* data() const { return memory_ ? at(0) : nullptr; }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  void clear() { size_ = 0; }
  void swap(ReplyBuffer& other) noexcept;

 private:
  // Before the first packet, so that no file is read to just behind the beginning of a page, which
  // is slow (base/page_buffer.h): the data of its first DATA begins 13 bytes behind it.
  static constexpr std::size_t lead = 64;

  std::uint8_t* grow(std::size_t count);
  [[nodiscard]] std::uint8_t* at(std::size_t place) const { return memory_.data() + lead + place; }

  base::PageBuffer memory_;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;  ///< without the lead
  std::size_t packet_ = 0;    ///< where the packet that is being written begins
};

}  // namespace sallyport::sftp

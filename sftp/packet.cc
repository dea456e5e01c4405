#include "sftp/packet.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace sallyport::sftp {
namespace {

std::uint64_t big_endian(std::span<const std::uint8_t> bytes) {
  std::uint64_t value = 0;
  for (const std::uint8_t byte : bytes) value = value << 8 | byte;
  return value;
}

void put_big_endian(std::uint8_t* to, std::uint64_t value, int bytes) {
  for (int i = bytes - 1; i >= 0; --i) {
    to[i] = static_cast<std::uint8_t>(value);
    value >>= 8;
  }
}

std::string_view meaning(Code code) {
  switch (code) {
    case Code::ok:
      return "Success";
    case Code::eof:
      return "End of file";
    case Code::no_such_file:
      return "No such file";
    case Code::permission_denied:
      return "Permission denied";
    case Code::failure:
      return "Failure";
    case Code::bad_message:
      return "Bad message";
    case Code::unsupported:
      return "Operation unsupported";
  }
  return "Failure";
}

// The extensions of spec/gateway.md 3 with the versions OpenSSH gives them.
constexpr std::array<std::pair<std::string_view, std::string_view>, 11> extensions{{
    {"posix-rename@openssh.com", "1"},
    {"statvfs@openssh.com", "2"},
    {"fstatvfs@openssh.com", "2"},
    {"hardlink@openssh.com", "1"},
    {"fsync@openssh.com", "1"},
    {"lsetstat@openssh.com", "1"},
    {"limits@openssh.com", "1"},
    {"expand-path@openssh.com", "1"},
    {"copy-data", "1"},
    {"home-directory", "1"},
    {"users-groups-by-id@openssh.com", "1"},
}};

}  // namespace

std::span<const std::uint8_t> PacketReader::take(std::size_t count) {
  if (bad_ || count > rest_.size()) {
    bad_ = true;
    return {};
  }
  const auto taken = rest_.first(count);
  rest_ = rest_.subspan(count);
  return taken;
}

std::uint8_t PacketReader::u8() {
  return static_cast<std::uint8_t>(big_endian(take(1)));
}
std::uint32_t PacketReader::u32() {
  return static_cast<std::uint32_t>(big_endian(take(4)));
}
std::uint64_t PacketReader::u64() {
  return big_endian(take(8));
}

std::span<const std::uint8_t> PacketReader::bytes() {
  const std::uint32_t length = u32();
  return take(length);
}

std::string_view PacketReader::string() {
  const auto content = bytes();
  return {reinterpret_cast<const char*>(content.data()), content.size()};
}

Attributes PacketReader::attributes() {
  Attributes result;
  result.flags = u32();
  if (result.has(Attributes::has_size)) result.size = u64();
  if (result.has(Attributes::has_owner)) {
    result.user = u32();
    result.group = u32();
  }
  if (result.has(Attributes::has_permissions)) result.permissions = u32();
  if (result.has(Attributes::has_times)) {
    result.accessed = u32();
    result.modified = u32();
  }
  if (result.has(Attributes::has_extended)) {
    const std::uint32_t count = u32();
    for (std::uint32_t i = 0; i < count && !bad_; ++i) {
      (void)bytes();
      (void)bytes();
    }
  }
  if (bad_) return {};
  return result;
}

Frame next_frame(std::span<const std::uint8_t> stream) {
  Frame frame;
  if (stream.size() < 4) return frame;
  const std::uint64_t length = big_endian(stream.first(4));
  if (length < 1 || length > max_packet) {
    frame.what = Frame::What::malformed;
    return frame;
  }
  if (stream.size() < 4 + length) return frame;
  frame.what = Frame::What::packet;
  frame.type = static_cast<Type>(stream[4]);
  frame.body = stream.subspan(5, length - 1);
  frame.consumed = 4 + length;
  return frame;
}

std::size_t missing_bytes(std::span<const std::uint8_t> stream) {
  if (stream.size() < 4) return 4 - stream.size();
  const std::uint64_t whole = 4 + big_endian(stream.first(4));
  return whole > stream.size() ? static_cast<std::size_t>(whole - stream.size()) : 0;
}

std::uint8_t* ReplyBuffer::grow(std::size_t count) {
  if (capacity_ - size_ < count) {
    const std::size_t wanted = std::max({size_ + count, capacity_ * 2, 4096 - lead});
    base::PageBuffer larger(lead + wanted);
    if (size_ > 0) std::memcpy(larger.data() + lead, at(0), size_);
    memory_ = std::move(larger);
    capacity_ = wanted;
  }
  std::uint8_t* place = at(size_);
  size_ += count;
  return place;
}

void ReplyBuffer::begin(Type type) {
  packet_ = size_;
  put_u32(0);
  put_u8(static_cast<std::uint8_t>(type));
}
void ReplyBuffer::begin(Type type, std::uint32_t id) {
  begin(type);
  put_u32(id);
}
void ReplyBuffer::put_u8(std::uint8_t value) {
  *grow(1) = value;
}
void ReplyBuffer::put_u32(std::uint32_t value) {
  put_big_endian(grow(4), value, 4);
}
void ReplyBuffer::put_u64(std::uint64_t value) {
  put_big_endian(grow(8), value, 8);
}
void ReplyBuffer::put_string(std::string_view value) {
  put_u32(static_cast<std::uint32_t>(value.size()));
  if (!value.empty()) std::memcpy(grow(value.size()), value.data(), value.size());
}
void ReplyBuffer::put_attributes(const Attributes& a) {
  put_u32(a.flags & ~Attributes::has_extended);
  if (a.has(Attributes::has_size)) put_u64(a.size);
  if (a.has(Attributes::has_owner)) {
    put_u32(a.user);
    put_u32(a.group);
  }
  if (a.has(Attributes::has_permissions)) put_u32(a.permissions);
  if (a.has(Attributes::has_times)) {
    put_u32(a.accessed);
    put_u32(a.modified);
  }
}
void ReplyBuffer::set_u32(std::size_t place, std::uint32_t value) {
  put_big_endian(at(place), value, 4);
}
void ReplyBuffer::end() {
  set_u32(packet_, static_cast<std::uint32_t>(size_ - packet_ - 4));
}

std::span<std::uint8_t> ReplyBuffer::begin_data(std::uint32_t id, std::size_t most) {
  begin(Type::data, id);
  put_u32(0);
  return {grow(most), most};
}
void ReplyBuffer::end_data(std::size_t count) {
  // Length, type and id take 9 bytes before the length of the data.
  set_u32(packet_ + 9, static_cast<std::uint32_t>(count));
  size_ = packet_ + 13 + count;
  end();
}

void ReplyBuffer::status(std::uint32_t id, Code code, std::string_view message) {
  begin(Type::status, id);
  put_u32(static_cast<std::uint32_t>(code));
  put_string(message.empty() ? meaning(code) : message);
  put_string("en");
  end();
}
void ReplyBuffer::handle(std::uint32_t id, std::string_view handle) {
  begin(Type::handle, id);
  put_string(handle);
  end();
}
void ReplyBuffer::attributes(std::uint32_t id, const Attributes& a) {
  begin(Type::attrs, id);
  put_attributes(a);
  end();
}
void ReplyBuffer::one_name(std::uint32_t id, std::string_view path) {
  begin(Type::name, id);
  put_u32(1);
  put_string(path);
  put_string(path);
  put_attributes({});
  end();
}
void ReplyBuffer::version() {
  begin(Type::version);
  put_u32(3);
  for (const auto& [name, data] : extensions) {
    put_string(name);
    put_string(data);
  }
  end();
}

void ReplyBuffer::swap(ReplyBuffer& other) noexcept {
  std::swap(memory_, other.memory_);
  std::swap(size_, other.size_);
  std::swap(capacity_, other.capacity_);
  std::swap(packet_, other.packet_);
}

}  // namespace sallyport::sftp

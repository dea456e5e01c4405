#include "sftp/packet.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sallyport::sftp {
namespace {

std::vector<std::uint8_t> bytes(std::initializer_list<int> values) {
  std::vector<std::uint8_t> result;
  for (const int value : values) result.push_back(static_cast<std::uint8_t>(value));
  return result;
}

std::span<const std::uint8_t> view(const ReplyBuffer& buffer) {
  return {buffer.data(), buffer.size()};
}

TEST(PacketReader, ReadsBigEndianNumbersAndStrings) {
  const auto data = bytes({1, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 2, 'h', 'i'});
  PacketReader reader(data);
  EXPECT_EQ(reader.u8(), 1);
  EXPECT_EQ(reader.u32(), 258U);
  EXPECT_EQ(reader.u64(), 9U);
  EXPECT_EQ(reader.string(), "hi");
  EXPECT_TRUE(reader.empty());
  EXPECT_FALSE(reader.bad());
}

TEST(PacketReader, StringLongerThanItsPacketIsBad) {
  const auto data = bytes({0, 0, 0, 3, 'h', 'i'});
  PacketReader reader(data);
  EXPECT_EQ(reader.string(), "");
  EXPECT_TRUE(reader.bad());
  EXPECT_EQ(reader.u8(), 0) << "it stays bad";
}

TEST(PacketReader, MaximalLengthDoesNotWrapAround) {
  const auto data = bytes({0xff, 0xff, 0xff, 0xff, 'x'});
  PacketReader reader(data);
  (void)reader.string();
  EXPECT_TRUE(reader.bad());
}

TEST(PacketReader, AttributesWithCountOfExtendedPairsBeyondThePacketAreBad) {
  const auto data = bytes({0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff});
  PacketReader reader(data);
  const Attributes attributes = reader.attributes();
  EXPECT_TRUE(reader.bad());
  EXPECT_EQ(attributes.flags, 0U);
}

TEST(PacketReader, ReadsAllAttributes) {
  ReplyBuffer buffer;
  Attributes wanted;
  wanted.flags = Attributes::has_size | Attributes::has_owner | Attributes::has_permissions |
                 Attributes::has_times;
  wanted.size = 1ULL << 40;
  wanted.user = 1;
  wanted.group = 2;
  wanted.permissions = 0644;
  wanted.accessed = 3;
  wanted.modified = 4;
  buffer.put_attributes(wanted);
  PacketReader reader(view(buffer));
  const Attributes read = reader.attributes();
  EXPECT_FALSE(reader.bad());
  EXPECT_TRUE(reader.empty());
  EXPECT_EQ(read.size, wanted.size);
  EXPECT_EQ(read.group, 2U);
  EXPECT_EQ(read.permissions, 0644U);
  EXPECT_EQ(read.modified, 4U);
}

TEST(NextFrame, WaitsForTheWholePacket) {
  const auto data = bytes({0, 0, 0, 5, 1, 0, 0, 0, 3});
  for (std::size_t length = 0; length < data.size(); ++length) {
    EXPECT_EQ(next_frame(std::span(data).first(length)).what, Frame::What::incomplete) << length;
  }
  const Frame frame = next_frame(data);
  ASSERT_EQ(frame.what, Frame::What::packet);
  EXPECT_EQ(frame.type, Type::init);
  EXPECT_EQ(frame.body.size(), 4U);
  EXPECT_EQ(frame.consumed, data.size());
}

TEST(NextFrame, EmptyAndOverlongPacketsAreMalformed) {
  EXPECT_EQ(next_frame(bytes({0, 0, 0, 0})).what, Frame::What::malformed);
  EXPECT_EQ(next_frame(bytes({0, 4, 0, 1})).what, Frame::What::malformed);
  EXPECT_EQ(next_frame(bytes({0, 4, 0, 0})).what, Frame::What::incomplete);
}

TEST(MissingBytes, CountsTheLengthFieldFirst) {
  EXPECT_EQ(missing_bytes(bytes({0, 0})), 2U);
  EXPECT_EQ(missing_bytes(bytes({0, 0, 0, 5})), 5U);
  EXPECT_EQ(missing_bytes(bytes({0, 0, 0, 5, 1, 0})), 3U);
}

TEST(ReplyBuffer, DataReplyHasTheLengthThatWasRead) {
  ReplyBuffer buffer;
  const auto room = buffer.begin_data(7, 100);
  ASSERT_EQ(room.size(), 100U);
  room[0] = 'a';
  room[1] = 'b';
  buffer.end_data(2);
  const Frame frame = next_frame(view(buffer));
  ASSERT_EQ(frame.what, Frame::What::packet);
  EXPECT_EQ(frame.type, Type::data);
  EXPECT_EQ(frame.consumed, buffer.size());
  PacketReader reader(frame.body);
  EXPECT_EQ(reader.u32(), 7U);
  EXPECT_EQ(reader.string(), "ab");
}

TEST(ReplyBuffer, RepliesFollowOneAnother) {
  ReplyBuffer buffer;
  buffer.version();
  buffer.status(1, Code::eof);
  const std::size_t place = buffer.mark();
  (void)buffer.begin_data(2, 50);
  buffer.cut(place);
  buffer.status(2, Code::failure, "why");
  auto rest = view(buffer);
  Frame frame = next_frame(rest);
  EXPECT_EQ(frame.type, Type::version);
  rest = rest.subspan(frame.consumed);
  frame = next_frame(rest);
  EXPECT_EQ(frame.type, Type::status);
  rest = rest.subspan(frame.consumed);
  frame = next_frame(rest);
  PacketReader reader(frame.body);
  EXPECT_EQ(reader.u32(), 2U);
  EXPECT_EQ(reader.u32(), 4U);
  EXPECT_EQ(reader.string(), "why");
}

}  // namespace
}  // namespace sallyport::sftp

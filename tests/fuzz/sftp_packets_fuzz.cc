// Any bytes as a stream of SFTP requests: framing, fields and attributes.
#include <cstdlib>

#include "sftp/packet.h"

using namespace sallyport::sftp;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::span<const std::uint8_t> stream(data, size);
  while (true) {
    const Frame frame = next_frame(stream);
    if (frame.what != Frame::What::packet) {
      if (frame.what == Frame::What::incomplete && missing_bytes(stream) == 0) std::abort();
      return 0;
    }
    if (frame.consumed > stream.size() || frame.body.size() + 5 != frame.consumed) std::abort();
    // The same body in each of the forms that requests have.
    PacketReader paths(frame.body);
    (void)paths.u32();
    (void)paths.string();
    (void)paths.u32();
    const Attributes attributes = paths.attributes();
    if (paths.bad() && attributes.flags != 0) std::abort();
    PacketReader writes(frame.body);
    (void)writes.u32();
    (void)writes.string();
    (void)writes.u64();
    const auto piece = writes.bytes();
    if (piece.size() > frame.body.size()) std::abort();
    // What is written comes back as it was read.
    ReplyBuffer buffer;
    buffer.begin(Type::attrs, 1);
    buffer.put_attributes(attributes);
    buffer.end();
    const Frame again = next_frame({buffer.data(), buffer.size()});
    PacketReader reader(again.body);
    (void)reader.u32();
    const Attributes read = reader.attributes();
    if (reader.bad() || !reader.empty() || read.size != attributes.size ||
        read.modified != attributes.modified) {
      std::abort();
    }
    stream = stream.subspan(frame.consumed);
  }
}

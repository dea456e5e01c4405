// Any bytes as a message between front and daemon: what is accepted is exactly what encode makes.
#include <cstdlib>
#include <string_view>

#include "sftp/broker.h"

using namespace sallyport::sftp;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view packet(reinterpret_cast<const char*>(data), size);
  const auto envelope = decode(packet);
  if (envelope && encode(envelope->id, envelope->message) != packet) std::abort();
  return 0;
}

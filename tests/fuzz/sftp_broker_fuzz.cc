// Any bytes as a message between front and daemon: what is accepted is exactly what encode makes.
#include <cstdlib>
#include <string>

#include "sftp/broker.h"

using namespace sallyport::sftp;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string packet(reinterpret_cast<const char*>(data), size);
  // Whatever version the corpus was kept at: another one is refused at its first byte.
  if (!packet.empty()) packet[0] = static_cast<char>(broker_version);
  const auto envelope = decode(packet);
  if (envelope && encode(envelope->id, envelope->message) != packet) std::abort();
  return 0;
}

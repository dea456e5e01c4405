#include "sftp/refusal.h"

#include <sys/socket.h>

#include <cstdint>
#include <string>

namespace sallyport::sftp {
namespace {

constexpr std::uint8_t message_disconnect = 1;
constexpr std::uint32_t reason_too_many_connections = 12;

void put_u32(std::string& to, std::size_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) to.push_back(static_cast<char>(value >> shift));
}

// An unencrypted packet of RFC 4253 section 6: multiples of 8 bytes, at least 4 of padding.
std::string plain_packet(const std::string& payload) {
  std::size_t padding = 8 - (payload.size() + 5) % 8;
  if (padding < 4) padding += 8;
  std::string packet;
  put_u32(packet, payload.size() + padding + 1);
  packet.push_back(static_cast<char>(padding));
  packet += payload;
  packet.append(padding, '\0');
  return packet;
}

}  // namespace

void refuse(int peer, std::string_view reason) {
  std::string payload(1, static_cast<char>(message_disconnect));
  put_u32(payload, reason_too_many_connections);
  put_u32(payload, reason.size());
  payload += reason;
  put_u32(payload, 0);
  const std::string bytes = "SSH-2.0-Sallyport\r\n" + plain_packet(payload);
  (void)::send(peer, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  ::shutdown(peer, SHUT_WR);
  // What the peer has sent already would turn the close into a reset that loses our message.
  char drain[256];
  while (::recv(peer, drain, sizeof(drain), MSG_DONTWAIT) > 0) {
  }
}

}  // namespace sallyport::sftp

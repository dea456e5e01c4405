#include "sftp/refusal.h"

#include <sys/socket.h>

#include <cstdint>
#include <string>

namespace sallyport::sftp {
namespace {

constexpr std::uint8_t message_disconnect = 1;
constexpr std::uint32_t reason_too_many_connections = 12;
constexpr std::chrono::seconds moment{1};
// In a flood the oldest go at once.
constexpr std::size_t most_open = 64;

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

void Refusals::refuse(base::UniqueFd peer, std::string_view reason) {
  std::string payload(1, static_cast<char>(message_disconnect));
  put_u32(payload, reason_too_many_connections);
  put_u32(payload, reason.size());
  payload += reason;
  put_u32(payload, 0);
  const std::string bytes = "SSH-2.0-Sallyport\r\n" + plain_packet(payload);
  (void)::send(peer.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  ::shutdown(peer.get(), SHUT_WR);
  if (open_.size() >= most_open) open_.pop_front();
  open_.push_back({std::move(peer), std::chrono::steady_clock::now()});
}

void Refusals::close_old() {
  const auto now = std::chrono::steady_clock::now();
  while (!open_.empty() && now - open_.front().since >= moment) open_.pop_front();
}

}  // namespace sallyport::sftp

// Makes what no honest program makes: OpenPGP messages of any packets, encrypted to a key of the
// gateway's with or without a right checksum. For tests only.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "world.h"

namespace sallyport::pgp::test {

struct Packet {
  int tag = 0;
  std::string body;
};

/// The packets of a binary message; lengths of every form are understood, and gone.
[[nodiscard]] std::vector<Packet> split_packets(std::string_view message);

/// With the header of the new format; `claimed` is the length that it tells, if not the true one.
[[nodiscard]] std::string packet(int tag, std::string_view body, std::int64_t claimed_length = -1);
/// The same in pieces of `piece` bytes (a power of two), as from a program that cannot seek.
[[nodiscard]] std::string packet_in_pieces(int tag, std::string_view body, unsigned piece);
[[nodiscard]] std::string join(const std::vector<Packet>& packets);

[[nodiscard]] std::string literal(std::string_view content, char format = 'b',
                                  std::string_view name = "");
/// A "compressed" packet whose algorithm is none.
[[nodiscard]] std::string container(std::string_view packets);

/// A session key for the gateway, and what can be encrypted with it.
class Envelope {
 public:
  /// To one of the gateway's keys.
  Envelope(World& world, const std::string& recipient);

  /// The packet that holds the session key for the recipient.
  [[nodiscard]] const std::string& session_key_packet() const { return session_key_packet_; }
  enum class Checksum { right, wrong, missing, cut_off };
  /// The body of an encrypted packet with integrity protection (tag 18).
  [[nodiscard]] std::string protect(std::string_view packets,
                                    Checksum checksum = Checksum::right) const;
  /// The body of an encrypted packet of the old kind (tag 9).
  [[nodiscard]] std::string old_kind(std::string_view packets) const;
  /// A whole message.
  [[nodiscard]] std::string seal(std::string_view packets,
                                 Checksum checksum = Checksum::right) const;

 private:
  std::string session_key_packet_;
  std::string key_;
};

}  // namespace sallyport::pgp::test

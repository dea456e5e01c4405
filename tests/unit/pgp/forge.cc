#include "forge.h"

#include <openssl/evp.h>
#include <openssl/sha.h>

#include <memory>
#include <stdexcept>

#include "base/bytes.h"
#include "base/file_io.h"

namespace sallyport::pgp::test {
namespace {

constexpr std::size_t block = 16;

std::uint8_t byte_at(std::string_view data, std::size_t at) {
  if (at >= data.size()) throw std::runtime_error("a packet is cut off");
  return static_cast<std::uint8_t>(data[at]);
}

std::size_t number_at(std::string_view data, std::size_t at, std::size_t octets) {
  std::size_t number = 0;
  for (std::size_t i = 0; i < octets; ++i) number = number << 8 | byte_at(data, at + i);
  return number;
}

std::string aes_cfb(const std::string& key, const std::string& iv, std::string_view data) {
  const std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> context(
      EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
  const auto bytes = [](std::string_view text) {
    return reinterpret_cast<const unsigned char*>(text.data());
  };
  std::string result(data.size(), '\0');
  int count = 0;
  if (EVP_EncryptInit_ex(context.get(), EVP_aes_256_cfb128(), nullptr, bytes(key), bytes(iv)) !=
          1 ||
      EVP_EncryptUpdate(context.get(), reinterpret_cast<unsigned char*>(result.data()), &count,
                        bytes(data), static_cast<int>(data.size())) != 1)
    throw std::runtime_error("AES failed");
  return result;
}

/// Random once; its last two bytes come twice.
std::string prefix() {
  std::string bytes = "0123456789abcdef";
  return bytes + bytes.substr(block - 2);
}

}  // namespace

std::vector<Packet> split_packets(std::string_view message) {
  std::vector<Packet> packets;
  std::size_t at = 0;
  while (at < message.size()) {
    const std::uint8_t header = byte_at(message, at++);
    Packet one;
    if ((header & 0x40) == 0) {
      one.tag = header >> 2 & 15;
      std::size_t length = message.size() - at;  // indeterminate
      if ((header & 3) != 3) {
        const std::size_t octets = std::size_t{1} << (header & 3);
        length = number_at(message, at, octets);
        at += octets;
      }
      one.body = message.substr(at, length);
      at += length;
    } else {
      one.tag = header & 63;
      for (bool more = true; more;) {
        const std::uint8_t first = byte_at(message, at++);
        std::size_t length = first;
        more = first >= 224 && first < 255;
        if (more) {
          length = std::size_t{1} << (first & 31);
        } else if (first == 255) {
          length = number_at(message, at, 4);
          at += 4;
        } else if (first >= 192) {
          length = (std::size_t{first} - 192) * 256 + byte_at(message, at++) + 192;
        }
        one.body += message.substr(at, length);
        at += length;
      }
    }
    packets.push_back(std::move(one));
  }
  return packets;
}

std::string packet(int tag, std::string_view body, std::int64_t claimed_length) {
  const auto length = claimed_length < 0 ? body.size() : static_cast<std::size_t>(claimed_length);
  std::string result(1, static_cast<char>(0xc0 | tag));
  result += '\xff';
  for (int shift = 24; shift >= 0; shift -= 8) result += static_cast<char>(length >> shift & 0xff);
  return result.append(body);
}

std::string packet_in_pieces(int tag, std::string_view body, unsigned piece) {
  std::string result(1, static_cast<char>(0xc0 | tag));
  char size = 0;
  while (1U << size < piece) ++size;
  while (body.size() >= piece) {
    result += static_cast<char>(0xe0 | size);
    result += body.substr(0, piece);
    body.remove_prefix(piece);
  }
  return result + packet(0, body).substr(1);
}

std::string join(const std::vector<Packet>& packets) {
  std::string result;
  for (const Packet& one : packets) result += packet(one.tag, one.body);
  return result;
}

std::string literal(std::string_view content, char format, std::string_view name) {
  std::string body(1, format);
  body += static_cast<char>(name.size());
  body.append(name);
  body.append(4, '\0');
  return packet(11, body.append(content));
}

std::string container(std::string_view packets) {
  return packet(8, std::string(1, '\0').append(packets));
}

Envelope::Envelope(World& world, const std::string& recipient) {
  const std::string honest = world.partner.gpg({"--encrypt", "-r", recipient}, "honest");
  session_key_packet_ = join({split_packets(honest).at(0)});
  const fs::path path = world.new_path();
  base::write_file_durably(path, honest);
  const std::string said =
      run({"/usr/bin/gpg", "--homedir", world.directory.path() / "gw", "--batch", "--status-fd",
           "1", "--show-session-key", "--decrypt", path})
          .captured[0];
  fs::remove(path);
  const std::string_view word = "SESSION_KEY 9:";
  const std::size_t at = said.find(word);
  const auto key = base::from_hex(said.substr(at + word.size(), 64));
  if (at == std::string::npos || !key) throw std::runtime_error("gpg shows no session key");
  key_.assign(key->begin(), key->end());
}

std::string Envelope::protect(std::string_view packets, Checksum checksum) const {
  std::string plain = prefix().append(packets);
  if (checksum != Checksum::missing) {
    plain += "\xd3\x14";
    std::string digest(SHA_DIGEST_LENGTH, '\0');
    SHA1(reinterpret_cast<const unsigned char*>(plain.data()), plain.size(),
         reinterpret_cast<unsigned char*>(digest.data()));
    if (checksum == Checksum::wrong) digest[0] = static_cast<char>(digest[0] ^ 1);
    plain += digest;
  }
  if (checksum == Checksum::cut_off) plain.resize(plain.size() - 22);
  return '\1' + aes_cfb(key_, std::string(block, '\0'), plain);
}

std::string Envelope::old_kind(std::string_view packets) const {
  const std::string head = aes_cfb(key_, std::string(block, '\0'), prefix());
  return head + aes_cfb(key_, head.substr(2), packets);
}

std::string Envelope::seal(std::string_view packets, Checksum checksum) const {
  return session_key_packet_ + packet(18, protect(packets, checksum));
}

}  // namespace sallyport::pgp::test

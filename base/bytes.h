// Digests, random bytes and text encodings over OpenSSL. Pure but for random_bytes; thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sallyport::base {

using Bytes = std::vector<std::uint8_t>;
using Sha256 = std::array<std::uint8_t, 32>;

[[nodiscard]] Sha256 sha256(std::string_view data);
[[nodiscard]] Sha256 hmac_sha256(std::string_view key, std::string_view data);

/// SHA-256 of data that comes in pieces.
class Sha256Stream {
 public:
  Sha256Stream();
  ~Sha256Stream();
  Sha256Stream(Sha256Stream&&) noexcept;
  Sha256Stream& operator=(Sha256Stream&&) noexcept;
  void update(std::span<const std::uint8_t> data);
  void update(std::string_view data);
  /// The digest of all updates; the stream is used up.
  [[nodiscard]] Sha256 finish();

 private:
  void* context_;  // EVP_MD_CTX
};

/// From the system's CSPRNG; throws base::Error when there is none.
[[nodiscard]] std::string random_bytes(std::size_t count);

[[nodiscard]] std::string to_hex(std::span<const std::uint8_t> data);
[[nodiscard]] std::string to_hex(std::string_view data);
/// Digits of any case; nullopt for an odd count or anything else.
[[nodiscard]] std::optional<std::string> from_hex(std::string_view text);
[[nodiscard]] std::string to_base64(std::string_view data);
/// Standard alphabet with padding; nullopt for anything else.
[[nodiscard]] std::optional<std::string> from_base64(std::string_view text);

/// 26 lower-case base32 characters (RFC 4648 alphabet) of 130 random bits: an identifier that is
/// never reused (spec/api-keys.md 1).
[[nodiscard]] std::string random_id();

/// The same time whatever differs; false at once where the lengths do.
[[nodiscard]] bool equal_constant_time(std::string_view a, std::string_view b) noexcept;

/// True if `text` is well-formed UTF-8 (no surrogates, no overlong forms).
[[nodiscard]] bool is_utf8(std::string_view text) noexcept;
/// The number of code points of well-formed UTF-8.
[[nodiscard]] std::size_t utf8_length(std::string_view text) noexcept;
/// True if there is a C0 or C1 control character or DEL in it.
[[nodiscard]] bool has_control(std::string_view text) noexcept;

}  // namespace sallyport::base

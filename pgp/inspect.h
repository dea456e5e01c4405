// What a file is, by its content: the outer OpenPGP packets, binary or ASCII-armoured, without
// decrypting anything. The file's name is never looked at.
//
// Reads the file once from its start with a small constant buffer. Thread-safe. A verdict is a
// value; only a failed read throws base::SystemError. Everything it says comes from the partner and
// is a claim: decrypt_and_verify (pgp/pgp.h) judges.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace sallyport::pgp {

enum class Kind {
  plain,  ///< anything that is not OpenPGP, the empty file too
  encrypted,
  signed_message,      ///< signature and content in one, or a compressed or literal container
  clearsigned,         ///< text with a signature around it
  detached_signature,  ///< signatures alone
  public_key,
  secret_key,
};

[[nodiscard]] std::string_view name(Kind kind) noexcept;

struct Inspection {
  Kind kind = Kind::plain;
  bool armoured = false;
  /// Key ids the message is encrypted to, 16 upper-case hex digits; zeros where the sender hid it.
  std::vector<std::string> recipients;
  bool has_password = false;    ///< can (also) be decrypted with a passphrase
  bool has_integrity = false;   ///< kind encrypted: contents carry modification detection
  bool is_complete = true;      ///< false: ends before its packets or its armour do
  bool has_extra_data = false;  ///< something follows the message
  bool is_malformed = false;    ///< packets in an order or of a form that no message has
  bool is_supported = true;     ///< false: uses a packet version that gpg here cannot read
};

/// Reads from the descriptor's position 0 by pread; its offset does not move.
[[nodiscard]] Inspection inspect(int fd);
[[nodiscard]] Inspection inspect(const std::filesystem::path& path);

}  // namespace sallyport::pgp

// SSH public keys of partners: read in every usual form, and judged. What is too weak or no public
// key at all is refused with a sentence that says what to send instead.
//
// Pure and thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace sallyport::daemon {

struct SshPublicKey {
  std::string type;     ///< "ssh-rsa", "ssh-ed25519", "ecdsa-sha2-nistp256", ...
  std::string blob;     ///< the wire form, as a client presents it
  std::string comment;  ///< may be empty
  unsigned bits = 0;
  std::string fingerprint;  ///< "SHA256:..." as OpenSSH prints it
};

struct SshKeyResult {
  std::optional<SshPublicKey> key;
  std::string refusal;  ///< why not, one sentence
};

/// OpenSSH's one line, RFC 4716 (ssh-keygen -e, PuTTY, many Java tools), or PEM ("BEGIN PUBLIC
/// KEY", "BEGIN RSA PUBLIC KEY").
[[nodiscard]] SshKeyResult parse_ssh_key(std::string_view text);
/// The same over a wire blob: what is accepted is RSA of 2048 to 16384 bits, Ed25519 and ECDSA on
/// the NIST curves.
[[nodiscard]] SshKeyResult judge_ssh_blob(std::string_view blob);
[[nodiscard]] std::string ssh_fingerprint(std::string_view blob);

}  // namespace sallyport::daemon

// What gpg reports on its status descriptor, as facts. Only this, the exit code and the size of the
// output decide; texts for people are never parsed for a verdict.
//
// Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/instant.h"

namespace sallyport::pgp {

struct GpgSignature {
  enum class Word { none, good, expired, key_expired, key_revoked, bad, error };
  Word word = Word::none;
  std::string key_id;
  int error = 0;            ///< libgpg-error's code, of Word::error
  int hash_algorithm = 0;   ///< OpenPGP's number; 0 if it was not told
  std::string fingerprint;  ///< primary key, only from VALIDSIG
  std::optional<base::Instant> made;
};

struct GpgStatus {
  std::vector<std::string> encrypted_to;   ///< key ids
  std::string decrypted_by;                ///< primary fingerprint
  std::vector<std::string> no_secret_key;  ///< key ids that the agent had nothing for
  int begin_decryption = 0;
  int cipher = 0;  ///< OpenPGP's number
  bool has_integrity = false;
  bool decryption_okay = false;
  bool good_mdc = false;
  bool bad_mdc = false;
  bool decryption_failed = false;
  int plaintexts = 0;
  std::optional<std::uint64_t> plaintext_length;
  bool no_data = false;
  bool unexpected = false;
  bool passphrase_missing = false;
  std::vector<GpgSignature> signatures;

  std::vector<std::string> invalid_recipients;
  bool invalid_signer = false;
  bool signature_created = false;
  bool end_encryption = false;
  std::vector<int> errors;  ///< codes of ERROR and FAILURE lines
};

[[nodiscard]] GpgStatus parse_status(std::string_view text);

}  // namespace sallyport::pgp

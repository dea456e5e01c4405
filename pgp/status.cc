#include "pgp/status.h"

#include <charconv>

namespace sallyport::pgp {
namespace {

constexpr std::string_view line_mark = "[GNUPG:] ";
/// libgpg-error's source is in the high bits.
constexpr std::uint64_t error_code_mask = 0xffff;
constexpr int error_no_pinentry = 85;

std::vector<std::string_view> split_words(std::string_view line) {
  std::vector<std::string_view> words;
  std::size_t at = 0;
  while (at < line.size()) {
    const std::size_t end = std::min(line.find(' ', at), line.size());
    if (end > at) words.push_back(line.substr(at, end - at));
    at = end + 1;
  }
  return words;
}

class StatusReader {
 public:
  void read_line(std::string_view line) {
    words_ = split_words(line);
    if (words_.empty()) return;
    const std::string_view keyword = words_[0];
    if (!read_signature(keyword) && !read_decryption(keyword)) read_other(keyword);
  }
  GpgStatus take() { return std::move(status_); }

 private:
  [[nodiscard]] std::string word(std::size_t index) const {
    return index < words_.size() ? std::string(words_[index]) : std::string();
  }
  [[nodiscard]] std::uint64_t number(std::size_t index) const {
    std::uint64_t value = 0;
    if (index < words_.size())
      std::from_chars(words_[index].data(), words_[index].data() + words_[index].size(), value);
    return value;
  }
  [[nodiscard]] int small(std::size_t index) const {
    return static_cast<int>(number(index) & error_code_mask);
  }
  [[nodiscard]] std::optional<base::Instant> instant(std::size_t index) const {
    const std::uint64_t seconds = number(index);
    if (seconds == 0) return std::nullopt;
    return base::from_unix(static_cast<std::int64_t>(seconds));
  }

  GpgSignature& open_signature() {
    auto& all = status_.signatures;
    if (all.empty() || all.back().word != GpgSignature::Word::none) all.emplace_back();
    return all.back();
  }

  bool read_signature(std::string_view keyword) {
    using Word = GpgSignature::Word;
    struct Result {
      std::string_view keyword;
      Word word;
    };
    constexpr Result results[] = {
        {"GOODSIG", Word::good},
        {"EXPSIG", Word::expired},
        {"EXPKEYSIG", Word::key_expired},
        {"REVKEYSIG", Word::key_revoked},
        {"BADSIG", Word::bad},
    };
    for (const Result& result : results) {
      if (keyword != result.keyword) continue;
      GpgSignature& signature = open_signature();
      signature.word = result.word;
      signature.key_id = word(1);
      return true;
    }
    if (keyword == "NEWSIG") {
      status_.signatures.emplace_back();
    } else if (keyword == "ERRSIG") {
      GpgSignature& signature = open_signature();
      signature.word = Word::error;
      signature.key_id = word(1);
      signature.hash_algorithm = small(3);
      signature.made = instant(5);
      signature.error = small(6);
    } else if (keyword == "VALIDSIG") {
      if (status_.signatures.empty()) return true;
      GpgSignature& signature = status_.signatures.back();
      signature.made = instant(3);
      signature.hash_algorithm = small(8);
      signature.fingerprint = word(words_.size() > 10 ? 10 : 1);
    } else {
      return false;
    }
    return true;
  }

  bool read_decryption(std::string_view keyword) {
    if (keyword == "ENC_TO") {
      status_.encrypted_to.push_back(word(1));
    } else if (keyword == "NO_SECKEY") {
      status_.no_secret_key.push_back(word(1));
    } else if (keyword == "DECRYPTION_KEY") {
      status_.decrypted_by = word(2);
    } else if (keyword == "BEGIN_DECRYPTION") {
      ++status_.begin_decryption;
    } else if (keyword == "DECRYPTION_INFO") {
      status_.cipher = small(2);
      status_.has_integrity = number(1) != 0 || number(3) != 0;
    } else if (keyword == "DECRYPTION_OKAY") {
      status_.decryption_okay = true;
    } else if (keyword == "GOODMDC") {
      status_.good_mdc = true;
    } else if (keyword == "BADMDC") {
      status_.bad_mdc = true;
    } else if (keyword == "DECRYPTION_FAILED") {
      status_.decryption_failed = true;
    } else if (keyword == "PLAINTEXT") {
      ++status_.plaintexts;
    } else if (keyword == "PLAINTEXT_LENGTH") {
      status_.plaintext_length = number(1);
    } else {
      return false;
    }
    return true;
  }

  void read_other(std::string_view keyword) {
    if (keyword == "NODATA") {
      status_.no_data = true;
    } else if (keyword == "UNEXPECTED") {
      status_.unexpected = true;
    } else if (keyword == "MISSING_PASSPHRASE" || keyword == "BAD_PASSPHRASE") {
      status_.passphrase_missing = true;
    } else if (keyword == "INV_RECP") {
      status_.invalid_recipients.push_back(word(2));
    } else if (keyword == "INV_SGNR") {
      status_.invalid_signer = true;
    } else if (keyword == "SIG_CREATED") {
      status_.signature_created = true;
    } else if (keyword == "END_ENCRYPTION") {
      status_.end_encryption = true;
    } else if (keyword == "ERROR" || keyword == "FAILURE") {
      status_.errors.push_back(small(2));
      if (status_.errors.back() == error_no_pinentry) status_.passphrase_missing = true;
    }
  }

  GpgStatus status_;
  std::vector<std::string_view> words_;
};

}  // namespace

GpgStatus parse_status(std::string_view text) {
  StatusReader reader;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    if (line.starts_with(line_mark)) reader.read_line(line.substr(line_mark.size()));
    at = end + 1;
  }
  return reader.take();
}

}  // namespace sallyport::pgp

#include "daemon/partners/ssh_key.h"

#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/decoder.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/bytes.h"
#include "base/c_handle.h"

namespace sallyport::daemon {
namespace {

using Bignum = base::CHandle<BIGNUM, BN_free>;
using Bio = base::CHandle<BIO, BIO_free_all>;
using PublicKey = base::CHandle<EVP_PKEY, EVP_PKEY_free>;
using Decoder = base::CHandle<OSSL_DECODER_CTX, OSSL_DECODER_CTX_free>;
using Group = base::CHandle<EC_GROUP, EC_GROUP_free>;
using Point = base::CHandle<EC_POINT, EC_POINT_free>;

constexpr std::size_t largest_key_file = 64 * 1024;
constexpr unsigned least_rsa_bits = 2048;
constexpr unsigned most_rsa_bits = 16384;  // OpenSSH's own limit

SshKeyResult refuse(std::string sentence) {
  return {std::nullopt, std::move(sentence)};
}

// RFC 4251 strings out of a blob; nothing of it is trusted.
class BlobReader {
 public:
  explicit BlobReader(std::string_view blob) : rest_(blob) {}

  std::optional<std::string_view> string() {
    if (rest_.size() < 4) return std::nullopt;
    std::uint32_t length = 0;
    for (int i = 0; i < 4; ++i) {
      length = (length << 8) | static_cast<unsigned char>(rest_[static_cast<std::size_t>(i)]);
    }
    if (rest_.size() - 4 < length) return std::nullopt;
    const std::string_view value = rest_.substr(4, length);
    rest_.remove_prefix(4 + length);
    return value;
  }
  [[nodiscard]] bool at_end() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

// A positive number in its shortest form.
Bignum read_number(BlobReader& reader) {
  const auto bytes = reader.string();
  if (!bytes || bytes->empty() || (static_cast<unsigned char>((*bytes)[0]) & 0x80) != 0) return {};
  if ((*bytes)[0] == 0 &&
      (bytes->size() == 1 || (static_cast<unsigned char>((*bytes)[1]) & 0x80) == 0)) {
    return {};
  }
  return Bignum(BN_bin2bn(reinterpret_cast<const unsigned char*>(bytes->data()),
                          static_cast<int>(bytes->size()), nullptr));
}

void put_string(std::string& blob, std::string_view value) {
  for (int shift = 24; shift >= 0; shift -= 8) {
    blob += static_cast<char>((value.size() >> shift) & 0xff);
  }
  blob += value;
}

void put_number(std::string& blob, const BIGNUM* number) {
  std::string bytes(static_cast<std::size_t>(BN_num_bytes(number)), '\0');
  BN_bn2bin(number, reinterpret_cast<unsigned char*>(bytes.data()));
  if (!bytes.empty() && (static_cast<unsigned char>(bytes[0]) & 0x80) != 0)
    bytes.insert(0, 1, '\0');
  put_string(blob, bytes);
}

struct Curve {
  std::string_view name;  // in SSH
  int nid;
  std::string_view group;  // in OpenSSL
  unsigned bits;
};
constexpr std::array<Curve, 3> curves{{{"nistp256", NID_X9_62_prime256v1, "prime256v1", 256},
                                       {"nistp384", NID_secp384r1, "secp384r1", 384},
                                       {"nistp521", NID_secp521r1, "secp521r1", 521}}};

bool is_on_curve(const Curve& curve, std::string_view point) {
  const Group group(EC_GROUP_new_by_curve_name(curve.nid));
  if (!group) return false;
  const Point parsed(EC_POINT_new(group.get()));
  // Uncompressed only; oct2point checks that it is on the curve.
  return parsed && !point.empty() && point[0] == 4 &&
         EC_POINT_oct2point(group.get(), parsed.get(),
                            reinterpret_cast<const unsigned char*>(point.data()), point.size(),
                            nullptr) == 1;
}

SshKeyResult accept(std::string_view type, std::string_view blob, unsigned bits) {
  SshPublicKey key;
  key.type = type;
  key.blob = blob;
  key.bits = bits;
  key.fingerprint = ssh_fingerprint(blob);
  return {std::move(key), {}};
}

SshKeyResult judge_rsa(BlobReader& reader, std::string_view blob) {
  const Bignum exponent = read_number(reader);
  const Bignum modulus = read_number(reader);
  if (!exponent || !modulus || !reader.at_end() || !BN_is_odd(exponent.get()) ||
      BN_is_one(exponent.get()) || !BN_is_odd(modulus.get())) {
    return refuse("The RSA key is damaged: send the public key file again.");
  }
  const auto bits = static_cast<unsigned>(BN_num_bits(modulus.get()));
  if (bits < least_rsa_bits) {
    return refuse(
        fmt::format("The RSA key has {} bits, which is too weak: make one of at least {} "
                    "bits (ssh-keygen -t rsa -b 3072) or an Ed25519 key.",
                    bits, least_rsa_bits));
  }
  if (bits > most_rsa_bits) {
    return refuse(
        fmt::format("The RSA key has {} bits; no more than {} are taken.", bits, most_rsa_bits));
  }
  return accept("ssh-rsa", blob, bits);
}

std::string trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == text.npos) return "";
  return std::string(text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1));
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = text.find_first_of("\r\n");
    if (auto line = trimmed(text.substr(0, end)); !line.empty()) lines.push_back(std::move(line));
    text = end == text.npos ? std::string_view{} : text.substr(end + 1);
  }
  return lines;
}

std::string clean_comment(std::string_view comment) {
  std::string clean;
  if (!base::is_utf8(comment)) return clean;
  for (const char c : comment.substr(0, 200)) {
    if (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) clean += c;
  }
  return base::is_utf8(clean) ? clean : std::string();
}

SshKeyResult parse_one_line(const std::string& line) {
  const std::size_t space = line.find_first_of(" \t");
  const std::string type = line.substr(0, space);
  const std::string rest = space == line.npos ? "" : trimmed(line.substr(space));
  const std::size_t end = rest.find_first_of(" \t");
  const auto blob = base::from_base64(rest.substr(0, end));
  if (!blob || blob->empty()) {
    return refuse(
        "This is no SSH public key: send the content of the file that ends in .pub, one line that "
        "begins with ssh-rsa, ssh-ed25519 or ecdsa-sha2-.");
  }
  SshKeyResult result = judge_ssh_blob(*blob);
  if (result.key && result.key->type != type) {
    return refuse(fmt::format("The line says {} but holds a key of type {}.", type.substr(0, 40),
                              result.key->type));
  }
  if (result.key && end != rest.npos)
    result.key->comment = clean_comment(trimmed(rest.substr(end)));
  return result;
}

SshKeyResult parse_rfc4716(const std::vector<std::string>& lines) {
  std::string encoded;
  std::string comment;
  bool closed = false;
  for (std::size_t i = 1; i < lines.size(); ++i) {
    if (lines[i] == "---- END SSH2 PUBLIC KEY ----") {
      closed = i + 1 == lines.size();
      break;
    }
    if (const std::size_t colon = lines[i].find(':'); colon != std::string::npos) {
      std::string header = lines[i];
      while (header.back() == '\\' && i + 1 < lines.size()) {
        header.pop_back();
        header += lines[++i];
      }
      if (header.rfind("Comment:", 0) == 0) {
        comment = trimmed(header.substr(colon + 1));
        if (comment.size() > 1 && comment.front() == '"' && comment.back() == '"') {
          comment = comment.substr(1, comment.size() - 2);
        }
      }
    } else {
      encoded += lines[i];
    }
  }
  const auto blob = base::from_base64(encoded);
  if (!closed || !blob) return refuse("The SSH2 public key is damaged: send the file again.");
  SshKeyResult result = judge_ssh_blob(*blob);
  if (result.key) result.key->comment = clean_comment(comment);
  return result;
}

Bignum number_of(const PublicKey& key, const char* name) {
  BIGNUM* number = nullptr;
  if (EVP_PKEY_get_bn_param(key.get(), name, &number) != 1) return {};
  return Bignum(number);
}

SshKeyResult parse_pem(std::string_view text) {
  EVP_PKEY* raw = nullptr;
  const Decoder decoder(OSSL_DECODER_CTX_new_for_pkey(&raw, "PEM", nullptr, nullptr,
                                                      EVP_PKEY_PUBLIC_KEY, nullptr, nullptr));
  const Bio input(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  const bool decoded = decoder && input && OSSL_DECODER_from_bio(decoder.get(), input.get()) == 1;
  const PublicKey key(raw);
  ERR_clear_error();
  if (!decoded || !key) return refuse("The PEM public key is damaged: send the file again.");
  std::string blob;
  if (EVP_PKEY_is_a(key.get(), "RSA") == 1) {
    const Bignum exponent = number_of(key, OSSL_PKEY_PARAM_RSA_E);
    const Bignum modulus = number_of(key, OSSL_PKEY_PARAM_RSA_N);
    if (!exponent || !modulus) return refuse("The PEM public key is damaged: send the file again.");
    put_string(blob, "ssh-rsa");
    put_number(blob, exponent.get());
    put_number(blob, modulus.get());
    return judge_ssh_blob(blob);
  }
  if (EVP_PKEY_is_a(key.get(), "ED25519") == 1) {
    std::string raw_key(32, '\0');
    std::size_t size = raw_key.size();
    if (EVP_PKEY_get_raw_public_key(key.get(), reinterpret_cast<unsigned char*>(raw_key.data()),
                                    &size) != 1) {
      return refuse("The PEM public key is damaged: send the file again.");
    }
    put_string(blob, "ssh-ed25519");
    put_string(blob, raw_key);
    return judge_ssh_blob(blob);
  }
  if (EVP_PKEY_is_a(key.get(), "EC") == 1) {
    std::array<char, 64> group{};
    std::size_t length = 0;
    std::array<unsigned char, 256> point{};
    std::size_t size = 0;
    if (EVP_PKEY_get_utf8_string_param(key.get(), OSSL_PKEY_PARAM_GROUP_NAME, group.data(),
                                       group.size(), &length) == 1 &&
        EVP_PKEY_get_octet_string_param(key.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(),
                                        point.size(), &size) == 1) {
      for (const Curve& curve : curves) {
        if (curve.group != std::string_view(group.data(), length)) continue;
        put_string(blob, fmt::format("ecdsa-sha2-{}", curve.name));
        put_string(blob, curve.name);
        put_string(blob, {reinterpret_cast<const char*>(point.data()), size});
        return judge_ssh_blob(blob);
      }
    }
    return refuse("ECDSA keys are taken on the curves P-256, P-384 and P-521 only.");
  }
  return refuse("Keys are taken of the types RSA, Ed25519 and ECDSA only.");
}

}  // namespace

std::string ssh_fingerprint(std::string_view blob) {
  const base::Sha256 digest = base::sha256(blob);
  std::string text = base::to_base64({reinterpret_cast<const char*>(digest.data()), digest.size()});
  while (!text.empty() && text.back() == '=') text.pop_back();
  return "SHA256:" + text;
}

SshKeyResult judge_ssh_blob(std::string_view blob) {
  BlobReader reader(blob);
  const auto type = reader.string();
  if (!type) return refuse("The key is damaged: send the public key file again.");
  if (*type == "ssh-rsa") return judge_rsa(reader, blob);
  if (*type == "ssh-ed25519") {
    const auto key = reader.string();
    if (!key || key->size() != 32 || !reader.at_end()) {
      return refuse("The Ed25519 key is damaged: send the public key file again.");
    }
    return accept(*type, blob, 256);
  }
  for (const Curve& curve : curves) {
    if (*type != fmt::format("ecdsa-sha2-{}", curve.name)) continue;
    const auto name = reader.string();
    const auto point = reader.string();
    if (!name || *name != curve.name || !point || !reader.at_end() || !is_on_curve(curve, *point)) {
      return refuse("The ECDSA key is damaged: send the public key file again.");
    }
    return accept(*type, blob, curve.bits);
  }
  if (*type == "ssh-dss") {
    return refuse("DSA keys are too weak and are not taken: make an Ed25519 or RSA key.");
  }
  if (type->find("-cert-v") != type->npos) {
    return refuse("This is an SSH certificate: send the plain public key.");
  }
  if (type->substr(0, 3) == "sk-") {
    return refuse(
        "Keys on security tokens (sk-...) are not supported: make an Ed25519 or RSA key.");
  }
  return refuse("Keys are taken of the types RSA, Ed25519 and ECDSA (P-256, P-384, P-521) only.");
}

SshKeyResult parse_ssh_key(std::string_view text) {
  if (text.size() > largest_key_file) return refuse("This is too large for a public key.");
  if (text.find("PRIVATE KEY") != text.npos || text.find("PuTTY-User-Key-File") != text.npos) {
    return refuse(
        "This is a private key. It must never leave its owner: treat it as stolen, make a new pair "
        "and send the public key only.");
  }
  const auto lines = lines_of(text);
  if (lines.empty()) return refuse("There is no key in it.");
  if (lines[0] == "---- BEGIN SSH2 PUBLIC KEY ----") return parse_rfc4716(lines);
  if (lines[0].rfind("-----BEGIN ", 0) == 0) return parse_pem(text);
  std::vector<std::string> keys;
  std::copy_if(lines.begin(), lines.end(), std::back_inserter(keys),
               [](const std::string& line) { return line[0] != '#'; });
  if (keys.size() != 1) return refuse("There must be exactly one key in it.");
  return parse_one_line(keys[0]);
}

}  // namespace sallyport::daemon

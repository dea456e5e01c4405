// The few requests of the S3 protocol that a backup needs, through libcurl and its own signature
// (AWS Signature Version 4). Works with any store that speaks it, path-style or virtual-host style.
//
// Threads: one client a thread. Failures: BackupError that names the store, the status and what the
// store said; server errors (5xx, 429) and lost connections are tried three times before that.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/secret.h"

namespace sallyport::daemon {

struct S3Settings {
  std::string endpoint;  ///< "https://s3.example.com" or "http://127.0.0.1:9000"
  std::string bucket;
  std::string region;
  bool path_style = false;
  std::string ca_file;  ///< empty: the system's
  std::string access_key;
  base::Secret secret_key;
};

/// Two lines, access key id and secret access key, bare or as in AWS credential files
/// ("aws_access_key_id = ..."). Throws BackupError that names the file.
void read_s3_credentials(const std::string& name, S3Settings& settings);

/// Percent-encodes all but unreserved characters and '/', as the signature wants the path.
[[nodiscard]] std::string s3_path(std::string_view key);

class S3Client {
 public:
  explicit S3Client(S3Settings settings);
  ~S3Client();
  S3Client(const S3Client&) = delete;
  S3Client& operator=(const S3Client&) = delete;

  /// A part of a file as the body of a request.
  struct Body {
    int fd = -1;
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
    base::Sha256 sha256{};
  };
  struct Answer {
    long status = 0;
    std::map<std::string, std::string> headers;  ///< names in lower case
    std::string body;                            ///< at most 1 MiB

    /// The SHA-256 that the store computed itself, if it told.
    [[nodiscard]] std::optional<base::Sha256> checksum() const;
  };
  using Query = std::vector<std::pair<std::string, std::string>>;

  /// PUT of an object or, with a query, of a part.
  Answer put(const std::string& key, const Query& query, const Body& body);
  Answer post(const std::string& key, const Query& query, const std::string& text,
              const std::map<std::string, std::string>& headers = {});
  Answer remove(const std::string& key, const Query& query);
  /// GET whose body goes to `sink`; false from it ends the transfer as a failure.
  Answer get(const std::string& key, const std::function<bool(std::string_view)>& sink);

 private:
  struct Request;
  Answer perform(const Request& request);
  Answer perform_once(const Request& request);
  S3Settings settings_;
  void* curl_;  // CURL
};

}  // namespace sallyport::daemon

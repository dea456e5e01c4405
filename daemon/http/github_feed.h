// GitHub's secret-scanning feed: reports of keys that somebody published (spec/api-keys.md 9).
//
// A report counts only with a signature over its raw bytes by a key of the pinned file
// (keys.github_keys_file: the document that GitHub serves at
// https://api.github.com/meta/public_keys/secret_scanning), which is read at each report, so that a
// new file needs no reload. Repeated reports change nothing.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "daemon/http/router.h"

namespace sallyport::daemon {

struct GitHubMatch {
  base::Sha256 value{};
  std::string url;
  std::string found_in;  ///< "commit", "gist_content", ...
};

struct GitHubFeed {
  std::function<std::string()> keys_file;  ///< path; empty: no reports are taken
  /// Flags the key whose value it is, now or earlier; false if it is no key's.
  std::function<bool(const Caller&, const GitHubMatch&)> report;
};

void add_github_route(Router& router, GitHubFeed feed);

/// True if `signature` (base64 of DER) over `body` was made by the key `identifier` of the document
/// `public_keys`. ECDSA on P-256 with SHA-256 only.
[[nodiscard]] bool github_signature_is_good(std::string_view public_keys,
                                            std::string_view identifier, std::string_view signature,
                                            std::string_view body);

}  // namespace sallyport::daemon

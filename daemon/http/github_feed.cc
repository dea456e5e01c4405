#include "daemon/http/github_feed.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/c_handle.h"
#include "base/file_io.h"
#include "base/log.h"

namespace sallyport::daemon {

namespace {

using PublicKey = base::CHandle<EVP_PKEY, EVP_PKEY_free>;

constexpr std::size_t keys_file_limit = 1 << 20;

PublicKey find_key(std::string_view public_keys, std::string_view identifier) {
  const Json document = parse_json(public_keys);
  const Json::Array* keys = document["public_keys"].if_array();
  if (keys == nullptr || identifier.empty()) return nullptr;
  for (const Json& entry : *keys) {
    const std::string* name = entry["key_identifier"].if_string();
    const std::string* pem = entry["key"].if_string();
    if (name == nullptr || pem == nullptr || *name != identifier) continue;
    const base::CHandle<BIO, BIO_free> input(
        BIO_new_mem_buf(pem->data(), static_cast<int>(pem->size())));
    PublicKey key(PEM_read_bio_PUBKEY(input.get(), nullptr, nullptr, nullptr));
    char group[64] = {};
    std::size_t size = 0;
    if (key && EVP_PKEY_is_a(key.get(), "EC") == 1 &&
        EVP_PKEY_get_group_name(key.get(), group, sizeof(group), &size) == 1 &&
        std::string_view(group, size) == "prime256v1") {
      return key;
    }
    ERR_clear_error();
  }
  return nullptr;
}

std::string read_keys(const std::string& path) {
  try {
    return base::read_file(path, keys_file_limit);
  } catch (const base::Error& error) {
    base::log_error("github.keys_unreadable", {{"path", path}},
                    "GitHub's reports cannot be checked: {}; put the document of its public keys "
                    "there (keys.github_keys_file)",
                    error.what());
    throw ProblemError(503, "KEYS_UNREADABLE", "Reports cannot be checked at the moment.");
  }
}

std::string text_of(const Json& entry, std::string_view name) {
  const std::string* text = entry[name].if_string();
  return text == nullptr ? std::string() : *text;
}

/// What cannot be kept is left out rather than holding up the other matches.
std::string cleaned(const Json& entry, std::string_view name, std::size_t most) {
  std::string text = text_of(entry, name);
  return text.size() > most || base::has_control(text) ? std::string() : text;
}

class Feed {
 public:
  explicit Feed(GitHubFeed parts) : parts_(std::move(parts)) {}

  Response take(const Request& request) const {
    const std::string path = parts_.keys_file();
    if (path.empty()) {
      throw ProblemError(404, "NOT_FOUND",
                         "There is no such resource, or it is not visible to you.");
    }
    const std::string keys = read_keys(path);
    bool good = false;
    try {
      good = github_signature_is_good(
          keys, request.header("github-public-key-identifier").value_or(""),
          request.header("github-public-key-signature").value_or(""), request.body);
    } catch (const JsonError& error) {
      base::log_error("github.keys_unreadable", {{"path", path}},
                      "{} is no document of public keys: {}", path, error.what());
      throw ProblemError(503, "KEYS_UNREADABLE", "Reports cannot be checked at the moment.");
    }
    if (!good) {
      base::log_warning("github.bad_signature", {{"source", request.peer.address}},
                        "a report from {} was refused: its signature is not by a pinned key",
                        request.peer.address);
      throw ProblemError(403, "INVALID_SIGNATURE",
                         "The signature is not by a known key over this body.");
    }
    return answer(request);
  }

 private:
  Response answer(const Request& request) const {
    const Json body = parse_json(request.body);
    const Json::Array* matches = body.if_array();
    if (matches == nullptr) {
      throw ProblemError(400, "INVALID_BODY", "The body must be an array of matches.");
    }
    for (const Json& match : *matches) {
      if (match["token"].if_string() == nullptr) {
        throw ProblemError(400, "INVALID_BODY", "Every match must have a token, a string.");
      }
    }
    Caller github;
    github.kind = CallerKind::feed;
    github.email = "github";
    github.source = request.peer.address;
    Json labels = Json::array();
    for (const Json& match : *matches) {
      GitHubMatch found;
      found.value = base::sha256(*match["token"].if_string());
      found.url = cleaned(match, "url", 2000);
      found.found_in = cleaned(match, "source", 100);
      const bool ours = parts_.report(github, found);
      labels.push(Json::object({{"token_hash", base::to_hex(found.value)},
                                {"token_type", text_of(match, "type")},
                                {"label", ours ? "true_positive" : "false_positive"}}));
    }
    return json_response(200, labels);
  }

  GitHubFeed parts_;
};

constexpr std::string_view match_schema = R"json({
"type": "object", "required": ["token"],
"properties": {"token": {"type": "string"}, "type": {"type": "string"}, "url": {"type": "string"},
               "source": {"type": "string"}}})json";
constexpr std::string_view label_schema = R"json({
"type": "object", "required": ["token_hash", "token_type", "label"],
"properties": {"token_hash": {"type": "string"}, "token_type": {"type": "string"},
               "label": {"type": "string", "enum": ["true_positive", "false_positive"]}}})json";

}  // namespace

bool github_signature_is_good(std::string_view public_keys, std::string_view identifier,
                              std::string_view signature, std::string_view body) {
  const auto der = base::from_base64(signature);
  const PublicKey key = find_key(public_keys, identifier);
  if (!der || !key) return false;
  const base::CHandle<EVP_MD_CTX, EVP_MD_CTX_free> context(EVP_MD_CTX_new());
  const auto bytes = [](std::string_view text) {
    return reinterpret_cast<const unsigned char*>(text.data());
  };
  const bool good =
      context &&
      EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, key.get()) == 1 &&
      EVP_DigestVerify(context.get(), bytes(*der), der->size(), bytes(body), body.size()) == 1;
  ERR_clear_error();
  return good;
}

void add_github_route(Router& router, GitHubFeed parts) {
  router.schema("GitHubMatch", match_schema);
  router.schema("GitHubLabel", label_schema);
  router
      .add(Method::post, "/exposures/github", Access::anybody(),
           [feed = Feed(std::move(parts))](const Request& request, const Params&) {
             return feed.take(request);
           })
      .describe("GitHub's report of published keys, signed over the raw body")
      .takes("[]GitHubMatch")
      .answers(200, "[]GitHubLabel")
      .answers(403, "Problem");
}

}  // namespace sallyport::daemon

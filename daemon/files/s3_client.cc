#include "daemon/files/s3_client.h"

#include <curl/curl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <mutex>
#include <thread>

#include "base/c_handle.h"
#include "daemon/files/backup.h"

namespace sallyport::daemon {
namespace {

constexpr std::size_t answer_limit = 1 << 20;
constexpr long connect_timeout_s = 15;
/// A transfer that moves less than this for so long is dead.
constexpr long slow_bytes_per_s = 1024;
constexpr long slow_time_s = 60;
constexpr int attempts = 3;

using Headers = base::CHandle<curl_slist, curl_slist_free_all>;

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) {
    return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  });
  return text;
}

std::string trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return "";
  return std::string(text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1));
}

std::string encode(std::string_view text, std::string_view also_plain) {
  static constexpr std::string_view digits = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_' || c == '~' ||
                       also_plain.find(c) != std::string_view::npos;
    if (plain) {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += '%';
    out += digits[byte >> 4];
    out += digits[byte & 15];
  }
  return out;
}

/// What an S3 error document says, for people.
std::string explanation(const std::string& body) {
  const auto between = [&](const std::string& tag) -> std::string {
    const auto from = body.find("<" + tag + ">");
    const auto to = body.find("</" + tag + ">");
    if (from == std::string::npos || to == std::string::npos || to < from) return "";
    return body.substr(from + tag.size() + 2, to - from - tag.size() - 2);
  };
  std::string text = between("Code");
  if (const std::string message = between("Message"); !message.empty()) text += ": " + message;
  if (text.size() > 300) text.resize(300);
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  return text;
}

struct Reader {
  int fd;
  std::uint64_t offset;
  std::uint64_t left;
};

std::size_t read_body(char* buffer, std::size_t size, std::size_t count, void* data) {
  auto& reader = *static_cast<Reader*>(data);
  const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(size * count, reader.left));
  if (wanted == 0) return 0;
  const ssize_t got = ::pread(reader.fd, buffer, wanted, static_cast<off_t>(reader.offset));
  if (got <= 0) return CURL_READFUNC_ABORT;  // shorter than it was: the digest would not fit either
  reader.offset += static_cast<std::uint64_t>(got);
  reader.left -= static_cast<std::uint64_t>(got);
  return static_cast<std::size_t>(got);
}

struct Writer {
  std::string* text;
  const std::function<bool(std::string_view)>* sink;
  CURL* curl;
};

std::size_t write_body(char* buffer, std::size_t size, std::size_t count, void* data) {
  const auto& writer = *static_cast<Writer*>(data);
  const std::string_view piece(buffer, size * count);
  long status = 0;
  curl_easy_getinfo(writer.curl, CURLINFO_RESPONSE_CODE, &status);
  if (writer.sink != nullptr && status >= 200 && status < 300) {
    try {
      return (*writer.sink)(piece) ? piece.size() : 0;
    } catch (...) {
      return 0;  // nothing may be thrown through the library; the short count fails the transfer
    }
  }
  writer.text->append(piece.substr(0, answer_limit - std::min(answer_limit, writer.text->size())));
  return piece.size();
}

std::size_t write_header(char* buffer, std::size_t size, std::size_t count, void* data) {
  auto& headers = *static_cast<std::map<std::string, std::string>*>(data);
  const std::string_view line(buffer, size * count);
  if (line.starts_with("HTTP/")) headers.clear();  // an interim answer came before
  if (const auto colon = line.find(':'); colon != std::string_view::npos && headers.size() < 100) {
    headers[lower(trimmed(line.substr(0, colon)))] = trimmed(line.substr(colon + 1));
  }
  return line.size();
}

std::string_view view(const base::Sha256& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

}  // namespace

struct S3Client::Request {
  std::string method;
  std::string key;
  const Query& query;
  const Body* body = nullptr;
  const std::string* text = nullptr;
  std::map<std::string, std::string> headers;
  const std::function<bool(std::string_view)>* sink = nullptr;
};

void read_s3_credentials(const std::string& name, S3Settings& settings) {
  const base::Secret file = base::read_secret(name);
  std::string_view rest = file.reveal();
  while (!rest.empty()) {
    const auto end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    const auto equals = std::min(line.find('='), line.size());
    const std::string field = lower(trimmed(line.substr(0, equals)));
    std::string value = trimmed(line.substr(std::min(equals + 1, line.size())));
    if (field == "access_key" || field == "aws_access_key_id") {
      settings.access_key = value;
    } else if (field == "secret_key" || field == "aws_secret_access_key") {
      settings.secret_key = base::Secret(std::move(value));
    } else if (std::string bare = trimmed(line); !bare.empty() && bare.front() != '[') {
      if (settings.access_key.empty()) {
        settings.access_key = std::move(bare);
      } else if (settings.secret_key.empty()) {
        settings.secret_key = base::Secret(std::move(bare));
      }
    }
    base::wipe(value);
  }
  if (settings.access_key.empty() || settings.secret_key.empty()) {
    throw BackupError("The credential file " + name +
                      " needs two lines: the access key id, then the secret access key");
  }
}

std::string s3_path(std::string_view key) {
  return encode(key, "/");
}

std::optional<base::Sha256> S3Client::Answer::checksum() const {
  const auto header = headers.find("x-amz-checksum-sha256");
  if (header == headers.end()) return std::nullopt;
  // "<base64>-<parts>" is a checksum of checksums: not what we ask for here.
  const auto bytes = base::from_base64(header->second);
  base::Sha256 digest{};
  if (!bytes || bytes->size() != digest.size()) return std::nullopt;
  std::copy(bytes->begin(), bytes->end(), digest.begin());
  return digest;
}

S3Client::S3Client(S3Settings settings) : settings_(std::move(settings)) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  curl_ = curl_easy_init();
  if (curl_ == nullptr) throw BackupError("libcurl cannot be used (out of memory?)");
}

S3Client::~S3Client() {
  curl_easy_cleanup(curl_);
}

S3Client::Answer S3Client::put(const std::string& key, const Query& query, const Body& body) {
  return perform({"PUT",
                  key,
                  query,
                  &body,
                  nullptr,
                  {{"x-amz-checksum-sha256", base::to_base64(view(body.sha256))}},
                  nullptr});
}

S3Client::Answer S3Client::post(const std::string& key, const Query& query, const std::string& text,
                                const std::map<std::string, std::string>& headers) {
  return perform({"POST", key, query, nullptr, &text, headers, nullptr});
}

S3Client::Answer S3Client::remove(const std::string& key, const Query& query) {
  return perform({"DELETE", key, query, nullptr, nullptr, {}, nullptr});
}

S3Client::Answer S3Client::get(const std::string& key,
                               const std::function<bool(std::string_view)>& sink) {
  return perform({"GET", key, {}, nullptr, nullptr, {}, &sink});
}

S3Client::Answer S3Client::perform(const Request& request) {
  for (int attempt = 1;; ++attempt) {
    std::string trouble;
    try {
      Answer answer = perform_once(request);
      if (answer.status < 300) return answer;
      trouble = "answered " + std::to_string(answer.status);
      if (const std::string text = explanation(answer.body); !text.empty()) {
        trouble += " (" + text + ")";
      }
      const bool worth_a_retry = answer.status >= 500 || answer.status == 429;
      if (!worth_a_retry || attempt == attempts) {
        throw BackupError("The object store at " + settings_.endpoint + ", bucket " +
                          settings_.bucket + ", " + trouble + " to " + request.method + " " +
                          request.key);
      }
    } catch (const base::SystemError& error) {
      // A sink has taken part of the body already: only the caller can begin again.
      if (attempt == attempts || request.sink != nullptr) throw BackupError(error.what());
    }
    std::this_thread::sleep_for(std::chrono::milliseconds{200} * attempt);
  }
}

S3Client::Answer S3Client::perform_once(const Request& request) {
  CURL* const curl = curl_;
  curl_easy_reset(curl);
  const auto scheme = settings_.endpoint.find("://");
  std::string url = settings_.endpoint;
  while (!url.empty() && url.back() == '/') url.pop_back();
  if (settings_.path_style) {
    url += "/" + encode(settings_.bucket, "");
  } else if (scheme != std::string::npos) {
    url.insert(scheme + 3, settings_.bucket + ".");
  }
  url += "/" + s3_path(request.key);
  // Sorted and with '=' even without a value: as the signature's canonical form has it.
  auto query = request.query;
  std::sort(query.begin(), query.end());
  char separator = '?';
  for (const auto& [name, value] : query) {
    url += separator + encode(name, "") + "=" + encode(value, "");
    separator = '&';
  }

  std::string payload_hash;
  if (request.body != nullptr) {
    payload_hash = base::to_hex(request.body->sha256);
  } else {
    payload_hash =
        base::to_hex(base::sha256(request.text != nullptr ? std::string_view(*request.text) : ""));
  }
  Headers headers;
  const auto add_header = [&headers](const std::string& line) {
    curl_slist* longer = curl_slist_append(headers.get(), line.c_str());
    if (longer == nullptr) throw BackupError("Out of memory");
    static_cast<void>(headers.release());
    headers.reset(longer);
  };
  add_header("x-amz-content-sha256: " + payload_hash);
  for (const auto& [name, value] : request.headers) add_header(name + ": " + value);
  if (request.body != nullptr) add_header("Content-Type: application/octet-stream");
  if (request.text != nullptr) add_header("Content-Type: application/xml");

  std::array<char, CURL_ERROR_SIZE> error{};
  Answer answer;
  Reader reader{};
  Writer writer{&answer.body, request.sink, curl};
  const std::string sign = "aws:amz:" + settings_.region + ":s3";
  std::string login = settings_.access_key + ":" + std::string(settings_.secret_key.reveal());
  const auto set = [&](CURLoption option, auto value) {
    const CURLcode code = curl_easy_setopt(curl, option, value);
    if (code != CURLE_OK) {
      throw BackupError(std::string("libcurl refuses a setting: ") + curl_easy_strerror(code));
    }
  };
  set(CURLOPT_ERRORBUFFER, error.data());
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_URL, url.c_str());
  set(CURLOPT_PATH_AS_IS, 1L);
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_FOLLOWLOCATION, 0L);
  set(CURLOPT_AWS_SIGV4, sign.c_str());
  set(CURLOPT_USERPWD, login.c_str());
  base::wipe(login);  // libcurl has its own copy
  set(CURLOPT_HTTPHEADER, headers.get());
  set(CURLOPT_CONNECTTIMEOUT, connect_timeout_s);
  set(CURLOPT_LOW_SPEED_LIMIT, slow_bytes_per_s);
  set(CURLOPT_LOW_SPEED_TIME, slow_time_s);
  set(CURLOPT_WRITEFUNCTION, write_body);
  set(CURLOPT_WRITEDATA, &writer);
  set(CURLOPT_HEADERFUNCTION, write_header);
  set(CURLOPT_HEADERDATA, &answer.headers);
  if (!settings_.ca_file.empty()) set(CURLOPT_CAINFO, settings_.ca_file.c_str());
  if (request.body != nullptr) {
    reader = Reader{request.body->fd, request.body->offset, request.body->size};
    set(CURLOPT_UPLOAD, 1L);
    set(CURLOPT_READFUNCTION, read_body);
    set(CURLOPT_READDATA, &reader);
    set(CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(request.body->size));
    set(CURLOPT_EXPECT_100_TIMEOUT_MS, 200L);
  } else if (request.text != nullptr) {
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.text->size()));
    set(CURLOPT_POSTFIELDS, request.text->c_str());
  } else if (request.method != "GET") {
    set(CURLOPT_CUSTOMREQUEST, request.method.c_str());
  }
  const CURLcode code = curl_easy_perform(curl);
  if (code != CURLE_OK) {
    throw base::SystemError(EIO, "talk to the object store at " + settings_.endpoint + " (" +
                                     (error[0] != '\0' ? error.data() : curl_easy_strerror(code)) +
                                     ")");
  }
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer.status);
  return answer;
}

}  // namespace sallyport::daemon

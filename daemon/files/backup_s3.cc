// The backup in an S3-compatible object store.
#include <algorithm>
#include <vector>

#include <unistd.h>

#include "base/error.h"
#include "base/page_buffer.h"
#include "daemon/files/backup.h"
#include "daemon/files/s3_client.h"

namespace sallyport::daemon {
namespace {

/// Above this, in parts; below, one request. A store takes at most 10,000 parts of at least 5 MiB.
constexpr std::uint64_t single_limit = 64ULL << 20;
constexpr std::uint64_t least_part = 16ULL << 20;
constexpr std::uint64_t most_parts = 9000;

base::Sha256 digest_range(int fd, std::uint64_t offset, std::uint64_t size) {
  base::Sha256Stream stream;
  const base::PageBuffer buffer(256 * 1024);
  while (size > 0) {
    const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), size));
    const ssize_t got = ::pread(fd, buffer.data(), wanted, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) throw base::SystemError(got < 0 ? errno : EIO, "read a file for the backup");
    stream.update(buffer.first(static_cast<std::size_t>(got)));
    offset += static_cast<std::uint64_t>(got);
    size -= static_cast<std::uint64_t>(got);
  }
  return stream.finish();
}

std::string element(const std::string& document, const std::string& name) {
  const auto from = document.find("<" + name + ">");
  const auto to = document.find("</" + name + ">", from == std::string::npos ? 0 : from);
  if (from == std::string::npos || to == std::string::npos) return "";
  return document.substr(from + name.size() + 2, to - from - name.size() - 2);
}

std::string escape_xml(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '"') {
      out += "&quot;";
    } else {
      out += c;
    }
  }
  return out;
}

S3Settings settings_of(const Config& config) {
  const auto& backup = config.backup;
  S3Settings settings;
  settings.endpoint = backup.s3_endpoint;
  settings.bucket = backup.s3_bucket;
  settings.region = backup.s3_region;
  settings.path_style = backup.s3_path_style;
  settings.ca_file = backup.s3_ca_file;
  read_s3_credentials(backup.s3_credentials_file, settings);
  return settings;
}

class S3Target final : public BackupTarget {
 public:
  explicit S3Target(const Config& config)
      : client_(settings_of(config)),
        bucket_(config.backup.s3_bucket),
        prefix_(config.backup.s3_prefix) {}

  std::string put(int fd, const std::string& key, std::uint64_t size,
                  const base::Sha256& sha256) override {
    std::string name = prefix_;
    if (!name.empty() && name.back() != '/') name += '/';
    name += key;
    const bool checked =
        size > single_limit ? put_parts(fd, name, size) : put_whole(fd, name, size, sha256);
    if (!checked) read_back(name, size, sha256);
    return "s3://" + bucket_ + "/" + name;
  }

  void fetch(const std::string& location, int fd) override {
    const std::string start = "s3://" + bucket_ + "/";
    if (!location.starts_with(start)) {
      throw BackupError(location + " is in another bucket than backup.s3_bucket (" + bucket_ +
                        "); set that to get it");
    }
    off_t at = 0;
    client_.get(location.substr(start.size()), [&](std::string_view piece) {
      while (!piece.empty()) {
        const ssize_t put = ::pwrite(fd, piece.data(), piece.size(), at);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return false;
        at += put;
        piece.remove_prefix(static_cast<std::size_t>(put));
      }
      return true;
    });
  }

 private:
  // Both return whether the store's own checksum says that everything arrived.
  bool put_whole(int fd, const std::string& name, std::uint64_t size, const base::Sha256& sha256) {
    const auto answer = client_.put(name, {}, {fd, 0, size, sha256});
    return answer.checksum() == sha256;
  }

  bool put_parts(int fd, const std::string& name, std::uint64_t size) {
    const auto begun =
        client_.post(name, {{"uploads", ""}}, "", {{"x-amz-checksum-algorithm", "SHA256"}});
    const std::string upload = element(begun.body, "UploadId");
    if (upload.empty()) throw BackupError("The object store gave no id for an upload in parts");
    try {
      return send_parts(fd, name, size, upload);
    } catch (...) {
      abandon(name, upload);
      throw;
    }
  }

  bool send_parts(int fd, const std::string& name, std::uint64_t size, const std::string& upload) {
    const std::uint64_t part_size = std::max(least_part, size / most_parts + 1);
    bool all_checked = true;
    std::string list = "<CompleteMultipartUpload>";
    unsigned number = 0;
    for (std::uint64_t offset = 0; offset < size; offset += part_size) {
      const std::uint64_t length = std::min(part_size, size - offset);
      const base::Sha256 digest = digest_range(fd, offset, length);
      ++number;
      const auto answer =
          client_.put(name, {{"partNumber", std::to_string(number)}, {"uploadId", upload}},
                      {fd, offset, length, digest});
      const auto tag = answer.headers.find("etag");
      if (tag == answer.headers.end())
        throw BackupError("The object store gave no ETag for a part");
      const bool checked = answer.checksum() == digest;
      all_checked = all_checked && checked;
      list += "<Part><PartNumber>" + std::to_string(number) + "</PartNumber><ETag>" +
              escape_xml(tag->second) + "</ETag>";
      if (checked) {
        list +=
            "<ChecksumSHA256>" + answer.headers.at("x-amz-checksum-sha256") + "</ChecksumSHA256>";
      }
      list += "</Part>";
    }
    list += "</CompleteMultipartUpload>";
    const auto done = client_.post(name, {{"uploadId", upload}}, list);
    // This request alone may answer 200 and still have failed.
    if (done.body.find("<Error>") != std::string::npos) {
      throw BackupError("The object store could not put the parts of " + name +
                        " together: " + element(done.body, "Message"));
    }
    return all_checked;
  }

  void abandon(const std::string& name, const std::string& upload) noexcept {
    try {
      client_.remove(name, {{"uploadId", upload}});
    } catch (...) {  // the credential may not delete: the store's own rule for old parts removes it
    }
  }

  void read_back(const std::string& name, std::uint64_t size, const base::Sha256& sha256) {
    base::Sha256Stream stream;
    std::uint64_t got = 0;
    client_.get(name, [&](std::string_view piece) {
      stream.update(piece);
      got += piece.size();
      return got <= size;
    });
    if (got != size || stream.finish() != sha256) {
      throw BackupError("The object store gave something else back for " + name +
                        " than was put there");
    }
  }

  S3Client client_;
  std::string bucket_;
  std::string prefix_;
};

}  // namespace

std::unique_ptr<BackupTarget> make_s3_target(const Config& config) {
  return std::make_unique<S3Target>(config);
}

}  // namespace sallyport::daemon

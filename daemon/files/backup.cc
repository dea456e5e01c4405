#include "daemon/files/backup.h"

#include <unistd.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/file_io.h"
#include "base/log.h"
#include "daemon/files/file_json.h"
#include "daemon/files/names.h"
#include "daemon/http/json.h"

namespace sallyport::daemon {
namespace {

constexpr std::string_view directory_scheme = "dir:";
constexpr std::string_view s3_scheme = "s3://";
constexpr mode_t backup_directory_mode = 0750;

/// A name in a directory of ours that nothing is left under.
struct Leftover {
  const Directory& directory;
  const std::string name;
  ~Leftover() {
    try {
      directory.remove_file(name);
    } catch (const base::Error& error) {
      base::log_error("backup.leftover", {{"file", name}}, "{}", error.what());
    }
  }
};

class DirectoryTarget final : public BackupTarget {
 public:
  explicit DirectoryTarget(std::string root) : root_(std::move(root)) {}

  std::string put(int fd, const std::string& key, std::uint64_t size,
                  const base::Sha256& sha256) override {
    const SplitPath at = split_last(key);
    const Directory directory = Directory::open(root_).make(at.directory, backup_directory_mode);
    const std::string temporary = with_ending(at.name, ".partial");
    const Leftover never_left{directory, temporary};
    {
      const base::UniqueFd copy = directory.make_file(temporary, 0640);
      const std::string what = join(directory.path(), temporary);
      copy_content(fd, copy.get(), what);
      base::fsync_file(copy.get(), what);
    }
    // Opened again: what is compared is what the file system gives, not what we have written.
    const auto written = directory.open_file(temporary);
    if (!written) throw BackupError("The copy in " + directory.path() + " disappeared");
    const base::FileDigest digest = base::digest_file(written->get(), directory.path());
    if (digest.size != size || digest.sha256 != sha256) {
      throw BackupError("The copy in " + directory.path() + " is not what was written to it");
    }
    if (move_file(directory, temporary, directory, at.name) == Moved::name_taken) {
      // An earlier attempt came this far. Replaced, so that there is one and it was compared.
      directory.remove_file(at.name);
      if (move_file(directory, temporary, directory, at.name) != Moved::yes) {
        throw BackupError("The copy in " + directory.path() + " cannot get its name");
      }
    }
    return std::string(directory_scheme) + key;
  }

  void fetch(const std::string& location, int fd) override {
    const SplitPath at = split_last(std::string_view(location).substr(directory_scheme.size()));
    const auto directory = Directory::open(root_).find(at.directory);
    const auto file = directory ? directory->open_file(at.name) : std::nullopt;
    if (!file) throw BackupError("The backup has no " + location + " (any more)");
    copy_content(file->get(), fd, location);
  }

 private:
  std::string root_;
};

/// "acme/inbound/Invoices/2026-11/invoice-<id>.csv.pgp"
std::string key_of(const store::File& file) {
  const base::Instant at = file.received == base::Instant{} ? file.created : file.received;
  std::string key =
      join(join(file.partner, to_string(file.direction)), file.object.empty() ? "_" : file.object);
  key += '/' + base::format_date(at).substr(0, 7) + '/';
  return key + with_tag(split_last(file.name).name, file.id);
}

Directory work_directory(const Config& config) {
  base::make_directories(config.files.state);
  return Directory::open(config.files.state).make("backup", 0700);
}

/// The message as a file of that name.
base::UniqueFd seal(const FileContext& context, const std::string& key, int fd,
                    const Leftover& as) {
  as.directory.remove_file(as.name);
  pgp::Sealing sealing;
  sealing.recipients = {key};
  sealing.now = context.pgp_now();
  const std::string here = "/proc/self/fd/";
  const pgp::Outcome outcome = context.pgp.encrypt_and_sign(
      here + std::to_string(fd), here + std::to_string(as.directory.fd()) + "/" + as.name, sealing);
  if (!outcome.ok()) {
    throw BackupError("Files cannot be encrypted for the backup to " + key +
                      " (backup.encrypt_to): " + std::string(pgp::sentence(outcome.reason)));
  }
  auto sealed = as.directory.open_file(as.name);
  if (!sealed) throw BackupError("What was encrypted for the backup disappeared: " + as.name);
  return std::move(*sealed);
}

void unseal(const FileContext& context, const store::File& file, int sealed, int fd) {
  pgp::Acceptance acceptance;
  // Room for what gpg keeps in files of its own: the content is compared by its digest all the
  // same.
  acceptance.output_limit_bytes = std::max<std::uint64_t>(file.size + 1, 1U << 20);
  acceptance.now = context.pgp_now();
  const pgp::Verdict verdict = context.pgp.decrypt_and_verify(sealed, fd, acceptance);
  if (!verdict.accepted()) {
    throw BackupError("The backup of file " + file.id +
                      " cannot be decrypted with our keys: " + pgp::sentence(verdict));
  }
}

base::Sha256 digest_of(const store::File& file) {
  base::Sha256 digest{};
  const auto bytes = base::from_hex(file.sha256);
  if (!bytes || bytes->size() != digest.size()) {
    throw BackupError("The journal has no SHA-256 of file " + file.id);
  }
  std::copy(bytes->begin(), bytes->end(), digest.begin());
  return digest;
}

}  // namespace

std::unique_ptr<BackupTarget> make_directory_target(const std::string& root) {
  return std::make_unique<DirectoryTarget>(root);
}

std::unique_ptr<BackupTarget> make_backup_target(const Config& config) {
  return config.backup.target == "s3" ? make_s3_target(config)
                                      : make_directory_target(config.backup.directory);
}

std::unique_ptr<BackupTarget> backup_target_of(const Config& config, const std::string& location) {
  if (location.starts_with(directory_scheme)) return make_directory_target(config.backup.directory);
  if (location.starts_with(s3_scheme)) return make_s3_target(config);
  throw BackupError("There is no kind of backup that " + location + " could be in");
}

void put_backup(const FileContext& context, store::File& file, int fd) {
  const base::FileDigest digest = base::digest_file(fd, "original of " + file.id);
  if (digest.size != file.size || digest.sha256 != digest_of(file)) {
    throw OriginalChanged("File " + file.id + " at " + file.published_as +
                          " is no longer what was received; it is left where it is");
  }
  const auto config = context.config.get();
  const auto target = make_backup_target(*config);
  const std::string& key = config->backup.encrypt_to;
  if (key.empty() || pgp::inspect(fd).kind == pgp::Kind::encrypted) {
    file.backup_at = target->put(fd, key_of(file), digest.size, digest.sha256);
    return;
  }
  const Directory state = work_directory(*config);
  const Leftover sealed_name{state, file.id + ".sealed"};
  const base::UniqueFd sealed = seal(context, key, fd, sealed_name);
  const base::FileDigest stored = base::digest_file(sealed.get(), sealed_name.name);
  file.backup_at = target->put(sealed.get(), key_of(file) + ".pgp", stored.size, stored.sha256);
  Json facts = parse_json(file.verdict.empty() ? "{}" : file.verdict);
  facts.set("backup", Json::object({{"encrypted_to", key},
                                    {"size", static_cast<std::int64_t>(stored.size)},
                                    {"sha256", base::to_hex(stored.sha256)}}));
  file.verdict = facts.dump();
}

void fetch_backup(const FileContext& context, const store::File& file, int fd) {
  const auto config = context.config.get();
  const auto source = backup_target_of(*config, file.backup_at);
  const Json facts = parse_json(file.verdict.empty() ? "{}" : file.verdict);
  if (const std::string* const stored = facts["backup"]["sha256"].if_string()) {
    const Directory state = work_directory(*config);
    const Leftover name{state, file.id + ".fetched"};
    const base::UniqueFd sealed = state.make_file(name.name, 0600);
    source->fetch(file.backup_at, sealed.get());
    if (base::to_hex(base::digest_file(sealed.get(), name.name).sha256) != *stored) {
      throw BackupError("The backup of file " + file.id + " at " + file.backup_at +
                        " is not what was put there");
    }
    unseal(context, file, sealed.get(), fd);
  } else {
    source->fetch(file.backup_at, fd);
  }
  const base::FileDigest digest = base::digest_file(fd, "backup of " + file.id);
  if (digest.size != file.size || digest.sha256 != digest_of(file)) {
    throw BackupError("The backup of file " + file.id + " at " + file.backup_at +
                      " is not what was put there");
  }
}

}  // namespace sallyport::daemon

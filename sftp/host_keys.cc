#include "sftp/host_keys.h"

#include <libssh/libssh.h>
#include <libssh/server.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <span>
#include <utility>

#include "base/bytes.h"
#include "base/c_handle.h"
#include "base/file_io.h"
#include "base/instant.h"

namespace sallyport::sftp {
namespace {

namespace fs = std::filesystem;

using SshKey = base::CHandle<ssh_key_struct, ssh_key_free>;

struct Kind {
  ssh_keytypes_e type;
  int bits;
  const char* file;
  const char* sshfp;  ///< its number in DNS, and SHA-256's
};
constexpr std::array kinds{Kind{SSH_KEYTYPE_ED25519, 0, "ssh_host_ed25519_key", "4 2 "},
                           Kind{SSH_KEYTYPE_RSA, 3072, "ssh_host_rsa_key", "1 2 "}};

void make_set(const fs::path& directory) {
  base::make_directories(directory, 0700);
  for (const Kind& kind : kinds) {
    ssh_key raw = nullptr;
    if (ssh_pki_generate(kind.type, kind.bits, &raw) != SSH_OK) {
      throw HostKeyError("A host key could not be generated.");
    }
    const SshKey key(raw);
    char* text = nullptr;
    if (ssh_pki_export_privkey_base64(key.get(), nullptr, nullptr, nullptr, &text) != SSH_OK) {
      throw HostKeyError("A host key could not be written out.");
    }
    std::string pem(text);
    ssh_string_free_char(text);
    base::write_file_durably(directory / kind.file, pem, 0600);
    std::fill(pem.begin(), pem.end(), '\0');
  }
}

std::vector<SshKey> load_set(const fs::path& directory) {
  std::vector<SshKey> keys;
  for (const Kind& kind : kinds) {
    const fs::path file = directory / kind.file;
    struct stat status {};
    if (::stat(file.c_str(), &status) != 0) {
      throw HostKeyError(
          "The host key " + file.string() +
          " cannot be read: " + std::error_code(errno, std::generic_category()).message() +
          ". Put it back from your backup; to get a new set, move the whole directory away.");
    }
    if ((status.st_mode & 0077) != 0) {
      throw HostKeyError("The host key " + file.string() +
                         " is open to other users: chmod 600 it.");
    }
    ssh_key raw = nullptr;
    if (ssh_pki_import_privkey_file(file.c_str(), nullptr, nullptr, nullptr, &raw) != SSH_OK) {
      throw HostKeyError("The host key " + file.string() +
                         " cannot be read or is damaged. It must belong to the user of "
                         "sallyport-sftp; put it back "
                         "from your backup.");
    }
    keys.emplace_back(raw);
  }
  return keys;
}

bool has_set(const fs::path& directory) {
  for (const Kind& kind : kinds) {
    if (fs::exists(directory / kind.file)) return true;
  }
  return false;
}

// There while two sets are being exchanged, with the keys of the first: whoever finds it, after a
// crash, goes on.
constexpr const char* half_exchanged = "exchanging";

void exchange(const fs::path& directory) {
  const fs::path old = directory / half_exchanged;
  for (const Kind& kind : kinds) {
    const fs::path in_use = directory / kind.file;
    const fs::path next = directory / "staged" / kind.file;
    if (!fs::exists(next)) continue;  // it is in use already
    if ((fs::exists(in_use) && !base::rename_durably(in_use, old / kind.file)) ||
        !base::rename_durably(next, in_use)) {
      throw HostKeyError("The host keys in " + directory.string() +
                         " could not be exchanged: look at " + old.string() + ".");
    }
  }
  // Whatever else lies there: nothing of it keeps a start from its keys.
  std::error_code left;
  if (!fs::remove(directory / "staged", left) && fs::exists(directory / "staged"))
    (void)base::rename_durably(directory / "staged", old / "staged");
  const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  const std::string retired = "retired-" + base::format_iso(now);
  if (!base::rename_durably(old, directory / retired) &&
      !base::rename_durably(old, directory / (retired + "-" + base::random_id())))
    throw HostKeyError("The host keys that were in use stay in " + old.string() + ".");
}

HostKeyLine describe(ssh_key key, bool staged) {
  HostKeyLine line;
  line.staged = staged;
  line.algorithm = ssh_key_type_to_char(ssh_key_type(key));
  const auto kind = std::find_if(kinds.begin(), kinds.end(),
                                 [key](const Kind& one) { return one.type == ssh_key_type(key); });
  const auto fingerprint = [&](ssh_publickey_hash_type type) {
    unsigned char* hash = nullptr;
    std::size_t length = 0;
    if (ssh_get_publickey_hash(key, type, &hash, &length) != 0) return std::string();
    if (type == SSH_PUBLICKEY_HASH_SHA256 && kind != kinds.end())
      line.sshfp = kind->sshfp + base::to_hex({hash, length});
    char* text = ssh_get_fingerprint_hash(type, hash, length);
    std::string result = text == nullptr ? "" : text;
    ssh_string_free_char(text);
    ssh_clean_pubkey_hash(&hash);
    return result;
  };
  line.sha256 = fingerprint(SSH_PUBLICKEY_HASH_SHA256);
  line.md5 = fingerprint(SSH_PUBLICKEY_HASH_MD5);
  char* base64 = nullptr;
  if (ssh_pki_export_pubkey_base64(key, &base64) == SSH_OK) {
    line.public_line = line.algorithm + " " + base64;
    ssh_string_free_char(base64);
  }
  return line;
}

}  // namespace

struct HostKeys::Keys {
  std::vector<SshKey> in_use;
  std::vector<SshKey> staged;
};

HostKeys::HostKeys(const fs::path& directory) : keys_(std::make_unique<Keys>()) {
  if (!has_set(directory) && !fs::exists(directory / half_exchanged)) make_set(directory);
  keys_->in_use = load_set(directory);
  if (has_set(directory / "staged")) keys_->staged = load_set(directory / "staged");
}
HostKeys::~HostKeys() = default;

void HostKeys::give_to(ssh_bind bind) const {
  for (const SshKey& key : keys_->in_use) {
    // The bind owns what it is given.
    ssh_key copy = nullptr;
    char* text = nullptr;
    if (ssh_pki_export_privkey_base64(key.get(), nullptr, nullptr, nullptr, &text) == SSH_OK) {
      (void)ssh_pki_import_privkey_base64(text, nullptr, nullptr, nullptr, &copy);
      ::explicit_bzero(text, std::strlen(text));
      ssh_string_free_char(text);
    }
    if (copy == nullptr ||
        ssh_bind_options_set(bind, SSH_BIND_OPTIONS_IMPORT_KEY, copy) != SSH_OK) {
      throw HostKeyError("A host key was refused by libssh.");
    }
  }
}

std::vector<HostKeyLine> HostKeys::list() const {
  std::vector<HostKeyLine> lines;
  for (const SshKey& key : keys_->in_use) lines.push_back(describe(key.get(), false));
  for (const SshKey& key : keys_->staged) lines.push_back(describe(key.get(), true));
  return lines;
}

bool HostKeys::exist(const fs::path& directory) {
  return has_set(directory);
}

void HostKeys::end_exchange(const fs::path& directory) {
  if (fs::exists(directory / half_exchanged)) exchange(directory);
}

void HostKeys::stage(const fs::path& directory) {
  end_exchange(directory);
  if (has_set(directory / "staged")) {
    throw HostKeyError("There is a staged set in " + (directory / "staged").string() +
                       " already: activate it, or move it away.");
  }
  make_set(directory / "staged");
}

void HostKeys::activate(const fs::path& directory) {
  if (fs::exists(directory / half_exchanged)) return exchange(directory);
  if (!has_set(directory / "staged")) {
    throw HostKeyError("There is no second set in " + directory.string() +
                       ": --stage-host-keys makes one. Nothing was changed.");
  }
  (void)load_set(directory / "staged");  // complete and readable, or nothing is touched
  base::make_directories(directory / half_exchanged, 0700);
  base::fsync_directory(directory);
  exchange(directory);
}

}  // namespace sallyport::sftp

// Engine's work on messages.

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "base/c_handle.h"
#include "base/file_io.h"
#include "pgp/engine.h"

namespace sallyport::pgp {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t no_limit = std::numeric_limits<std::uint64_t>::max();

std::uint64_t size_of(int fd, const char* what) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) throw base::SystemError(errno, fmt::format("look at {}", what));
  if (!S_ISREG(status.st_mode))
    throw PgpError(fmt::format("{} of gpg is not a regular file", what));
  return static_cast<std::uint64_t>(status.st_size);
}

/// A new file that is removed again unless it was kept.
class NewFile {
 public:
  explicit NewFile(fs::path path)
      : path_(std::move(path)), fd_(base::open_file(path_, O_RDWR | O_CREAT | O_EXCL, 0600)) {}
  ~NewFile() {
    if (!kept_) ::unlink(path_.c_str());
  }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  [[nodiscard]] int fd() const { return fd_.get(); }
  void keep() { kept_ = true; }

 private:
  fs::path path_;
  base::UniqueFd fd_;
  bool kept_ = false;
};

/// Nothing of a content that was not accepted stays readable, not even for a moment longer.
class EmptiedUnlessKept {
 public:
  explicit EmptiedUnlessKept(int fd) : fd_(fd) {}
  ~EmptiedUnlessKept() {
    if (!kept_ && ::ftruncate(fd_, 0) != 0) (void)::lseek(fd_, 0, SEEK_SET);
  }
  EmptiedUnlessKept(const EmptiedUnlessKept&) = delete;
  EmptiedUnlessKept& operator=(const EmptiedUnlessKept&) = delete;
  void keep() { kept_ = true; }

 private:
  int fd_;
  bool kept_ = false;
};

std::vector<std::string> key_ids_of(const std::vector<Key>& keys) {
  constexpr std::size_t id_length = 16;
  std::vector<std::string> ids;
  for (const Key& key : keys) {
    for (const Subkey& subkey : key.subkeys) {
      if (subkey.fingerprint.size() >= id_length)
        ids.push_back(subkey.fingerprint.substr(subkey.fingerprint.size() - id_length));
    }
  }
  return ids;
}

bool share_one(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  return std::find_first_of(a.begin(), a.end(), b.begin(), b.end()) != a.end();
}

/// gpg says "no secret key" whatever went wrong on the way to it.
Reason refine_not_for_us(const Verdict& verdict, const GpgRun& run,
                         const std::vector<std::string>& own_ids) {
  if (!share_one(verdict.recipients, own_ids)) return Reason::not_for_us;
  return share_one(run.status.no_secret_key, own_ids) ? Reason::agent_away : Reason::damaged;
}

void judge_result(Verdict& verdict, const Home::Result& result, const Acceptance& acceptance,
                  const std::vector<Key>& own_keys) {
  verdict.detail = printable_log(result.run.log);
  verdict.output_bytes = result.run.output_bytes;
  if (result.agent_away) {
    verdict.reason = Reason::agent_away;
    return;
  }
  verdict.reason = judge_run(result.run, acceptance.output_limit_bytes);
  if (verdict.reason != Reason::none) return;
  judge_message(verdict, result.run, acceptance, own_keys, now_or(acceptance.now));
  if (verdict.reason == Reason::not_for_us)
    verdict.reason = refine_not_for_us(verdict, result.run, key_ids_of(own_keys));
}

/// How a key of the keyring fails for what it is wanted for.
Reason judge_key(const std::optional<Key>& key, bool is_signer, base::Instant now) {
  if (!key) return is_signer ? Reason::signer_missing : Reason::recipient_missing;
  if (key->revoked) return is_signer ? Reason::signer_revoked : Reason::recipient_revoked;
  if (key->is_expired(now)) return is_signer ? Reason::signer_expired : Reason::recipient_expired;
  if (is_signer) {
    if (!key->has_secret) return Reason::signer_missing;
    return key->can_sign(now) ? Reason::none : Reason::signer_cannot_sign;
  }
  if (key->can_encrypt(now)) return Reason::none;
  // It could once: that is an age, not a kind of key.
  const bool could = std::any_of(key->subkeys.begin(), key->subkeys.end(),
                                 [](const Subkey& subkey) { return subkey.can_encrypt; });
  return could ? Reason::recipient_expired : Reason::recipient_cannot_encrypt;
}

std::vector<std::string> sealing_arguments(const Sealing& sealing) {
  std::vector<std::string> arguments = {"--cipher-algo", "AES256",        "--digest-algo",
                                        "SHA512",        "--no-comments", "--no-emit-version"};
  if (sealing.armour) arguments.push_back("--armor");
  if (!sealing.signer.empty()) {
    arguments.push_back("--local-user");
    arguments.push_back(sealing.signer);
  }
  return arguments;
}

Outcome refuse(Reason reason, std::string fingerprint) {
  Outcome outcome;
  outcome.reason = reason;
  outcome.fingerprint = std::move(fingerprint);
  return outcome;
}

/// gpg would take anything as a search pattern.
std::optional<Outcome> refuse_bad_fingerprints(const Sealing& sealing) {
  for (const std::string& recipient : sealing.recipients) {
    if (!is_fingerprint(recipient)) return refuse(Reason::recipient_missing, recipient);
  }
  if (!sealing.signer.empty() && !is_fingerprint(sealing.signer))
    return refuse(Reason::signer_missing, sealing.signer);
  return std::nullopt;
}

}  // namespace

Verdict Engine::decrypt_and_verify(const fs::path& input, const fs::path& output,
                                   const Acceptance& acceptance) {
  const base::UniqueFd from = base::open_file(input, O_RDONLY);
  NewFile to(output);
  Verdict verdict = decrypt_and_verify(from.get(), to.fd(), acceptance);
  if (verdict.accepted()) to.keep();
  return verdict;
}

Verdict Engine::decrypt_and_verify(int input, int output, const Acceptance& acceptance) {
  Verdict verdict;
  verdict.input_bytes = size_of(input, "the input");
  (void)size_of(output, "the output");
  verdict.inspection = inspect(input);
  verdict.recipients = verdict.inspection.recipients;
  if (!implementation_->home.is_ready()) {
    verdict.reason = Reason::agent_away;
    return verdict;
  }
  const auto own_keys = implementation_->own_keys();
  verdict.reason = judge_form(verdict.inspection, acceptance, key_ids_of(*own_keys));
  if (verdict.reason != Reason::none) return verdict;

  GpgJob job;
  // Who hides may be one of others than us: gpg need not try all our keys for them.
  job.arguments = {"--skip-hidden-recipients", "--decrypt"};
  job.input = input;
  job.output = output;
  job.input_bytes = verdict.input_bytes;
  job.output_limit_bytes = acceptance.output_limit_bytes;
  job.now = acceptance.now;
  job.deadline = acceptance.deadline;
  EmptiedUnlessKept content(output);
  const Verdict before = verdict;
  const auto open_once = [&] {
    verdict = before;
    judge_result(verdict, implementation_->home.run(job), acceptance, *own_keys);
  };
  open_once();
  // For a key of ours, and none of them opened it. gpg says no more where its talk with the agent
  // broke off than where the message was changed; the one does not happen twice.
  if (verdict.reason == Reason::damaged && verdict.decrypted_by.empty()) open_once();
  if (verdict.accepted()) content.keep();
  return verdict;
}

Verdict Engine::verify_detached(const fs::path& data, const fs::path& signature,
                                const Acceptance& acceptance) {
  const base::UniqueFd data_file = base::open_file(data, O_RDONLY);
  const base::UniqueFd signature_file = base::open_file(signature, O_RDONLY);
  Verdict verdict;
  verdict.input_bytes = size_of(data_file.get(), "the data");
  verdict.inspection = inspect(signature_file.get());
  if (verdict.inspection.kind != Kind::detached_signature) {
    verdict.reason = Reason::not_pgp;
  } else if (verdict.inspection.is_malformed) {
    verdict.reason = Reason::malformed;
  } else if (verdict.inspection.has_extra_data) {
    verdict.reason = Reason::extra_data;
  } else if (!verdict.inspection.is_complete) {
    verdict.reason = Reason::truncated;
  }
  if (verdict.reason != Reason::none) return verdict;

  GpgJob job;
  job.arguments = {"--verify", "--", "-", "-&4"};
  job.input = signature_file.get();
  job.data = data_file.get();
  job.input_bytes = verdict.input_bytes;
  job.now = acceptance.now;
  job.deadline = acceptance.deadline;
  const Home::Result result = implementation_->home.run(job);
  judge_result(verdict, result, acceptance, {});
  // No signature in it is not what was asked for, whatever the policy says about messages.
  if (verdict.accepted() && verdict.signatures.empty()) verdict.reason = Reason::signature_missing;
  return verdict;
}

Outcome Engine::encrypt_and_sign(const fs::path& input, const fs::path& output,
                                 const Sealing& sealing) {
  if (sealing.recipients.empty() && sealing.signer.empty())
    throw PgpError(
        "a file is to be made for nobody and signed by nobody; name a recipient or a signer");
  if (auto refused = refuse_bad_fingerprints(sealing)) return *refused;
  const base::UniqueFd from = base::open_file(input, O_RDONLY);
  NewFile to(output);
  GpgJob job;
  job.arguments = sealing_arguments(sealing);
  for (const std::string& recipient : sealing.recipients) {
    job.arguments.push_back("--recipient");
    job.arguments.push_back(recipient);
  }
  if (!sealing.signer.empty()) job.arguments.push_back("--sign");
  if (!sealing.recipients.empty()) job.arguments.push_back("--encrypt");
  job.input = from.get();
  job.output = to.fd();
  job.input_bytes = size_of(from.get(), "the input");
  Outcome outcome = implementation_->make(job, sealing, nullptr);
  if (outcome.ok()) to.keep();
  return outcome;
}

Outcome Engine::sign_detached(const fs::path& data, const fs::path& output,
                              const Sealing& sealing) {
  Sealing signing = sealing;
  signing.recipients.clear();
  if (!is_fingerprint(signing.signer)) return refuse(Reason::signer_missing, signing.signer);
  const base::UniqueFd from = base::open_file(data, O_RDONLY);
  NewFile to(output);
  GpgJob job;
  job.arguments = sealing_arguments(signing);
  job.arguments.push_back("--detach-sign");
  job.input = from.get();
  job.output = to.fd();
  job.input_bytes = size_of(from.get(), "the data");
  Outcome outcome = implementation_->make(job, signing, nullptr);
  if (outcome.ok()) to.keep();
  return outcome;
}

Outcome Engine::clear_sign(std::string_view text, const std::string& signer,
                           std::string& signed_text, std::optional<base::Instant> now) {
  Sealing sealing;
  sealing.signer = signer;
  sealing.now = now;
  if (!is_fingerprint(signer)) return refuse(Reason::signer_missing, signer);
  std::string lines(text);
  if (!lines.ends_with('\n')) lines += '\n';
  GpgJob job;
  job.arguments = sealing_arguments(sealing);
  job.arguments.push_back("--clear-sign");
  job.text = lines;
  job.input_bytes = lines.size();
  constexpr std::size_t frame = 16384;
  job.text_limit = 2 * lines.size() + frame;  // a dash at the start of a line becomes three bytes
  signed_text.clear();
  Outcome outcome = implementation_->make(job, sealing, &signed_text);
  if (!outcome.ok()) signed_text.clear();
  return outcome;
}

Outcome Engine::Implementation::make(const GpgJob& wanted, const Sealing& sealing,
                                     std::string* text) {
  GpgJob job = wanted;
  job.output_limit_bytes = no_limit;
  job.now = sealing.now;
  job.deadline = sealing.deadline;
  Home::Result result = home.run(job);
  const GpgStatus& status = result.run.status;
  const bool is_done = result.run.process.exit_code == 0 &&
                       (sealing.recipients.empty() || status.end_encryption) &&
                       (sealing.signer.empty() || status.signature_created);
  if (!is_done) return explain_failure(result, sealing);
  Outcome outcome;
  outcome.output_bytes = result.run.output_bytes;
  if (text != nullptr) *text = std::move(result.text);
  return outcome;
}

Outcome Engine::Implementation::explain_failure(const Home::Result& result,
                                                const Sealing& sealing) {
  Outcome outcome;
  outcome.detail = printable_log(result.run.log);
  outcome.reason = result.agent_away ? Reason::agent_away : judge_run(result.run, no_limit);
  if (outcome.reason != Reason::none) return outcome;
  const base::Instant now = now_or(sealing.now);
  const auto blame = [&](const std::string& fingerprint, bool is_signer) {
    const auto keys = keyring.list(fingerprint, false);
    std::optional<Key> key;
    if (!keys.empty()) key = keys.front();
    outcome.reason = judge_key(key, is_signer, now);
    if (outcome.reason == Reason::none && key && key->created > now)
      outcome.reason = Reason::clock_conflict;
    if (outcome.reason != Reason::none) outcome.fingerprint = fingerprint;
    return outcome.reason != Reason::none;
  };
  for (const std::string& recipient : sealing.recipients) {
    if (blame(recipient, false)) return outcome;
  }
  if (!sealing.signer.empty() && blame(sealing.signer, true)) return outcome;
  outcome.reason =
      result.run.status.passphrase_missing ? Reason::own_key_locked : Reason::interrupted;
  return outcome;
}

}  // namespace sallyport::pgp

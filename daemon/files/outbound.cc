#include "daemon/files/outbound.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/bytes.h"
#include "base/file_io.h"
#include "base/log.h"
#include "daemon/files/announce.h"
#include "daemon/files/names.h"
#include "daemon/files/own_keys.h"
#include "daemon/files/steps.h"
#include "daemon/http/json.h"

namespace sallyport::daemon {
namespace {

using store::File;
using store::FileState;
using store::Unit;

constexpr std::string_view outgoing_area = "/Outgoing";
/// How often a held file looks whether a key has come; a row and its keys are all that is read.
constexpr base::Seconds look_for_key{15};

/// The partner's key to encrypt to: the newest one that can; else what is wrong with what it has.
struct RecipientChoice {
  std::string fingerprint;
  pgp::Reason reason = pgp::Reason::recipient_missing;
};

RecipientChoice choose_recipient(const std::vector<store::PgpKey>& keys, base::Instant now) {
  RecipientChoice choice;
  base::Instant newest{};
  for (const auto& key : keys) {
    if (key.revoked) {
      choice.reason = pgp::Reason::recipient_revoked;
    } else if (key.expires && *key.expires <= now) {
      choice.reason = pgp::Reason::recipient_expired;
    } else if (!key.can_encrypt) {
      choice.reason = pgp::Reason::recipient_cannot_encrypt;
    } else if (choice.fingerprint.empty() || key.added >= newest) {
      choice.fingerprint = key.fingerprint;
      newest = key.added;
    }
  }
  return choice;
}

std::string outgoing_directory(const File& file) {
  return file.object.empty() ? std::string(outgoing_area)
                             : std::string(outgoing_area) + "/" + file.object;
}

std::string free_name(const File& file, const Directory& outgoing, bool is_sealed) {
  const std::string name = is_sealed ? with_ending(file.name, ".pgp") : file.name;
  return outgoing.look(name) ? with_tag(name, file.id) : name;
}

/// A path for libraries that want one, safe from what is planted on the way to the directory.
std::string through(const Directory& directory, const std::string& name) {
  return "/proc/self/fd/" + std::to_string(directory.fd()) + "/" + name;
}

}  // namespace

Writers writers_of(int fd) {
  if (::fcntl(fd, F_SETLEASE, F_RDLCK) == 0) {
    static_cast<void>(::fcntl(fd, F_SETLEASE, F_UNLCK));
    return Writers::none;
  }
  // EACCES: not our file and no CAP_LEASE. EINVAL: the file system has no leases.
  return errno == EAGAIN ? Writers::some : Writers::unknown;
}

Directory Outbound::source_directory(std::string_view partner, std::string_view object) const {
  return Directory::open(context_.config.get()->files.outbound)
      .make(join(partner, object), shared_directory_mode);
}

Directory Outbound::work_directory() const {
  return Directory::open(context_.config.get()->files.outbound).make(".work", 0700);
}

Directory Outbound::sending_directory(const std::string& partner) const {
  return context_.partner_directory(partner).make("sending", 0700);
}

std::optional<File> Outbound::take(const std::string& partner, const std::string& object,
                                   const std::string& name) {
  const Directory source = source_directory(partner, object);
  const auto there = source.look(name);
  if (!there || !S_ISREG(there->st_mode)) return std::nullopt;
  File file;
  file.id = base::random_id();
  file.partner = partner;
  file.direction = store::Direction::outbound;
  file.object = object;
  file.name = name;
  file.spool_name = file.id;
  file.size = static_cast<std::uint64_t>(there->st_size);
  file.state = FileState::queued;
  file.created = context_.now();
  context_.store.write([&](Unit& unit) {
    store::insert_file(unit, file);
    store::insert_file_step(unit, {file.id, file.state, file.created, "found complete"});
  });
  if (move_file(source, name, work_directory(), file.spool_name) != Moved::yes) {
    file.state = FileState::aborted;
    commit_file(context_, file, "gone before it could be taken");
    return std::nullopt;
  }
  return file;
}

bool Outbound::bring_to_work(const File& file, const Directory& work) const {
  if (work.look(file.spool_name)) return true;
  const Directory source = source_directory(file.partner, file.object);
  return move_file(source, file.name, work, file.spool_name) == Moved::yes;
}

StepResult Outbound::advance(File& file) {
  return file.state == FileState::encrypted ? place(file) : seal(file);
}

StepResult Outbound::hold(File& file, pgp::Reason reason) {
  const base::Instant now = context_.now();
  const store::Partner partner = context_.partner(file.partner);
  const auto config = context_.config.get();
  const bool is_news = file.state != FileState::held || file.reason_code != pgp::code(reason);
  file.state = FileState::held;
  file.reason_code = pgp::code(reason);
  file.reason = pgp::sentence(reason);
  file.next_due = now + look_for_key;
  commit_file(context_, file, is_news ? file.reason_code + ": " + file.reason : "",
              [&](Unit& unit) {
                if (!is_news) return;
                FileNotice notice;
                notice.kind = notify::Kind::outbound_held;
                notice.cycle = now;
                announce(unit, *config, partner, file, notice, now);
              });
  if (is_news) {
    context_.waker.wake("outbox");
    base::log_warning("file.held", {{"file", file.id}, {"partner", file.partner}},
                      "{} for {} is held: {}", file.name, file.partner, file.reason);
  }
  return StepResult::retry;
}

StepResult Outbound::seal(File& file) {
  const Directory work = work_directory();
  if (!bring_to_work(file, work)) {
    file.state = FileState::aborted;
    file.next_due.reset();
    commit_file(context_, file,
                "the source is gone; if it was replaced, that file has its own row");
    return StepResult::done;
  }
  const auto source = work.open_file(file.spool_name);
  if (!source)
    throw base::Error("The source of file " + file.id + " disappeared from " + work.path());
  if (writers_of(source->get()) == Writers::some) {
    return retry_later(context_, file, "being-written", "an application still writes to it");
  }
  const std::string source_path = join(work.path(), file.spool_name);
  const base::FileDigest plain = base::digest_file(source->get(), source_path);

  const store::Partner partner = context_.partner(file.partner);
  const PartnerPolicy policy = context_.policy(partner, file.object);
  const base::Instant now = context_.now();
  pgp::Sealing sealing;
  sealing.armour = policy.outbound_armour;
  sealing.now = context_.pgp_now();
  if (policy.outbound_encrypt) {
    const auto keys = context_.store.read(
        [&](Unit& unit) { return store::partner_pgp_keys(unit, file.partner); });
    const RecipientChoice choice = choose_recipient(keys, now);
    if (choice.fingerprint.empty()) return hold(file, choice.reason);
    sealing.recipients.push_back(choice.fingerprint);
  }
  if (policy.outbound_sign) {
    sealing.signer = choose_signer(context_.pgp, now);
    if (sealing.signer.empty()) return hold(file, pgp::Reason::signer_missing);
  }

  const Directory sending = sending_directory(file.partner);
  const bool is_sealed = policy.outbound_encrypt || policy.outbound_sign;
  sending.remove_file(file.id);
  if (is_sealed) {
    const pgp::Outcome outcome = context_.pgp.encrypt_and_sign(through(work, file.spool_name),
                                                               through(sending, file.id), sealing);
    if (!outcome.ok()) {
      sending.remove_file(file.id);
      if (pgp::is_retryable(outcome.reason)) {
        return retry_later(context_, file, pgp::code(outcome.reason),
                           std::string(pgp::sentence(outcome.reason)));
      }
      return hold(file, outcome.reason);
    }
  } else {
    const base::UniqueFd copy = sending.make_file(file.id, shared_file_mode);
    copy_content(source->get(), copy.get(), source_path);
  }
  const auto sealed = sending.open_file(file.id);
  if (!sealed) throw base::Error("The message made of file " + file.id + " disappeared");
  const std::string what = join(sending.path(), file.id);
  const Directory outgoing = context_.tree(file.partner, outgoing_directory(file));
  share_file(sealed->get(), outgoing, shared_file_mode, what);
  base::fsync_file(sealed->get(), what);
  sending.sync();
  const base::FileDigest digest = base::digest_file(sealed->get(), what);

  file.state = FileState::encrypted;
  file.size = digest.size;
  file.sha256 = base::to_hex(digest.sha256);
  file.plain_sha256 = base::to_hex(plain.sha256);
  Json facts = Json::object({{"bytes", static_cast<std::int64_t>(plain.size)},
                             {"recipients", Json::array_of(sealing.recipients)}});
  if (!sealing.signer.empty()) facts.set("signer", sealing.signer);
  file.verdict = facts.dump();
  file.published_as = outgoing_directory(file) + "/" + free_name(file, outgoing, is_sealed);
  clear_retry(file);
  commit_file(context_, file, is_sealed ? "sealed for " + file.partner : "sent as it is by policy",
              [&](Unit& unit) {
                for (const std::string& key : sealing.recipients)
                  store::touch_pgp_key(unit, file.partner, key, now);
                if (!sealing.signer.empty()) store::touch_pgp_key(unit, "", sealing.signer, now);
              });
  return StepResult::done;
}

StepResult Outbound::place(File& file) {
  const Directory sending = sending_directory(file.partner);
  const Directory outgoing = context_.tree(file.partner, outgoing_directory(file));
  for (int tries = 0;; ++tries) {
    const std::string name = split_last(file.published_as).name;
    const Moved moved = move_file(sending, file.id, outgoing, name);
    if (moved != Moved::name_taken) break;
    if (tries == 2) throw base::Error("No name is free for " + file.published_as);
    file.published_as = outgoing_directory(file) + "/" + with_tag(name, file.id);
    commit_file(context_, file, "");
  }
  outgoing.sync();
  const store::Partner partner = context_.partner(file.partner);
  const PartnerPolicy policy = context_.policy(partner, file.object);
  const base::Instant now = context_.now();
  file.state = FileState::available;
  file.received = now;
  clear_retry(file);
  file.next_due = now + policy.collect_until;
  for (const base::Seconds reminder : policy.collect_reminders) {
    file.next_due = std::min(*file.next_due, now + reminder);
  }
  commit_file(context_, file, "as " + file.published_as);
  const Directory work = work_directory();
  if (work.remove_file(file.spool_name)) work.sync();
  context_.waker.wake("retention");
  base::log_info("file.available",
                 {{"file", file.id},
                  {"partner", file.partner},
                  {"object", file.object},
                  {"name", file.name},
                  {"path", file.published_as},
                  {"bytes", file.size}},
                 "{} can be collected by {}", file.published_as, file.partner);
  return StepResult::done;
}

}  // namespace sallyport::daemon

#include "daemon/files/inbound.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/bytes.h"
#include "base/file_io.h"
#include "base/log.h"
#include "daemon/files/after_delivery.h"
#include "daemon/files/announce.h"
#include "daemon/files/detached.h"
#include "daemon/files/names.h"
#include "daemon/files/reason_note.h"
#include "daemon/http/json.h"

namespace sallyport::daemon {
namespace {

using store::File;
using store::FileState;
using store::Unit;

constexpr std::string_view archive_area = "/Archive/Incoming";
constexpr std::string_view failed_area = "/Archive/Failed";

/// Beside the plaintext in staging: it was whole there.
std::string marker_of(const File& file) {
  return file.id + ".ready";
}

// A second name of the plaintext where that can be: a file for each would be made and removed with
// each delivery, and where many inodes were freed a moment ago, ext4 is slow to find new ones.
void mark_whole(const Directory& staging, const File& file) {
  if (staging.link_file(file.id, marker_of(file))) return;
  static_cast<void>(staging.make_file(marker_of(file), 0600));
}

pgp::Acceptance acceptance_for(const FileContext& context, const PartnerPolicy& policy,
                               const std::vector<store::PgpKey>& keys, std::uint64_t size) {
  pgp::Acceptance acceptance;
  acceptance.encryption = policy.encryption == "required"    ? pgp::Encryption::required
                          : policy.encryption == "forbidden" ? pgp::Encryption::forbidden
                                                             : pgp::Encryption::optional;
  bool has_signing_key = false;
  for (const auto& key : keys) {
    if (!key.can_sign) continue;
    has_signing_key = true;
    if (key.ends_here && *key.ends_here <= context.now()) {
      acceptance.ended.push_back(key.fingerprint);
    } else {
      acceptance.pinned.push_back(key.fingerprint);
    }
  }
  acceptance.signature_required =
      policy.signature == "required" || (policy.signature == "auto" && has_signing_key);
  // Beyond any real file's product, but never an overflow that would make the limit small.
  const std::uint64_t by_ratio = policy.output_ratio != 0 && size > no_limit / policy.output_ratio
                                     ? no_limit
                                     : size * policy.output_ratio;
  acceptance.output_limit_bytes =
      std::min(policy.output_limit_bytes, std::max(policy.output_floor_bytes, by_ratio));
  acceptance.now = context.pgp_now();
  return acceptance;
}

pgp::Reason judge_plain(const File& file, const pgp::Acceptance& acceptance) {
  if (has_pgp_ending(file.name)) return pgp::Reason::not_pgp;
  if (acceptance.encryption == pgp::Encryption::required) return pgp::Reason::not_encrypted;
  if (acceptance.signature_required) return pgp::Reason::signature_missing;
  return pgp::Reason::none;
}

bool is_message(pgp::Kind kind) {
  return kind == pgp::Kind::encrypted || kind == pgp::Kind::signed_message ||
         kind == pgp::Kind::clearsigned;
}

Json verdict_json(const pgp::Verdict& verdict) {
  Json json = Json::object(
      {{"kind", pgp::name(verdict.inspection.kind)}, {"armoured", verdict.inspection.armoured}});
  if (!verdict.recipients.empty()) json.set("recipients", Json::array_of(verdict.recipients));
  if (!verdict.decrypted_by.empty()) json.set("decrypted_by", verdict.decrypted_by);
  if (const std::string signer = verdict.signer(); !signer.empty()) json.set("signer", signer);
  if (!verdict.signatures.empty()) {
    Json keys = Json::array();
    for (const auto& signature : verdict.signatures) keys.push(signature.key_id);
    json.set("signatures", std::move(keys));
  }
  if (!verdict.detail.empty()) json.set("detail", verdict.detail);
  return json;
}

}  // namespace

struct Inbound::Judgement {
  pgp::Kind kind = pgp::Kind::plain;
  pgp::Reason reason = pgp::Reason::none;
  std::string sentence;
  Json facts;
  base::FileDigest plain;
};

base::UniqueFd Inbound::open_original(const File& file) const {
  const Directory spool = context_.spool(file.partner);
  auto original = spool.open_file(file.spool_name);
  if (!original) {
    throw base::Error("The original of file " + file.id + " is not at " +
                      join(spool.path(), file.spool_name) + "; run 'sallyportctl files check'");
  }
  return std::move(*original);
}

Inbound::Judgement Inbound::judge(const File& file, int original,
                                  const pgp::Acceptance& acceptance) const {
  const Directory staging = context_.inbound_staging();
  Judgement result;
  try {
    base::UniqueFd plain = staging.make_file(file.id, shared_file_mode);
    const pgp::Inspection inspection = pgp::inspect(original);
    result.kind = inspection.kind;
    if (is_message(inspection.kind)) {
      const pgp::Verdict verdict =
          context_.pgp.decrypt_and_verify(original, plain.get(), acceptance);
      result.reason = verdict.reason;
      result.facts = verdict_json(verdict);
      if (!verdict.accepted()) result.sentence = pgp::sentence(verdict);
    } else {
      result.facts = Json::object({{"kind", pgp::name(inspection.kind)}});
      result.reason = judge_plain(file, acceptance);
      if (result.reason == pgp::Reason::none) {
        copy_content(original, plain.get(), "the original of " + file.id);
      } else {
        result.sentence = pgp::sentence(result.reason);
      }
    }
    if (result.reason != pgp::Reason::none) {
      staging.remove_file(file.id);
      return result;
    }
    const Directory target =
        context_.inbound(file.partner, file.object, split_last(file.name).directory);
    share_file(plain.get(), target, shared_file_mode, "plaintext of " + file.id);
    result.plain = base::digest_file(plain.get(), "plaintext of " + file.id);
    result.facts.set("bytes", static_cast<std::int64_t>(result.plain.size));
    base::fsync_file(plain.get(), "plaintext of " + file.id);
    mark_whole(staging, file);
    staging.sync();
  } catch (...) {
    staging.remove_file(file.id);
    throw;
  }
  return result;
}

StepResult Inbound::prepare(File& file) {
  const store::Partner partner = context_.partner(file.partner);
  const PartnerPolicy policy = context_.policy(partner, file.object);
  const auto keys =
      context_.store.read([&](Unit& unit) { return store::partner_pgp_keys(unit, file.partner); });
  const pgp::Acceptance acceptance = acceptance_for(context_, policy, keys, file.size);
  const bool pairs = policy.detached_signatures && acceptance.signature_required;

  Judgement judgement = judge(file, open_original(file).get(), acceptance);
  if (judgement.reason == pgp::Reason::none) return accept(file, judgement);
  if (pairs && judgement.reason == pgp::Reason::signature_missing) {
    const auto signed_name = name_of_signed(file.name);
    if (signed_name && judgement.kind == pgp::Kind::detached_signature) {
      return prepare_signature(file, *signed_name, policy);
    }
    return prepare_signed_apart(file, acceptance, policy, judgement);
  }
  if (judgement.kind == pgp::Kind::detached_signature &&
      judgement.reason == pgp::Reason::signature_missing) {
    judgement.sentence =
        "This is a signature by itself, and signatures in files of their own are not accepted "
        "here; please send the file that it signs as one signed PGP message.";
  }
  return refuse(file, judgement);
}

StepResult Inbound::refuse(File& file, const Judgement& judgement) {
  file.verdict = judgement.facts.dump();
  const std::string code(pgp::code(judgement.reason));
  if (pgp::is_retryable(judgement.reason)) {
    return retry_later(context_, file, code, judgement.sentence);
  }
  return reject(file, code, judgement.sentence);
}

StepResult Inbound::accept(File& file, const Judgement& judgement,
                           const std::function<void(Unit&)>& also) {
  file.state = FileState::decrypted;
  file.verdict = judgement.facts.dump();
  file.plain_sha256 = base::to_hex(judgement.plain.sha256);
  const SplitPath name = split_last(file.name);
  file.delivered_as =
      join(join(join(file.partner, file.object), name.directory), without_pgp_ending(name.name));
  clear_retry(file);
  commit_file(
      context_, file,
      judgement.facts["kind"] == Json("plain") ? "accepted as it is" : "decrypted and verified",
      [&](Unit& unit) {
        const std::string* const signer = judgement.facts["signer"].if_string();
        if (signer != nullptr) store::touch_pgp_key(unit, file.partner, *signer, context_.now());
        const std::string* const ours = judgement.facts["decrypted_by"].if_string();
        if (ours != nullptr) store::touch_pgp_key(unit, "", *ours, context_.now());
        if (also) also(unit);
      });
  return StepResult::done;
}

StepResult Inbound::wait_for_pair(File& file, std::string_view code, const std::string& sentence,
                                  const PartnerPolicy& policy) {
  const bool is_news = file.reason_code != code;
  file.reason_code = code;
  file.reason = sentence;
  file.next_due = file.received + policy.detached_wait;
  if (is_news) {
    commit_file(context_, file, "waits: " + sentence);
  }
  return StepResult::retry;
}

StepResult Inbound::prepare_signature(File& file, const std::string& signed_name,
                                      const PartnerPolicy& policy) {
  if (context_.now() >= file.received + policy.detached_wait) {
    return reject(file, "signature-alone",
                  "This signature came without the file that it signs, or that file was refused. "
                  "Upload " +
                      split_last(signed_name).name + " and its signature again.");
  }
  // It publishes nothing, so nothing has to wait for it: it has no place in the line.
  file.retry_since = base::Instant{};
  const StepResult waits = wait_for_pair(
      file, "waits-for-file", "the file that it signs has not come yet, or was refused", policy);
  if (const auto other = find_waiting(context_, file, signed_name); other && offer_) {
    offer_(*other);
  }
  return waits;
}

StepResult Inbound::prepare_signed_apart(File& file, pgp::Acceptance acceptance,
                                         const PartnerPolicy& policy, const Judgement& without) {
  const auto apart = verify_by_waiting_signature(context_, file, acceptance);
  if (!apart) {
    if (context_.now() >= file.received + policy.detached_wait) return refuse(file, without);
    return wait_for_pair(file, "waits-for-signature", "its signature has not come yet", policy);
  }
  Judgement bad;
  bad.reason = apart->verdict.reason;
  bad.facts = verdict_json(apart->verdict);
  if (!apart->verdict.accepted()) {
    bad.sentence = pgp::sentence(apart->verdict);
    return refuse(file, bad);
  }
  acceptance.signature_required = false;
  Judgement judgement = judge(file, apart->data.get(), acceptance);
  if (judgement.reason != pgp::Reason::none) return refuse(file, judgement);
  judgement.facts.set("signer", apart->verdict.signer());
  judgement.facts.set("signature_file", apart->signature.id);
  // The signature has done its work with that: it is archived beside the file, never delivered.
  File signature = apart->signature;
  clear_retry(signature);
  signature.state = FileState::delivered;
  choose_archive_place(signature, archive_area);
  const StepResult result = accept(file, judgement, [&](Unit& unit) {
    if (!store::update_file(unit, signature)) {
      // A worker looked at it at this very moment; both are tried again.
      throw base::Error("Its signature, file " + signature.id + ", is being looked at");
    }
    store::insert_file_step(unit, {signature.id, signature.state, context_.now(),
                                   "is the signature of file " + file.id});
  });
  ++signature.version;
  if (offer_) offer_(signature);
  return result;
}

bool Inbound::was_published(const File& file, const Directory& staging,
                            const Directory& target) const {
  if (staging.look(marker_of(file))) return true;
  const std::string name = split_last(file.delivered_as).name;
  const auto there = target.open_file(name);
  return there && base::to_hex(base::digest_file(there->get(), join(target.path(), name)).sha256) ==
                      file.plain_sha256;
}

StepResult Inbound::publish(File& file) {
  if (!has_lost_its_place(context_, file)) {
    const base::Instant released = context_.now() - context_.config.get()->files.retry_hold;
    const auto first = context_.store.read([&](Unit& unit) {
      return store::first_unpublished(unit, file.partner, file.object, released);
    });
    if (first && first->id != file.id && first->sequence < file.sequence) {
      return StepResult::not_its_turn;
    }
  }
  const Directory staging = context_.inbound_staging();
  const std::string sub_folders = split_last(file.name).directory;
  const Directory target = context_.inbound(file.partner, file.object, sub_folders);
  bool was_there = false;
  for (int tries = 0;; ++tries) {
    const std::string name = split_last(file.delivered_as).name;
    const Moved moved = move_file(staging, file.id, target, name);
    if (moved == Moved::yes) break;
    if (moved == Moved::no_source) {
      if (!was_published(file, staging, target)) {
        file.state = FileState::received;
        file.delivered_as.clear();
        return retry_later(context_, file, "staging-lost",
                           "its plaintext was removed from " + staging.path() +
                               " before it could be delivered; the original is processed again");
      }
      // Published before an interruption: the record alone is missing.
      target.sync();
      was_there = true;
      break;
    }
    if (tries == 2) {
      throw base::Error("No name is free for " + file.delivered_as +
                        " below the inbound directory");
    }
    const std::string wanted = without_pgp_ending(split_last(file.name).name);
    const std::string tag = tries == 0 ? file.id : file.id + "-" + base::random_id();
    file.delivered_as = join(split_last(file.delivered_as).directory, with_tag(wanted, tag));
    // The journal knows the name before the rename that gives it.
    commit_file(context_, file, "");
  }

  const store::Partner partner = context_.partner(file.partner);
  const auto config = context_.config.get();
  const base::Instant now = context_.now();
  file.state = FileState::delivered;
  clear_retry(file);
  choose_archive_place(file, archive_area);
  const auto duplicate = context_.store.read([&](Unit& unit) {
    return store::find_delivered_content(unit, file.partner, file.sha256, file.id);
  });
  if (duplicate) {
    Json facts = parse_json(file.verdict.empty() ? "{}" : file.verdict);
    facts.set("duplicate_of", duplicate->id);
    file.verdict = facts.dump();
  }
  bool tasks = false;
  commit_file(
      context_, file, "as " + file.delivered_as + (was_there ? " (before an interruption)" : ""),
      [&](Unit& unit) {
        tasks = add_delivery_tasks(unit, *config, context_.policy(partner, file.object), file, now);
        if (!duplicate) return;
        FileNotice notice;
        notice.kind = notify::Kind::file_duplicate;
        notice.cycle = file.received;
        notice.duplicate_of = duplicate->id;
        notice.duplicate_received_at = duplicate->received;
        announce(unit, *config, partner, file, notice, now);
      });
  if (duplicate) context_.waker.wake("outbox");
  if (tasks) context_.waker.wake("file-tasks");
  base::log_info("file.delivered",
                 {{"file", file.id},
                  {"partner", file.partner},
                  {"object", file.object},
                  {"name", file.name},
                  {"delivered_as", file.delivered_as},
                  {"sha256", file.plain_sha256}},
                 "delivered {}", file.delivered_as);
  return StepResult::done;
}

void Inbound::choose_archive_place(File& file, std::string_view area) const {
  const SplitPath name = split_last(file.name);
  const std::string directory =
      join(file.object.empty() ? std::string(area) : std::string(area) + "/" + file.object,
           name.directory);
  const Directory place = context_.tree(file.partner, directory);
  std::string chosen = name.name;
  const auto taken = [&](const std::string& candidate) {
    return place.look(candidate) ||
           (area == failed_area && place.look(reason_note_name(candidate)));
  };
  if (taken(chosen)) chosen = with_tag(name.name, name_time(file.received));
  if (taken(chosen)) chosen = with_tag(name.name, name_time(file.received) + "-" + file.id);
  file.published_as = directory + "/" + chosen;
}

void Inbound::move_original(File& file, std::string_view area) {
  const Directory spool = context_.spool(file.partner);
  for (int tries = 0; tries < 4; ++tries) {
    const SplitPath place = split_last(file.published_as);
    const Directory directory = context_.tree(file.partner, place.directory);
    const Moved moved = move_file(spool, file.spool_name, directory, place.name);
    if (moved == Moved::yes) return;
    if (moved == Moved::no_source) {
      directory.sync();
      return;
    }
    choose_archive_place(file, area);
    commit_file(context_, file, "");
  }
  throw base::Error("No name is free for " + file.published_as + " of partner " + file.partner);
}

StepResult Inbound::archive(File& file) {
  // Not in the step before: that is recorded, and would not be tried again for this alone.
  context_.inbound_staging().remove_file(marker_of(file));
  move_original(file, archive_area);
  const store::Partner partner = context_.partner(file.partner);
  file.state = FileState::archived;
  clear_retry(file);
  // From now on: a retried file has its whole time in the archive, too.
  file.next_due = context_.now() + context_.policy(partner, file.object).archive_keep;
  commit_file(context_, file, "as " + file.published_as);
  context_.waker.wake_at("retention", *file.next_due);
  return StepResult::done;
}

StepResult Inbound::reject(File& file, const std::string& code, const std::string& sentence) {
  const store::Partner partner = context_.partner(file.partner);
  const auto config = context_.config.get();
  const base::Instant now = context_.now();
  const PartnerPolicy policy = context_.policy(partner, file.object);
  file.state = FileState::failed;
  clear_retry(file);
  file.reason_code = code;
  file.reason = sentence;
  file.next_due = now + policy.archive_keep;
  choose_archive_place(file, failed_area);
  commit_file(context_, file, code + ": " + sentence, [&](Unit& unit) {
    add_failure_tasks(unit, policy, file, now);
    FileNotice notice;
    notice.kind = notify::Kind::file_failed;
    notice.cycle = now;
    announce(unit, *config, partner, file, notice, now);
  });
  context_.waker.wake("outbox");
  context_.waker.wake("file-tasks");
  context_.waker.wake("retention");
  base::log_warning("file.failed",
                    {{"file", file.id},
                     {"partner", file.partner},
                     {"object", file.object},
                     {"name", file.name},
                     {"reason", code}},
                    "{} of {} cannot be processed ({}): {}", file.name, file.partner, code,
                    sentence);
  park(file);
  return StepResult::failed;
}

void Inbound::give_up(File& file) {
  const Directory spool = context_.spool(file.partner);
  const auto fd = spool.open_file(file.spool_name);
  if (!fd) {
    if (file.next_due && context_.now() < *file.next_due) return;
    // Interrupted before it was moved: it lies where it was, and comes anew.
    file.state = FileState::aborted;
    file.next_due.reset();
    commit_file(context_, file, "not moved before an interruption");
    return;
  }
  const base::FileDigest digest = base::digest_file(fd->get(), join(spool.path(), file.spool_name));
  file.size = digest.size;
  file.sha256 = base::to_hex(digest.sha256);
  file.received = context_.now();
  const std::string code = file.reason_code;
  const std::string sentence = file.reason;
  static_cast<void>(reject(file, code, sentence));
}

void Inbound::settle_original(File& file) {
  if (file.state == FileState::failed) {
    park(file);
  } else {
    move_original(file, archive_area);
  }
}

void Inbound::park(File& file) {
  const Directory spool = context_.spool(file.partner);
  if (!spool.look(file.spool_name)) return;
  for (int tries = 0; tries < 4; ++tries) {
    const SplitPath place = split_last(file.published_as);
    const Directory directory = context_.tree(file.partner, place.directory);
    // The note first: the original's arrival is what tells that both are there.
    const std::string note = reason_note_name(place.name);
    write_reason_note(directory, note, file);
    const Moved moved = move_file(spool, file.spool_name, directory, place.name);
    if (moved != Moved::name_taken) return;
    directory.remove_file(note);
    choose_archive_place(file, failed_area);
    commit_file(context_, file, "");
  }
  throw base::Error("No name is free for " + file.published_as + " of partner " + file.partner);
}

}  // namespace sallyport::daemon

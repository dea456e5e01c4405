// What was announced and neither finished nor aborted: uploads that an interruption cut short.
#include <sys/stat.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "base/bytes.h"
#include "base/file_io.h"
#include "base/log.h"
#include "daemon/files/intake.h"
#include "daemon/files/names.h"
#include "store/error.h"

namespace sallyport::daemon {
namespace {

using store::File;
using store::Unit;
using store::UploadIntent;

/// A session sends UploadDone right after the rename. Within this time it may still be at its
/// fsync; later nobody is.
constexpr std::chrono::minutes upload_grace{10};
constexpr unsigned intents_page = 500;
constexpr std::chrono::seconds first_again{1};
constexpr std::chrono::seconds longest_again{60};

/// This row is at fault, not the store's present condition.
bool is_its_own(const store::Error& error) {
  return error.kind() == store::Failure::duplicate || error.kind() == store::Failure::broken;
}

}  // namespace

void Intake::resolve(bool all) {
  {
    const std::lock_guard lock(mutex_);
    resolve_ = std::max(resolve_, all ? Resolve::all : Resolve::old);
  }
  changed_.notify_all();
}

void Intake::resolve_asked() {
  Resolve asked = Resolve::nothing;
  {
    const std::lock_guard lock(mutex_);
    asked = std::exchange(resolve_, Resolve::nothing);
  }
  if (asked == Resolve::nothing) return;
  try {
    resolve_now(asked);
  } catch (...) {
    resolve(asked == Resolve::all);
    throw;
  }
  looked_through_ = true;
  const std::lock_guard lock(mutex_);
  if (unreadable_.empty()) {
    again_pause_ = first_again;
    return;
  }
  resolve_again(again_pause_);
  again_pause_ = std::min(2 * again_pause_, longest_again);
}

struct Intake::Found {
  UploadIntent intent;
  std::optional<struct stat> spooled;

  /// When it came into the spool: that rename was the last change of the file.
  [[nodiscard]] auto order() const {
    const timespec came = spooled ? spooled->st_ctim : timespec{};
    return std::tuple(came.tv_sec, came.tv_nsec, intent.ordinal);
  }
};

void Intake::resolve_now(Resolve asked) {
  unreadable_.clear();
  std::vector<Found> all;
  std::string after;
  for (;;) {
    const auto page = context_.store.read(
        [&](Unit& unit) { return store::list_upload_intents(unit, after, intents_page); });
    for (const UploadIntent& intent : page) {
      if (is_under_way(intent.id)) continue;
      try {
        all.push_back({intent, context_.spool(intent.partner).look(intent.id)});
      } catch (const base::Error& error) {
        unreadable_ = error.what();
      }
    }
    if (page.size() < intents_page) break;
    after = page.back().id;
  }
  std::sort(all.begin(), all.end(),
            [](const Found& a, const Found& b) { return a.order() < b.order(); });
  for (const Found& found : all) {
    try {
      resolve_one(found, asked == Resolve::all);
    } catch (const store::Error& error) {
      if (!is_its_own(error)) throw;
      unreadable_ = error.what();
    } catch (const base::Error& error) {
      unreadable_ = error.what();
    }
  }
  if (!unreadable_.empty()) {
    base::log_error("file.unresolved", {}, "an interrupted upload cannot be looked at for now: {}",
                    unreadable_);
  }
}

void Intake::resolve_one(const Found& found, bool all) {
  UploadIntent intent = found.intent;
  const bool is_old = context_.now() >= intent.created + upload_grace;
  if (!all && !is_old) return;
  const Directory spool = context_.spool(intent.partner);
  if (!found.spooled) {
    if (!is_old) return;
    base::log_notice("file.upload_dropped", {{"file", intent.id}, {"partner", intent.partner}},
                     "upload of {} by {} was interrupted before it was ours; the partner was not "
                     "told that it was",
                     intent.name, intent.partner);
    const std::lock_guard lock(mutex_);
    dropped_.insert(intent.id);
    return;
  }
  const bool says_all = !intent.sha256.empty();
  if (says_all && S_ISREG(found.spooled->st_mode) &&
      static_cast<std::uint64_t>(found.spooled->st_size) != intent.size) {
    return refuse_damaged(intent);
  }
  const std::string path = join(spool.path(), intent.id);
  const auto fd = spool.open_file(intent.id);
  if (!fd) throw base::Error(path + " was there, and is no longer");
  // The rename is only durable once the directory is: what we record must not disappear again.
  base::fsync_file(fd->get(), path);
  spool.sync();
  // Only what a machine that went down may have damaged is read again.
  if (!says_all || !looked_through_) {
    const base::FileDigest digest = base::digest_file(fd->get(), path);
    const std::string sha256 = base::to_hex(digest.sha256);
    if (!says_all) {
      intent.size = digest.size;
      intent.sha256 = sha256;
    }
    if (digest.size != intent.size || sha256 != intent.sha256) return refuse_damaged(intent);
  }
  std::optional<File> received;
  context_.store.write([&](Unit& unit) {
    received = make_received(unit, intent, "found whole in the spool after an interruption");
  });
  if (received) tell(*received);
}

/// Parked, with its reason, by the pipeline.
void Intake::refuse_damaged(const UploadIntent& intent) {
  File file = announced_file(intent);
  file.next_due = context_.now();
  file.reason_code = "damaged";
  file.reason =
      "An interruption on our side has damaged this file after it was received. Upload it again.";
  bool is_new = false;
  context_.store.write([&](Unit& unit) {
    is_new = store::delete_upload_intent(unit, file.id);
    if (!is_new) return;
    insert_announced(unit, file);
  });
  if (!is_new) return;
  base::log_error("file.damaged", {{"file", file.id}, {"partner", file.partner}},
                  "{} of {} is in the spool, but is not what was uploaded (SHA-256 {})", file.name,
                  file.partner, intent.sha256);
  received_(file);
}

}  // namespace sallyport::daemon

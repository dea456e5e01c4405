#include "daemon/outbox/claim.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/bytes.h"
#include "notify/facts.h"
#include "notify/texts.h"

namespace sallyport::daemon {
namespace {

using base::Instant;
using store::Notice;
using store::NoticeState;

/// When it was to be sent, but for digests.
Instant begin_of(const Notice& notice) {
  return std::max(notice.created, notice.due);
}

bool can_be_claimed(const Notice& notice, Instant now) {
  if (notice.state == NoticeState::pending) return true;
  return notice.state == NoticeState::claimed && notice.claimed_until &&
         *notice.claimed_until < now;
}

class Claimer {
 public:
  Claimer(store::Unit& unit, const ClaimPolicy& policy, Instant now)
      : unit_(unit), policy_(policy), now_(now) {}

  Claimed run() {
    Claimed result;
    const std::vector<Notice> due = store::due_notices(unit_, now_, policy_.batch);
    for (const Notice& notice : due) {
      if (seen_.count(notice.id) != 0) continue;
      Parcel parcel;
      if (!notice.digest_id.empty()) {
        parcel = claim_digest(notice);
      } else if (policy_.digest && can_wait(notice)) {
        parcel = gather(notice);
      } else {
        parcel = claim_alone(notice);
      }
      if (!parcel.notices.empty()) result.parcels.push_back(std::move(parcel));
    }
    result.more = due.size() == policy_.batch;
    return result;
  }

 private:
  /// Never begun: a repeat of what may have been sent already has to keep its Message-ID.
  [[nodiscard]] bool can_wait(const Notice& notice) const {
    if (notice.channel != store::Channel::mail || notice.first_attempt || notice.attempts > 0 ||
        !notice.digest_id.empty() || begin_of(notice) > now_)
      return false;
    const auto kind = notify::parse_kind(notice.kind);
    return kind && notify::fits_digest(*kind) && notify::parse_facts(notice.facts);
  }

  /// False: somebody else was faster.
  bool take(Notice& notice) {
    seen_.insert(notice.id);
    notice.state = NoticeState::claimed;
    notice.claimed_by = policy_.node;
    notice.claimed_until = now_ + policy_.length;
    if (!notice.first_attempt) notice.first_attempt = now_;
    if (!store::update_notice(unit_, notice)) return false;
    ++notice.version;
    return true;
  }

  Parcel claim_alone(Notice notice) {
    Parcel parcel;
    parcel.fresh = !notice.first_attempt;
    if (take(notice)) parcel.notices.push_back(std::move(notice));
    return parcel;
  }

  Parcel claim_digest(const Notice& due) {
    const auto digest = store::find_digest(unit_, due.digest_id);
    if (!digest) return claim_alone(due);
    Parcel parcel;
    for (const std::string& id : digest->members) {
      auto member = store::find_notice(unit_, id);
      if (!member) continue;  // its subject was deleted with everything about it
      if (can_be_claimed(*member, now_) && take(*member)) parcel.notices.push_back(*member);
      seen_.insert(id);
      parcel.members.push_back(std::move(*member));
    }
    return parcel;
  }

  /// All that waits for this recipient, from which one mail can be made; the oldest first.
  std::vector<Notice> waiting_with(const Notice& notice) {
    constexpr unsigned page = 500;
    std::vector<Notice> found;
    std::optional<Notice> last;
    while (true) {
      std::vector<Notice> rows = store::list_notices(
          unit_, {NoticeState::pending, {}, notice.recipient, {}}, last ? &*last : nullptr, page);
      const bool full = rows.size() == page;
      if (full) last = rows.back();
      for (Notice& row : rows) {
        if (row.role == notice.role && seen_.count(row.id) == 0 && can_wait(row))
          found.push_back(std::move(row));
      }
      if (!full) break;
    }
    std::reverse(found.begin(), found.end());
    return found;
  }

  Parcel gather(const Notice& due) {
    std::vector<Notice> waiting = waiting_with(due);
    if (waiting.empty()) return {};
    const auto oldest = std::min_element(
        waiting.begin(), waiting.end(),
        [](const Notice& a, const Notice& b) { return begin_of(a) < begin_of(b); });
    const Instant ready = begin_of(*oldest) + policy_.digest_wait;
    if (ready > now_ && waiting.size() < policy_.largest_digest) {
      postpone(waiting, ready);
      return {};
    }
    if (waiting.size() > policy_.largest_digest) waiting.resize(policy_.largest_digest);
    return waiting.size() == 1 ? claim_alone(waiting.front()) : bind(waiting);
  }

  void postpone(std::vector<Notice>& waiting, Instant until) {
    for (Notice& notice : waiting) {
      seen_.insert(notice.id);
      if (notice.next_attempt == until) continue;
      notice.next_attempt = until;
      (void)store::update_notice(unit_, notice);
    }
  }

  Parcel bind(std::vector<Notice>& waiting) {
    store::Digest digest;
    // A set of notices is bound once at most, but another node may try with the same set.
    std::string identity = "digest\n" + policy_.node;
    for (const Notice& notice : waiting) identity += "\n" + notice.id;
    digest.id = base::to_hex(base::sha256(identity));
    digest.recipient = waiting.front().recipient;
    digest.created = now_;
    Parcel parcel;
    parcel.fresh = true;
    for (Notice& notice : waiting) {
      notice.digest_id = digest.id;
      if (!take(notice)) continue;
      digest.members.push_back(notice.id);
      parcel.notices.push_back(std::move(notice));
    }
    if (parcel.notices.empty()) return parcel;
    store::insert_digest(unit_, digest);
    parcel.members = parcel.notices;
    return parcel;
  }

  store::Unit& unit_;
  const ClaimPolicy& policy_;
  Instant now_;
  std::set<std::string> seen_;
};

}  // namespace

Claimed claim_due(store::Unit& unit, const ClaimPolicy& policy, base::Instant now) {
  return Claimer(unit, policy, now).run();
}

}  // namespace sallyport::daemon

#include "daemon/outbox/outbox.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <thread>

#include "base/log.h"
#include "store/error.h"

namespace sallyport::daemon {
namespace {

using base::Instant;
using base::Seconds;
using store::Notice;
using store::NoticeState;

/// Long enough for the slowest single delivery (2 min, notify/mailer.h); renewed in the course of a
/// batch. After a crash another node waits this long.
constexpr Seconds claim_length{240};
constexpr Seconds renew_when_left{150};
/// A webhook's share of a pass: what it does not manage in this time comes with the next pass, so
/// that new mails are not kept waiting.
constexpr std::chrono::seconds webhook_share{20};

RetryPolicy policy_of(const Config& config) {
  return {config.notify.retry_first, config.notify.retry_most, config.notify.give_up};
}

ClaimPolicy claim_policy_of(const Config& config, const std::string& node) {
  ClaimPolicy policy;
  policy.node = node;
  policy.length = claim_length;
  policy.digest = config.notify.digest;
  policy.digest_wait = config.notify.digest_wait;
  return policy;
}

}  // namespace

/// What one destination has to send in one pass.
struct Outbox::Lane {
  std::string name;
  Destination* destination = nullptr;
  std::shared_ptr<const Config> config;
  std::vector<Parcel> parcels;
  bool anything_accepted = false;
  std::string away;  ///< why its server could not be reached last; empty if it could
  std::exception_ptr store_failure;
};

Outbox::Outbox(store::Store& store, const LiveConfig& config, const base::Clock& clock,
               Health& health, const ActivityLog& activity)
    : store_(store), config_(config), clock_(clock), health_(health), activity_(activity) {}

Outbox::~Outbox() = default;

std::optional<Instant> Outbox::earliest() {
  if (stopping_) return std::nullopt;
  if (take_back_ || !unrecorded_.lock()->empty()) return clock_.now();
  return store_.read([](store::Unit& unit) { return store::earliest_notice(unit); });
}

bool Outbox::run_pass(Instant now) {
  if (stopping_) return false;
  record_what_is_left();
  if (take_back_) take_back_own_claims(now);

  const ClaimPolicy policy = claim_policy_of(*config_.get(), activity_.node());
  Claimed claimed = store_.write([&](store::Unit& unit) { return claim_due(unit, policy, now); });
  std::vector<Lane> lanes = sort_into_lanes(std::move(claimed.parcels));
  std::vector<std::jthread> threads;
  for (Lane& lane : lanes)
    if (!lane.name.empty()) threads.emplace_back([this, &lane] { work_off(lane); });
  for (Lane& lane : lanes)
    if (lane.name.empty()) work_off(lane);
  threads.clear();  // joins

  for (Lane& lane : lanes) {
    if (!lane.store_failure) continue;
    take_back_ = true;
    std::rethrow_exception(lane.store_failure);
  }
  update_health(lanes);
  return claimed.more && !stopping_;
}

void Outbox::stop() noexcept {
  stopping_ = true;
  auto destinations = destinations_.lock();
  for (auto& [name, destination] : *destinations) destination->stop();
}

void Outbox::record_what_is_left() {
  std::vector<Notice> left = unrecorded_.get();
  for (Notice& notice : left) {
    store_.write([&](store::Unit& unit) {
      Notice attempt = notice;  // the unit may run again
      write_result(unit, attempt);
    });
    auto guard = unrecorded_.lock();
    guard->erase(std::remove_if(guard->begin(), guard->end(),
                                [&](const Notice& each) { return each.id == notice.id; }),
                 guard->end());
  }
}

void Outbox::take_back_own_claims(Instant now) {
  unsigned taken = 0;
  store_.write([&](store::Unit& unit) {
    taken = 0;
    constexpr unsigned page = 500;
    std::optional<Notice> last;
    while (true) {
      const std::vector<Notice> rows =
          store::list_notices(unit, {NoticeState::claimed, {}, {}}, last ? &*last : nullptr, page);
      for (Notice notice : rows) {
        if (notice.claimed_by != activity_.node()) continue;
        notice.state = NoticeState::pending;
        notice.next_attempt = std::min(notice.next_attempt, now);
        notice.claimed_by.clear();
        notice.claimed_until.reset();
        if (store::update_notice(unit, notice)) ++taken;
      }
      if (rows.size() < page) break;
      last = rows.back();
    }
  });
  take_back_ = false;
  if (taken > 0)
    base::log_notice("notices.taken_back", {{"count", taken}},
                     "{} notices were being sent when this node stopped: they are sent again with "
                     "the same Message-ID",
                     taken);
}

std::vector<Outbox::Lane> Outbox::sort_into_lanes(std::vector<Parcel> parcels) {
  std::map<std::string, Lane> lanes;
  const std::shared_ptr<const Config> config = config_.get();
  auto destinations = destinations_.lock();
  for (Parcel& parcel : parcels) {
    const Notice& notice = parcel.notices.front();
    const bool mail = notice.channel == store::Channel::mail;
    const std::string name = mail ? std::string() : notice.recipient;
    Lane& lane = lanes[name];
    if (lane.destination == nullptr) {
      auto& destination = (*destinations)[name];
      if (!destination)
        destination = mail ? make_mail_destination() : make_webhook_destination(name);
      if (stopping_) destination->stop();
      lane.name = name;
      lane.config = config;
      lane.destination = destination.get();
    }
    lane.parcels.push_back(std::move(parcel));
  }
  std::vector<Lane> result;
  for (auto& [name, lane] : lanes) result.push_back(std::move(lane));
  return result;
}

void Outbox::work_off(Lane& lane) noexcept {
  const auto begin = std::chrono::steady_clock::now();
  std::size_t i = 0;
  try {
    for (; i < lane.parcels.size(); ++i) {
      const bool share_used =
          !lane.name.empty() && i > 0 && std::chrono::steady_clock::now() - begin > webhook_share;
      if (stopping_ || share_used) break;
      if (!still_ours(lane, i)) continue;
      Parcel& parcel = lane.parcels[i];
      parcel.fresh = false;
      const notify::Delivery delivery =
          lane.destination->deliver(parcel, *lane.config, clock_.now());
      if (stopping_ && !delivery.accepted()) break;  // interrupted: it does not count
      lane.anything_accepted = lane.anything_accepted || delivery.accepted();
      if (delivery.server_unavailable)
        lane.away = delivery.answer;
      else
        lane.away.clear();
      record(parcel, delivery);
    }
    lane.destination->finish();
    give_back(lane, i);
  } catch (const store::Error&) {
    lane.destination->finish();
    lane.store_failure = std::current_exception();
  } catch (const std::exception& e) {
    base::log_error("outbox.failed", {}, "sending notices was interrupted: {}", e.what());
    lane.store_failure = std::current_exception();
  }
}

// What was cancelled or overtaken since it was claimed is left out; of a digest, it is told as
// such.
bool Outbox::still_ours(Lane& lane, std::size_t at) {
  if (*lane.parcels[at].notices.front().claimed_until - clock_.now() <= renew_when_left)
    renew_claims(lane, at);
  Parcel& parcel = lane.parcels[at];
  store_.read([&](store::Unit& unit) {
    const auto lost = [&](const Notice& notice) {
      const auto present = store::find_notice(unit, notice.id);
      return !present || present->version != notice.version;
    };
    parcel.notices.erase(std::remove_if(parcel.notices.begin(), parcel.notices.end(), lost),
                         parcel.notices.end());
    for (Notice& member : parcel.members) {
      if (auto present = store::find_notice(unit, member.id)) member = std::move(*present);
    }
  });
  return !parcel.notices.empty();
}

void Outbox::renew_claims(Lane& lane, std::size_t from) {
  const Instant until = clock_.now() + claim_length;
  const std::vector<Parcel> renewed = store_.write([&](store::Unit& unit) {
    std::vector<Parcel> result = lane.parcels;
    for (std::size_t i = from; i < result.size(); ++i) {
      for (Notice& notice : result[i].notices) {
        notice.claimed_until = until;
        // If not, its time had passed: still_ours() sees that.
        if (store::update_notice(unit, notice)) ++notice.version;
      }
    }
    return result;
  });
  lane.parcels = renewed;
}

void Outbox::give_back(Lane& lane, std::size_t from) {
  if (from >= lane.parcels.size()) return;
  store_.write([&](store::Unit& unit) {
    for (std::size_t i = from; i < lane.parcels.size(); ++i) {
      for (Notice notice : lane.parcels[i].notices) {
        notice.state = NoticeState::pending;
        notice.claimed_by.clear();
        notice.claimed_until.reset();
        if (lane.parcels[i].fresh) notice.first_attempt.reset();
        (void)store::update_notice(unit, notice);
      }
    }
  });
}

void Outbox::record(const Parcel& parcel, const notify::Delivery& delivery) {
  std::vector<Notice> results = parcel.notices;
  for (Notice& notice : results) apply(notice, delivery, policy_of(*config_.get()), clock_.now());
  try {
    store_.write([&](store::Unit& unit) {
      for (Notice attempt : results) write_result(unit, attempt);  // the unit may run again
    });
  } catch (const store::Error&) {
    auto unrecorded = unrecorded_.lock();
    unrecorded->insert(unrecorded->end(), results.begin(), results.end());
    throw;
  }
  for (const Notice& notice : results) report(notice);
}

void Outbox::write_result(store::Unit& unit, Notice& notice) {
  if (notice.state == NoticeState::pending) {
    for (const Notice& other :
         store::subject_notices(unit, notice.subject_type, notice.subject_id, {}, notice.cycle)) {
      if (!supersedes(other, notice)) continue;
      notice.state = NoticeState::superseded;
      notice.finished = clock_.now();
      break;
    }
  }
  if (!store::update_notice(unit, notice)) {
    // Our claim had ended, or the commit went through although the connection was lost on the way.
    const auto present = store::find_notice(unit, notice.id);
    const bool ours = present && present->state == NoticeState::claimed &&
                      present->claimed_by == activity_.node();
    const bool lost_acceptance = present && notice.state == NoticeState::sent &&
                                 present->state != NoticeState::sent &&
                                 present->state != NoticeState::claimed;
    if (!ours && !lost_acceptance) return;
    notice.version = present->version;
    if (!store::update_notice(unit, notice)) return;
  }
  if (notice.state == NoticeState::pending)
    return;  // every attempt is in the row; the end is history
  activity_.append(unit,
                   {.actor = "outbox",
                    .source = {},
                    .operation = "NOTIFY",
                    .resource_type = "NOTICE",
                    .resource_id = notice.id,
                    .resource_name = notice.kind,
                    .success = notice.state != NoticeState::failed,
                    .changes = Json::object(
                        {{"recipient", notice.recipient},
                         {"channel", notice.channel == store::Channel::mail ? "mail" : "webhook"},
                         {"subjectType", notice.subject_type},
                         {"subjectId", notice.subject_id},
                         {"attempts", notice.attempts},
                         {"answer", notice.answer}})});
}

void Outbox::report(const Notice& notice) const {
  const std::initializer_list<base::LogField> fields = {{"notice", notice.id},
                                                        {"kind", notice.kind},
                                                        {"subject", notice.subject_id},
                                                        {"recipient", notice.recipient},
                                                        {"attempts", notice.attempts}};
  switch (notice.state) {
    case NoticeState::sent:
      base::log_info("notice.sent", fields, "{} for {} sent to {}: {}", notice.kind,
                     notice.subject_id, notice.recipient, notice.answer);
      if (sent_) sent_(notice);
      break;
    case NoticeState::failed:
      base::log_error("notice.failed", fields,
                      "{} for {} could not be sent to {} and is given up: {}. Mend the cause, then "
                      "sallyportctl notices requeue {}",
                      notice.kind, notice.subject_id, notice.recipient, notice.answer, notice.id);
      break;
    default:
      base::log_info("notice.deferred", fields, "{} for {} not sent to {} yet: {}", notice.kind,
                     notice.subject_id, notice.recipient, notice.answer);
  }
}

void Outbox::update_health(const std::vector<Lane>& lanes) {
  for (const Lane& lane : lanes) {
    if (!lane.away.empty())
      health_.raise(lane.destination->condition(), fmt::format("Notices wait: {}", lane.away));
    else if (lane.anything_accepted)
      health_.clear(lane.destination->condition());
  }
  const auto failed = store_.read(
      [](store::Unit& unit) { return store::count_notices(unit, NoticeState::failed); });
  health_.set(
      "notices.failed", failed > 0,
      fmt::format("{} notices could not be sent and were given up: see 'sallyportctl notices list "
                  "--state failed', mend the cause and requeue them",
                  failed));
}

}  // namespace sallyport::daemon

// Several keys in one unit of work, all or nothing; deletion, which is the bulk of one.
#include "daemon/http/router.h"
#include "daemon/keys/change.h"
#include "daemon/keys/key_checks.h"

namespace sallyport::daemon {

using lifecycle::Event;
using lifecycle::Verdict;

void KeyService::remove(const Caller& caller, const std::string& id) {
  bulk(caller, Event::remove, {id});
}

void KeyService::bulk(const Caller& caller, Event event, const std::vector<std::string>& ids) {
  constexpr std::size_t most_ids = 10000;
  if (ids.size() > most_ids) {
    throw ProblemError(400, "TOO_MANY_ENTRIES",
                       "At most " + std::to_string(most_ids) + " keys can be changed at once.");
  }
  const base::Instant now = parts_.clock.now();
  const auto config = parts_.config.get();
  const bool single = ids.size() == 1;
  std::string at;
  try {
    const auto outcomes = parts_.store.write([&](store::Unit& unit) {
      std::vector<Outcome> done;
      std::map<std::string, bool> seen;
      NoticeWriter writer(unit, *config, now);
      for (const auto& id : ids) {
        at = id;
        if (!seen.emplace(id, true).second) continue;
        Change change(*this, unit, writer, &caller, now);
        change.load(id);
        const auto guard = lifecycle::check(event, change.key(), change.policy(), now);
        if (guard.verdict == Verdict::refused) throw_refusal(guard);
        if (event == Event::remove) {
          change.note("DELETE");
          change.remove();
        } else {
          if (guard.verdict == Verdict::allowed) {
            change.must_verify();
            if (event == Event::activate) {
              require_held(caller, change.key().privileges);
              lifecycle::activate(change.key(), now);
              change.note("ENABLE");
            } else {
              writer.cancel_all(change.key());
              lifecycle::disable(change.key(), now);
              change.note("DISABLE");
            }
            change.settle();
          }
          change.store_or_retry();
        }
        done.push_back(change.outcome());
      }
      return done;
    });
    for (const auto& outcome : outcomes) finish(outcome);
  } catch (const ProblemError& error) {
    if (error.status() != 404) record_refusal(caller, event, at, error.error_code());
    if (single) throw;
    Json members = error.members();
    members.set("id", at);
    throw ProblemError(
        error.status(), error.error_code(),
        "Nothing was changed, because of the key " + at.substr(0, 64) + ": " + error.what(),
        std::move(members));
  }
}

void KeyService::insert_imported(KeyService& service, store::Unit& unit, NoticeWriter& writer,
                                 const Caller& caller, base::Instant now, store::ApiKey& key,
                                 const base::Sha256& value) {
  Change change(service, unit, writer, &caller, now);
  change.take(std::move(key));
  change.insert(value);
  if (change.key().last_used) {
    store::record_usage(unit, {{change.key().id, change.key().last_used, std::nullopt}});
  }
  change.settle();
  change.store_or_retry();
  change.note("IMPORT", Json::object({{"template", change.key().template_id},
                                      {"privileges", privileges_json(change.key().privileges)}}));
  key = std::move(change.key());
}

void KeyService::announce_imported(const std::vector<store::ApiKey>& keys) {
  for (const auto& key : keys) {
    parts_.observer.key_changed(
        key, parts_.store.read([&](store::Unit& unit) { return store::key_values(unit, key.id); }));
  }
  parts_.waker.wake("lifecycle");
  parts_.waker.wake("outbox");
}

}  // namespace sallyport::daemon

#include "daemon/verify/table.h"

#include <malloc.h>

#include <algorithm>
#include <future>
#include <set>

#include "base/log.h"
#include "daemon/verify/shard.h"

namespace sallyport::daemon {

namespace {

constexpr unsigned page = 10'000;
/// Longer than any change can be on its way from its commit to the table.
constexpr std::chrono::minutes remember_deletions{10};

Standing standing_of(store::KeyState state) {
  switch (state) {
    case store::KeyState::enabled:
      return Standing::good;
    case store::KeyState::disabled:
      return Standing::disabled;
    case store::KeyState::disabled_for_inactivity:
      return Standing::inactive;
    case store::KeyState::disabled_exposed:
      return Standing::exposed;
    case store::KeyState::expired:
      return Standing::expired;
    case store::KeyState::revoked:
      return Standing::revoked;
  }
  return Standing::unknown;
}

/// The earliest of the three instants that end a value, and how it looks from then on.
void set_end(ShardEntry& entry, const std::optional<base::Instant>& expires,
             const std::optional<base::Instant>& exposed,
             const std::optional<base::Instant>& valid_until) {
  entry.ends_at = VerificationShard::never;
  const auto consider = [&](const std::optional<base::Instant>& end, Standing standing) {
    if (end && base::to_unix(*end) < entry.ends_at) {
      entry.ends_at = base::to_unix(*end);
      entry.at_end = standing;
    }
  };
  consider(exposed, Standing::exposed);
  consider(expires, Standing::expired);
  consider(valid_until, Standing::retired_value);
}

std::string join_names(const std::string& first, const std::string& last) {
  return first.empty() || last.empty() ? first + last : first + ' ' + last;
}

}  // namespace

std::string_view standing_name(Standing standing) {
  switch (standing) {
    case Standing::good:
      return "good";
    case Standing::disabled:
      return "disabled";
    case Standing::inactive:
      return "disabled-for-inactivity";
    case Standing::exposed:
      return "disabled-exposed";
    case Standing::expired:
      return "expired";
    case Standing::revoked:
      return "revoked";
    case Standing::retired_value:
      return "retired-value";
    case Standing::unknown:
      break;
  }
  return "unknown-key";
}

std::optional<base::Instant> FoundKey::ends() const {
  if (ends_at_ >= VerificationShard::never) return std::nullopt;
  return base::from_unix(ends_at_);
}

VerificationTable::VerificationTable(ProfileRules rules, const base::Clock& clock)
    : clock_(clock), pool_(std::move(rules)) {
  for (auto& shard : shards_) shard.store(std::make_shared<const VerificationShard>());
}

VerificationTable::~VerificationTable() = default;

void VerificationTable::load(store::Store& store) {
  const std::lock_guard lock(writer_);
  std::vector<std::shared_ptr<VerificationShard>> fresh(shard_count);
  for (auto& shard : fresh) shard = std::make_shared<VerificationShard>();
  IdIndex index;
  std::size_t count = 0;
  const auto read_after = [&store](std::optional<store::VerifyRow> last) {
    return store.read([&](store::Unit& unit) {
      return store::list_verify_rows(unit, last ? &*last : nullptr, page);
    });
  };
  std::vector<store::VerifyRow> rows = read_after(std::nullopt);
  while (!rows.empty()) {
    // The store reads the next page while this one is taken in.
    std::future<std::vector<store::VerifyRow>> next;
    if (rows.size() == page) next = std::async(std::launch::async, read_after, rows.back());
    for (const store::VerifyRow& row : rows) {
      const std::string contact = join_names(row.contact_first_name, row.contact_last_name);
      ShardEntry entry;
      entry.sha256 = row.sha256;
      entry.standing = standing_of(row.state);
      set_end(entry, row.expires_at, row.exposure_deadline, row.valid_until);
      entry.id = row.key_id;
      entry.name = row.display_name;
      entry.contact = contact;
      entry.profile = pool_.of(row);
      const std::uint16_t shard = shard_of(row.sha256);
      fresh[shard]->add(entry);
      index.add(row.key_id, shard, IdIndex::version_unknown);
    }
    count += rows.size();
    rows = next.valid() ? next.get() : std::vector<store::VerifyRow>{};
  }
  for (std::size_t i = 0; i < shard_count; ++i) {
    fresh[i]->finish();
    shards_[i].store(std::move(fresh[i]));
  }
  index.shrink();
  index_ = std::move(index);
  size_ = count;
  damaged_ = false;
  ::malloc_trim(0);  // what growing the shards left behind
}

void VerificationTable::use(const ProfileRules& rules) {
  const std::lock_guard lock(writer_);
  if (rules == pool_.rules()) return;
  pool_ = ProfilePool(rules);
  damage();
}

FoundKey VerificationTable::find(const base::Sha256& value) const noexcept {
  static const Profile nothing;
  FoundKey found;
  found.profile = &nothing;
  ShardPointer shard = shards_[shard_of(value)].load();
  if (const VerificationShard::Fact* fact = shard->find(value)) {
    const std::string_view text = shard->text(*fact);
    found.id = text.substr(0, fact->id_size);
    found.name = text.substr(fact->id_size, fact->name_size);
    found.contact = text.substr(std::size_t{fact->id_size} + fact->name_size);
    found.profile = &shard->profile(*fact);
    found.ends_at_ = fact->ends_at;
    found.standing_ = fact->standing();
    found.at_end_ = fact->at_end();
    found.shard_ = std::move(shard);
  }
  return found;
}

VerificationTable::ShardPointer VerificationTable::rebuilt(const ShardPointer& old,
                                                           std::uint16_t shard,
                                                           std::string_view without_id,
                                                           const std::vector<ShardEntry>& with,
                                                           std::size_t& removed) const {
  auto fresh = std::make_shared<VerificationShard>();
  for (const VerificationShard::Fact& fact : old->facts()) {
    if (old->id(fact) == without_id) {
      ++removed;
    } else {
      fresh->add(old->entry(fact));
    }
  }
  for (const ShardEntry& entry : with) {
    if (shard_of(entry.sha256) == shard) fresh->add(entry);
  }
  fresh->finish();
  return fresh;
}

void VerificationTable::replace(const std::string& id, const std::vector<ShardEntry>& entries,
                                std::uint16_t version) {
  std::set<std::uint16_t> affected;
  for (const IdIndex::Entry& entry : index_.find(id)) affected.insert(entry.shard);
  for (const ShardEntry& entry : entries) affected.insert(shard_of(entry.sha256));
  for (const std::uint16_t shard : affected) {
    std::size_t removed = 0;
    ShardPointer fresh = rebuilt(shards_[shard].load(), shard, id, entries, removed);
    shards_[shard].store(std::move(fresh));
    for (std::size_t i = 0; i < removed; ++i) index_.remove(id, shard);
    size_ -= removed;
  }
  for (const ShardEntry& entry : entries) index_.add(id, shard_of(entry.sha256), version);
  size_ += entries.size();
}

bool VerificationTable::overtaken(const std::string& id, std::uint16_t version) {
  const auto now = clock_.monotonic();
  while (!deleted_in_order_.empty() && now - deleted_in_order_.front().first > remember_deletions) {
    deleted_.erase(deleted_in_order_.front().second);
    deleted_in_order_.pop_front();
  }
  if (deleted_.count(id) != 0) return true;
  for (const IdIndex::Entry& entry : index_.find(id)) {
    if (!IdIndex::older(version, entry.version)) continue;
    const ShardPointer shard = shards_[entry.shard].load();
    const auto& facts = shard->facts();
    if (std::any_of(facts.begin(), facts.end(),
                    [&](const auto& fact) { return shard->id(fact) == id; })) {
      return true;
    }
  }
  return false;
}

void VerificationTable::damage() noexcept {
  damaged_ = true;
  if (tell_damage_) tell_damage_();
}

void VerificationTable::key_changed(const store::ApiKey& key,
                                    const std::vector<store::KeyValue>& values) noexcept {
  try {
    const std::lock_guard lock(writer_);
    const std::uint16_t version = IdIndex::fold_version(key.version);
    if (overtaken(key.id, version)) return;
    const std::string contact =
        key.contact ? join_names(key.contact->first_name, key.contact->last_name) : std::string();
    std::optional<base::Instant> deadline;
    if (key.exposure && !key.exposure->withdrawn) deadline = key.exposure->deadline;
    const auto profile = pool_.of(key);
    std::vector<ShardEntry> entries;
    for (const store::KeyValue& value : values) {
      ShardEntry entry;
      entry.sha256 = value.sha256;
      entry.standing = standing_of(key.state);
      set_end(entry, key.expires_at, deadline, value.valid_until);
      entry.id = key.id;
      entry.name = key.display_name;
      entry.contact = contact;
      entry.profile = profile;
      entries.push_back(std::move(entry));
    }
    replace(key.id, entries, version);
  } catch (const std::exception& error) {
    damage();
    base::log_error("verify.change_lost", {{"key", key.id}},
                    "a change of key {} could not be taken in ({}): all keys are loaded again",
                    key.id, error.what());
  }
}

void VerificationTable::key_deleted(std::string_view id) noexcept {
  try {
    const std::lock_guard lock(writer_);
    const std::string key(id);
    if (deleted_.insert(key).second) deleted_in_order_.emplace_back(clock_.monotonic(), key);
    replace(key, {}, IdIndex::version_unknown);
  } catch (const std::exception& error) {
    damage();
    base::log_error("verify.change_lost", {{"key", std::string(id)}},
                    "the deletion of key {} could not be taken in ({}): all keys are loaded again",
                    id, error.what());
  }
}

}  // namespace sallyport::daemon

// The verification table: SHA-256 of a value -> what a verification needs to know of its key. One
// million keys, read by every I/O thread while keys change.
//
// 4096 shards by the first bits of the hash, each an immutable block that is replaced as a whole
// when a key in it changes: a change copies some 250 keys, not a million, and a reader keeps the
// block that it looks at alive. About 120 bytes a key.
//
// Threads: find() from any; load(), key_changed() and key_deleted() from any, one at a time behind
// a mutex of their own. load() throws what the store throws and then leaves the table as it was.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "base/clock.h"
#include "daemon/verify/id_index.h"
#include "daemon/verify/key_observer.h"
#include "daemon/verify/profile.h"
#include "daemon/verify/published.h"
#include "store/store.h"

namespace sallyport::daemon {

/// Why a value is worth nothing, or `good`.
enum class Standing : std::uint8_t {
  good,
  disabled,
  inactive,
  exposed,
  expired,
  revoked,
  retired_value,
  unknown
};
[[nodiscard]] std::string_view standing_name(Standing standing);

class VerificationShard;
struct ShardEntry;

/// A key as a verification found it; keeps the shard that it points into alive.
class FoundKey {
 public:
  [[nodiscard]] bool known() const { return shard_ != nullptr; }
  /// Compares the instants themselves: no scheduler pass has to come by first.
  [[nodiscard]] Standing standing_at(base::Instant now) const {
    return standing_ == Standing::good && base::to_unix(now) >= ends_at_ ? at_end_ : standing_;
  }
  /// The first instant at which the value ends by itself.
  [[nodiscard]] std::optional<base::Instant> ends() const;

  std::string_view id;
  std::string_view name;
  std::string_view contact;  ///< "First Last", or empty
  const Profile* profile = nullptr;

 private:
  friend class VerificationTable;
  std::shared_ptr<const VerificationShard> shard_;
  std::int64_t ends_at_ = 0;
  Standing standing_ = Standing::unknown;
  Standing at_end_ = Standing::unknown;
};

class VerificationTable final : public KeyObserver {
 public:
  VerificationTable(ProfileRules rules, const base::Clock& clock);
  ~VerificationTable() override;
  VerificationTable(const VerificationTable&) = delete;
  VerificationTable& operator=(const VerificationTable&) = delete;

  /// Replaces everything by what the store has.
  void load(store::Store& store);

  /// Never fails: an unknown value gives a FoundKey that is not known and has the same shape.
  [[nodiscard]] FoundKey find(const base::Sha256& value) const noexcept;

  void key_changed(const store::ApiKey& key,
                   const std::vector<store::KeyValue>& values) noexcept override;
  void key_deleted(std::string_view id) noexcept override;

  [[nodiscard]] std::size_t size() const { return size_; }
  /// True after a change could not be taken in (out of memory): load() again.
  [[nodiscard]] bool damaged() const { return damaged_; }
  /// Called, possibly with the table locked, when it becomes damaged; set once before threads
  /// start.
  void on_damage(std::function<void()> callback) { tell_damage_ = std::move(callback); }
  /// Other rules for keys; the table is then damaged() until it has been loaded again by them.
  void use(const ProfileRules& rules);

  static constexpr std::size_t shard_count = 4096;

 private:
  using ShardPointer = std::shared_ptr<const VerificationShard>;

  void damage() noexcept;
  static std::uint16_t shard_of(const base::Sha256& value) {
    return static_cast<std::uint16_t>((unsigned{value[0]} << 4U) | (value[1] >> 4U));
  }
  /// Takes all values of `id` out and puts `entries` in.
  void replace(const std::string& id, const std::vector<ShardEntry>& entries,
               std::uint16_t version);
  [[nodiscard]] ShardPointer rebuilt(const ShardPointer& old, std::uint16_t shard,
                                     std::string_view without_id,
                                     const std::vector<ShardEntry>& with,
                                     std::size_t& removed) const;
  /// True if `version` is older than what the table shows, or the key has been deleted.
  [[nodiscard]] bool overtaken(const std::string& id, std::uint16_t version);

  const base::Clock& clock_;
  std::array<Published<VerificationShard>, shard_count> shards_;
  std::atomic<std::size_t> size_{0};
  std::atomic<bool> damaged_{false};
  std::function<void()> tell_damage_;

  std::mutex writer_;  ///< guards what follows
  ProfilePool pool_;
  IdIndex index_;
  /// Ids are never used again: a change that was overtaken by its key's deletion is dropped.
  std::unordered_set<std::string> deleted_;
  std::deque<std::pair<std::chrono::nanoseconds, std::string>> deleted_in_order_;
};

}  // namespace sallyport::daemon

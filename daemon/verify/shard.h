// One immutable block of the verification table: facts of 48 bytes, an open-addressed index of
// 16-bit slots over them, the texts of all in one string, and the profiles that they share.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "daemon/verify/profile.h"
#include "daemon/verify/table.h"

namespace sallyport::daemon {

/// A value with what is known of it, outside of any shard.
struct ShardEntry {
  base::Sha256 sha256{};
  std::int64_t ends_at = 0;  ///< VerificationShard::never, or the first second of its end
  Standing standing = Standing::good;
  Standing at_end = Standing::expired;
  std::string_view id;
  std::string_view name;
  std::string_view contact;
  std::shared_ptr<const Profile> profile;
};

class VerificationShard {
 public:
  static constexpr std::uint32_t never = 0xffffffff;

  struct Fact {
    base::Sha256 sha256;
    std::uint32_t ends_at;
    std::uint32_t text;  ///< offset of id, name and contact, one after the other
    std::uint16_t profile;
    std::uint16_t name_size;
    std::uint16_t contact_size;
    std::uint8_t id_size;
    std::uint8_t standings;  ///< standing, and at_end above it

    [[nodiscard]] Standing standing() const { return static_cast<Standing>(standings & 15U); }
    [[nodiscard]] Standing at_end() const { return static_cast<Standing>(standings >> 4U); }
  };
  static_assert(sizeof(Fact) == 48);

  /// Throws std::length_error if it is full.
  void add(const ShardEntry& entry);
  /// Builds the index and gives back what is held in reserve; nothing can be added after.
  void finish();

  [[nodiscard]] const Fact* find(const base::Sha256& value) const noexcept;
  [[nodiscard]] ShardEntry entry(const Fact& fact) const;
  /// Id, name and contact, one after the other.
  [[nodiscard]] std::string_view text(const Fact& fact) const {
    return std::string_view(text_).substr(
        fact.text, std::size_t{fact.id_size} + fact.name_size + fact.contact_size);
  }
  [[nodiscard]] std::string_view id(const Fact& fact) const {
    return std::string_view(text_).substr(fact.text, fact.id_size);
  }
  [[nodiscard]] const Profile& profile(const Fact& fact) const { return *profiles_[fact.profile]; }
  [[nodiscard]] const std::vector<Fact>& facts() const { return facts_; }

 private:
  std::vector<std::uint16_t> slots_;  ///< 0 = empty, else index of a fact + 1; a power of two
  std::vector<Fact> facts_;
  std::string text_;
  std::vector<std::shared_ptr<const Profile>> profiles_;
};

}  // namespace sallyport::daemon

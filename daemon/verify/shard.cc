#include "daemon/verify/shard.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace sallyport::daemon {

namespace {

/// Bits that have not chosen the shard.
std::size_t slot_hash(const base::Sha256& value) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, value.data() + 4, sizeof(bits));
  return bits;
}

std::string_view cut(std::string_view text, std::size_t most) {
  return text.substr(0, most);
}

}  // namespace

void VerificationShard::add(const ShardEntry& entry) {
  if (facts_.size() >= 0xfffe || profiles_.size() >= 0xffff || text_.size() > 0x7fffffff) {
    throw std::length_error("a shard of the verification table is full");
  }
  auto profile = std::find(profiles_.rbegin(), profiles_.rend(), entry.profile);
  if (profile == profiles_.rend()) {
    profiles_.push_back(entry.profile);
    profile = profiles_.rbegin();
  }
  const std::string_view id = cut(entry.id, 0xff);
  const std::string_view name = cut(entry.name, 0xffff);
  const std::string_view contact = cut(entry.contact, 0xffff);
  Fact fact{};
  fact.sha256 = entry.sha256;
  fact.ends_at = static_cast<std::uint32_t>(
      std::clamp<std::int64_t>(entry.ends_at, 0, static_cast<std::int64_t>(never)));
  fact.text = static_cast<std::uint32_t>(text_.size());
  fact.profile = static_cast<std::uint16_t>(profiles_.rend() - profile - 1);
  fact.id_size = static_cast<std::uint8_t>(id.size());
  fact.name_size = static_cast<std::uint16_t>(name.size());
  fact.contact_size = static_cast<std::uint16_t>(contact.size());
  fact.standings = static_cast<std::uint8_t>(static_cast<unsigned>(entry.standing) |
                                             (static_cast<unsigned>(entry.at_end) << 4U));
  text_.append(id).append(name).append(contact);
  facts_.push_back(fact);
}

void VerificationShard::finish() {
  std::size_t size = 4;
  while (size * 3 < facts_.size() * 4) size *= 2;
  slots_.assign(size, 0);
  for (std::size_t i = 0; i < facts_.size(); ++i) {
    std::size_t slot = slot_hash(facts_[i].sha256) & (size - 1);
    while (slots_[slot] != 0) slot = (slot + 1) & (size - 1);
    slots_[slot] = static_cast<std::uint16_t>(i + 1);
  }
  slots_.shrink_to_fit();
  facts_.shrink_to_fit();
  text_.shrink_to_fit();
  profiles_.shrink_to_fit();
}

const VerificationShard::Fact* VerificationShard::find(const base::Sha256& value) const noexcept {
  if (slots_.empty()) return nullptr;
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t slot = slot_hash(value) & mask; slots_[slot] != 0; slot = (slot + 1) & mask) {
    const Fact& fact = facts_[slots_[slot] - 1U];
    if (fact.sha256 == value) return &fact;
  }
  return nullptr;
}

ShardEntry VerificationShard::entry(const Fact& fact) const {
  const std::string_view words = text(fact);
  ShardEntry entry;
  entry.sha256 = fact.sha256;
  entry.ends_at = fact.ends_at;
  entry.standing = fact.standing();
  entry.at_end = fact.at_end();
  entry.id = words.substr(0, fact.id_size);
  entry.name = words.substr(fact.id_size, fact.name_size);
  entry.contact = words.substr(std::size_t{fact.id_size} + fact.name_size);
  entry.profile = profiles_[fact.profile];
  return entry;
}

}  // namespace sallyport::daemon

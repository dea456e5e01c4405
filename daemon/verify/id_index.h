// In which shards of the verification table a key's values are, and which version of the key they
// show: 8 bytes a value. Needed to change and delete by id; never by a verification.
//
// Not thread-safe. Only a fingerprint of the id is kept: a caller checks the id where it leads.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace sallyport::daemon {

class IdIndex {
 public:
  struct Entry {
    std::uint32_t fingerprint = 0;
    std::uint16_t shard = 0;
    std::uint16_t version = 0;  ///< fold_version()'s, or version_unknown
  };
  static constexpr std::uint16_t version_unknown = 0;

  /// Versions count up one by one, so 16 bits tell which of two is the newer one.
  [[nodiscard]] static std::uint16_t fold_version(std::int64_t version) {
    return static_cast<std::uint16_t>(1 + static_cast<std::uint64_t>(version) % 65535);
  }
  [[nodiscard]] static bool older(std::uint16_t version, std::uint16_t known) {
    if (known == version_unknown || version == version_unknown || version == known) return false;
    const unsigned ahead = (unsigned{known} + 65535U - unsigned{version}) % 65535U;
    return ahead < 32768U;
  }

  void add(std::string_view id, std::uint16_t shard, std::uint16_t version);
  /// Takes out one value of the key in that shard, and nobody else's: another id with the same
  /// fingerprint in the same shard has an entry of its own.
  void remove(std::string_view id, std::uint16_t shard);
  [[nodiscard]] std::vector<Entry> find(std::string_view id) const;
  /// After many add(): gives back what vectors hold in reserve.
  void shrink();

 private:
  static constexpr std::size_t bucket_count = 4096;
  std::array<std::vector<Entry>, bucket_count> buckets_;
};

}  // namespace sallyport::daemon

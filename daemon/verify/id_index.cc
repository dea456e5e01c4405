#include "daemon/verify/id_index.h"

#include <algorithm>
#include <functional>

namespace sallyport::daemon {

namespace {

struct Place {
  std::size_t bucket;
  std::uint32_t fingerprint;
};

Place place_of(std::string_view id, std::size_t buckets) {
  const std::size_t hash = std::hash<std::string_view>{}(id);
  return {hash % buckets, static_cast<std::uint32_t>(hash >> 32U)};
}

}  // namespace

void IdIndex::add(std::string_view id, std::uint16_t shard, std::uint16_t version) {
  const Place place = place_of(id, bucket_count);
  buckets_[place.bucket].push_back({place.fingerprint, shard, version});
}

void IdIndex::remove(std::string_view id, std::uint16_t shard) {
  const Place place = place_of(id, bucket_count);
  auto& bucket = buckets_[place.bucket];
  const auto found = std::find_if(bucket.begin(), bucket.end(), [&](const Entry& entry) {
    return entry.fingerprint == place.fingerprint && entry.shard == shard;
  });
  if (found != bucket.end()) bucket.erase(found);
}

std::vector<IdIndex::Entry> IdIndex::find(std::string_view id) const {
  const Place place = place_of(id, bucket_count);
  std::vector<Entry> found;
  for (const Entry& entry : buckets_[place.bucket]) {
    if (entry.fingerprint == place.fingerprint) found.push_back(entry);
  }
  return found;
}

void IdIndex::shrink() {
  for (auto& bucket : buckets_) bucket.shrink_to_fit();
}

}  // namespace sallyport::daemon

#include "store/unit.h"

#include "store/codec.h"

namespace sallyport::store {

void Unit::finish() {
  for (const auto& [node, head] : chain_heads) {
    Query(*this, Sql::move_activity_head).bind(head.sequence, head.hash, node).run();
  }
  if (key_changes.empty()) return;
  // The counter's row stays locked until the commit: sequences become visible in their order.
  const auto count = static_cast<std::int64_t>(key_changes.size());
  Query(*this, Sql::count_up).bind("key_change", count).run();
  std::int64_t last = 0;
  {
    Query query(*this, Sql::counted);
    query.bind("key_change");
    if (query.next()) query.read(last);
  }
  std::int64_t sequence = last - count;
  for (const PendingChange& change : key_changes) {
    Query(*this, Sql::insert_key_change).bind(++sequence, change.key_id, change.at).run();
  }
}

}  // namespace sallyport::store

#include "store/cluster.h"

#include "store/codec.h"

namespace sallyport::store {

namespace {

/// Clocks of nodes differ by less. What ends later was written by a clock that was far ahead, and
/// would keep everybody else out until then.
constexpr base::Seconds longest_lease{3600};

}  // namespace

bool take_lease(Unit& unit, std::string_view name, std::string_view node, Instant now,
                Instant until) {
  const Instant too_late = until + longest_lease;
  if (Query(unit, Sql::renew_lease).bind(node, until, name, node, now, too_late).run() == 1) {
    return true;
  }
  try {
    Query(unit, Sql::insert_lease).bind(name, node, until).run();
  } catch (const Error& error) {
    // There is one, and it is not ours.
    if (error.kind() == Failure::duplicate) return false;
    throw;
  }
  return true;
}

void release_lease(Unit& unit, std::string_view name, std::string_view node) {
  Query(unit, Sql::release_lease).bind(name, node).run();
}

void put_node(Unit& unit, const Node& node) {
  Query(unit, Sql::put_node).bind(node.name, node.last_seen, node.usage_flushed).run();
}

std::vector<Node> list_nodes(Unit& unit) {
  Query query(unit, Sql::list_nodes);
  return all_of<Node>(query, [](Query& row, Node& node) {
    row.read(node.name, node.last_seen, node.usage_flushed);
  });
}

std::optional<std::string> get_setting(Unit& unit, std::string_view name) {
  Query query(unit, Sql::get_setting);
  query.bind(name);
  std::optional<std::string> value;
  if (query.next()) query.read(value.emplace());
  return value;
}

void put_setting(Unit& unit, std::string_view name, std::string_view value) {
  Query(unit, Sql::put_setting).bind(name, value).run();
}

}  // namespace sallyport::store

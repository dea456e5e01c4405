#include "store/activity.h"

#include <fmt/format.h>

#include "store/codec.h"

namespace sallyport::store {
namespace {

/// The columns ACTIVITY of the catalogue, in their order.
template <class Record, class Call>
void fields(Record& activity, Call&& call) {
  call(activity.node, activity.sequence, activity.id, activity.at, activity.actor, activity.source,
       activity.operation, activity.resource_type, activity.resource_id, activity.resource_name,
       activity.result, activity.changes, activity.previous_hash, activity.hash);
}

void read_activity(Query& query, Activity& activity) {
  fields(activity, [&](auto&... values) { query.read(values...); });
}

/// What is hashed has to be what is kept: the store mends text that is not UTF-8.
void mend(Activity& activity) {
  for (std::string* text : {&activity.node, &activity.id, &activity.actor, &activity.source,
                            &activity.operation, &activity.resource_type, &activity.resource_id,
                            &activity.resource_name, &activity.result, &activity.changes}) {
    std::string copy;
    if (valid_utf8(*text, copy).data() != text->data()) *text = std::move(copy);
  }
}

/// The end of the node's chain, its row locked until this unit ends.
Unit::ChainHead& chain_head(Unit& unit, const std::string& node) {
  const auto known = unit.chain_heads.find(node);
  if (known != unit.chain_heads.end()) return known->second;
  Unit::ChainHead head;
  bool found = false;
  {
    Query query(unit, Sql::lock_activity_head);
    query.bind(node);
    found = query.next();
    if (found) query.read(head.sequence, head.hash);
  }
  if (!found) {
    try {
      Query(unit, Sql::insert_activity_head).bind(head.sequence, head.hash, node).run();
    } catch (const Error& error) {
      // Somebody else began the chain just now: run the unit again and find it.
      if (error.kind() != Failure::duplicate) throw;
      throw Error(Failure::conflict, error.code(), error.what());
    }
  }
  return unit.chain_heads.emplace(node, head).first->second;
}

std::vector<With> filter_clauses(const ActivityFilter& filter) {
  std::vector<With> clauses;
  const auto add_list = [&](Clause clause, const std::vector<std::string>& values) {
    if (!values.empty()) clauses.emplace_back(clause, values.size());
  };
  add_list(Clause::activity_resource_types, filter.resource_types);
  add_list(Clause::activity_resource_ids, filter.resource_ids);
  add_list(Clause::activity_operations, filter.operations);
  add_list(Clause::activity_results, filter.results);
  if (!filter.actor.empty()) clauses.emplace_back(Clause::activity_actor);
  if (filter.from) clauses.emplace_back(Clause::activity_from);
  if (filter.to) clauses.emplace_back(Clause::activity_to);
  return clauses;
}

void bind_filter(Query& query, const ActivityFilter& filter) {
  for (const auto* values :
       {&filter.resource_types, &filter.resource_ids, &filter.operations, &filter.results}) {
    if (!values->empty()) query.bind_list(*values);
  }
  if (!filter.actor.empty()) query.bind(filter.actor);
  if (filter.from) query.bind(*filter.from);
  if (filter.to) query.bind(*filter.to);
}

}  // namespace

std::string activity_content(const Activity& activity) {
  std::string content;
  const auto add = [&](std::string_view field) {
    content += fmt::format("{}:", field.size());
    content += field;
    content += ',';
  };
  add(activity.node);
  add(std::to_string(activity.sequence));
  add(activity.id);
  add(std::to_string(base::to_unix(activity.at)));
  add(activity.actor);
  add(activity.source);
  add(activity.operation);
  add(activity.resource_type);
  add(activity.resource_id);
  add(activity.resource_name);
  add(activity.result);
  add(activity.changes);
  return content;
}

void append_activity(Unit& unit, Activity& activity) {
  mend(activity);
  Unit::ChainHead& head = chain_head(unit, activity.node);
  activity.sequence = head.sequence + 1;
  activity.previous_hash = head.hash;
  std::string hashed(head.hash.begin(), head.hash.end());
  hashed += activity_content(activity);
  activity.hash = base::sha256(hashed);

  Query query(unit, Sql::insert_activity);
  fields(activity, [&](const auto&... values) { query.bind(values...); });
  query.run();
  head = {activity.sequence, activity.hash};
}

std::vector<Activity> list_activity(Unit& unit, const ActivityFilter& filter, unsigned offset,
                                    unsigned limit) {
  std::vector<With> clauses = filter_clauses(filter);
  clauses.emplace_back(Clause::activity_newest_first);
  Query query(unit, Sql::list_activity, clauses);
  bind_filter(query, filter);
  query.bind(limit, offset);
  return all_of<Activity>(query, read_activity);
}

std::int64_t count_activity(Unit& unit, const ActivityFilter& filter) {
  Query query(unit, Sql::count_activity, filter_clauses(filter));
  bind_filter(query, filter);
  std::int64_t count = 0;
  if (query.next()) query.read(count);
  return count;
}

std::optional<Activity> find_activity(Unit& unit, std::string_view id) {
  Query query(unit, Sql::find_activity);
  query.bind(id);
  return first_of<Activity>(query, read_activity);
}

std::vector<Activity> activity_chain(Unit& unit, std::string_view node, std::int64_t after,
                                     unsigned limit) {
  Query query(unit, Sql::activity_chain);
  query.bind(node, after, limit);
  return all_of<Activity>(query, read_activity);
}

std::vector<std::string> activity_nodes(Unit& unit) {
  Query query(unit, Sql::activity_nodes);
  return all_of<std::string>(query, [](Query& row, std::string& node) { row.read(node); });
}

std::optional<ActivityEnd> activity_end(Unit& unit, std::string_view node) {
  Query query(unit, Sql::activity_end);
  query.bind(node);
  return first_of<ActivityEnd>(
      query, [](Query& row, ActivityEnd& end) { row.read(end.sequence, end.hash); });
}

std::optional<Activity> activity_head(Unit& unit, std::string_view node) {
  Query query(unit, Sql::activity_head);
  query.bind(node);
  return first_of<Activity>(query, read_activity);
}

std::int64_t last_activity_before(Unit& unit, std::string_view node, Instant before) {
  Query query(unit, Sql::last_activity_before);
  query.bind(node, before);
  std::int64_t sequence = 0;
  if (query.next()) query.read(sequence);
  return sequence;
}

unsigned prune_activity(Unit& unit, std::string_view node, std::int64_t upto) {
  return static_cast<unsigned>(Query(unit, Sql::prune_activity).bind(node, upto).run());
}

void insert_checkpoint(Unit& unit, const ActivityCheckpoint& checkpoint) {
  Query(unit, Sql::insert_checkpoint)
      .bind(checkpoint.node, checkpoint.sequence, checkpoint.hash, checkpoint.at,
            checkpoint.authenticator)
      .run();
}

std::vector<ActivityCheckpoint> checkpoints(Unit& unit, std::string_view node) {
  Query query(unit, Sql::checkpoints);
  query.bind(node);
  return all_of<ActivityCheckpoint>(query, [](Query& row, ActivityCheckpoint& checkpoint) {
    row.read(checkpoint.node, checkpoint.sequence, checkpoint.hash, checkpoint.at,
             checkpoint.authenticator);
  });
}

}  // namespace sallyport::store

#include "store/notices.h"

#include <fmt/format.h>

#include "base/bytes.h"
#include "store/codec.h"

namespace sallyport::store {
namespace {

/// When due_notices is to find it: one column, hence one index, for both ways to be due.
std::optional<Instant> wake_at(const Notice& notice) {
  if (notice.state == NoticeState::pending) return notice.next_attempt;
  if (notice.state != NoticeState::claimed || !notice.claimed_until) return std::nullopt;
  return *notice.claimed_until + base::Seconds{1};
}

/// The columns NOTICE of the catalogue but the last, in their order.
template <class Record, class Call>
void fields(Record& notice, Call&& call) {
  call(notice.subject_type, notice.subject_id, notice.kind, notice.cycle, notice.offset,
       notice.recipient, notice.channel, notice.role, notice.facts, notice.state, notice.created,
       notice.due, notice.next_attempt, notice.attempts, notice.answer, notice.finished,
       notice.claimed_by, notice.claimed_until, notice.first_attempt, notice.digest_id);
}

void bind_fields(Query& query, const Notice& notice) {
  fields(notice, [&](const auto&... values) { query.bind(values...); });
  query.bind(wake_at(notice));
}

void read_notice(Query& query, Notice& notice) {
  query.read(notice.id);
  fields(notice, [&](auto&... values) { query.read(values...); });
  std::optional<Instant> wake;
  query.read(wake, notice.version);
}

}  // namespace

std::string notice_id(const Notice& notice) {
  // Lengths before the fields: no two identities give the same text.
  std::string identity;
  const auto add = [&](std::string_view field) {
    identity += fmt::format("{}:{},", field.size(), field);
  };
  add(notice.subject_type);
  add(notice.subject_id);
  add(notice.kind);
  add(std::to_string(notice.cycle));
  add(std::to_string(notice.offset));
  add(notice.recipient);
  add(name_of(notice.channel));
  return base::to_hex(base::sha256(identity));
}

bool insert_notice(Unit& unit, const Notice& notice) {
  Query query(unit, Sql::insert_notice);
  query.bind(notice.id);
  bind_fields(query, notice);
  query.bind(notice.version);
  try {
    query.run();
  } catch (const Error& error) {
    // The statement alone was undone; the unit goes on.
    if (error.kind() == Failure::duplicate) return false;
    throw;
  }
  return true;
}

std::optional<Notice> find_notice(Unit& unit, std::string_view id) {
  Query query(unit, Sql::find_notice);
  query.bind(id);
  return first_of<Notice>(query, read_notice);
}

bool update_notice(Unit& unit, const Notice& notice) {
  Query query(unit, Sql::update_notice);
  bind_fields(query, notice);
  return query.bind(notice.id, notice.version).run() == 1;
}

std::vector<Notice> due_notices(Unit& unit, Instant now, unsigned limit) {
  Query query(unit, Sql::due_notices);
  query.bind(now, limit);
  return all_of<Notice>(query, read_notice);
}

std::optional<Instant> earliest_notice(Unit& unit) {
  return one_instant(unit, Sql::earliest_notice);
}

std::vector<Notice> subject_notices(Unit& unit, std::string_view subject_type,
                                    std::string_view subject_id, std::string_view kind,
                                    std::optional<std::int64_t> cycle) {
  std::vector<With> clauses;
  if (!kind.empty()) clauses.emplace_back(Clause::subject_kind);
  if (cycle) clauses.emplace_back(Clause::subject_cycle);
  clauses.emplace_back(Clause::by_created);
  Query query(unit, Sql::subject_notices, clauses);
  query.bind(subject_id, subject_type);
  if (!kind.empty()) query.bind(kind);
  if (cycle) query.bind(*cycle);
  return all_of<Notice>(query, read_notice);
}

unsigned supersede_notices(Unit& unit, std::string_view subject_type, std::string_view subject_id,
                           std::string_view kind, std::int64_t cycle, std::int64_t tighter_than,
                           Instant now) {
  Query query(unit, Sql::supersede_notices);
  query.bind(now, subject_id, subject_type, kind, cycle, tighter_than);
  return static_cast<unsigned>(query.run());
}

unsigned cancel_notices(Unit& unit, std::string_view subject_type, std::string_view subject_id,
                        std::string_view kind, Instant now) {
  Query query(unit, Sql::cancel_notices);
  query.bind(now, subject_id, subject_type, kind);
  return static_cast<unsigned>(query.run());
}

std::vector<Notice> list_notices(Unit& unit, const NoticeFilter& filter, const Notice* after,
                                 unsigned limit) {
  std::vector<With> clauses;
  if (filter.state) clauses.emplace_back(Clause::notice_state);
  if (!filter.subject_id.empty()) clauses.emplace_back(Clause::notice_subject);
  if (!filter.recipient.empty()) clauses.emplace_back(Clause::notice_recipient);
  if (!filter.kind.empty()) clauses.emplace_back(Clause::subject_kind);
  if (after != nullptr) clauses.emplace_back(Clause::older_than);
  clauses.emplace_back(Clause::newest_first);
  Query query(unit, Sql::list_notices, clauses);
  if (filter.state) query.bind(*filter.state);
  if (!filter.subject_id.empty()) query.bind(filter.subject_id);
  if (!filter.recipient.empty()) query.bind(filter.recipient);
  if (!filter.kind.empty()) query.bind(filter.kind);
  if (after != nullptr) query.bind(after->created, after->created, after->id);
  query.bind(limit);
  return all_of<Notice>(query, read_notice);
}

std::int64_t count_notices(Unit& unit, NoticeState state) {
  Query query(unit, Sql::count_notices);
  query.bind(state);
  std::int64_t count = 0;
  if (query.next()) query.read(count);
  return count;
}

void insert_digest(Unit& unit, const Digest& digest) {
  Query query(unit, Sql::insert_digest);
  query.bind(digest.id, digest.recipient, digest.created, digest.members).run();
}

std::optional<Digest> find_digest(Unit& unit, std::string_view id) {
  Query query(unit, Sql::find_digest);
  query.bind(id);
  return first_of<Digest>(query, [](Query& row, Digest& digest) {
    row.read(digest.id, digest.recipient, digest.created, digest.members);
  });
}

}  // namespace sallyport::store

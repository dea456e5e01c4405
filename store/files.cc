#include "store/files.h"

#include <algorithm>
#include <tuple>

#include "store/codec.h"

namespace sallyport::store {
namespace {

/// The columns FILE_ of the catalogue, in their order.
template <class Record, class Call>
void fields(Record& file, Call&& call) {
  call(file.partner, file.direction, file.object, file.name, file.spool_name, file.size,
       file.sha256, file.state, file.created, file.received, file.sequence, file.reason_code,
       file.reason, file.delivered_as, file.published_as, file.backup_at, file.verdict,
       file.plain_sha256, file.uploader, file.attempts, file.retry_since, file.next_due,
       file.claimed_by, file.claimed_until);
}

/// The columns FILE_CHANGES.
void bind_changes(Query& query, const File& file) {
  query.bind(file.size, file.sha256, file.state, file.received, file.sequence, file.reason_code,
             file.reason, file.delivered_as, file.published_as, file.backup_at, file.verdict,
             file.plain_sha256, file.attempts, file.retry_since, file.next_due, file.claimed_by,
             file.claimed_until);
}

void bind_fields(Query& query, const File& file) {
  fields(file, [&](const auto&... values) { query.bind(values...); });
}

void read_file(Query& query, File& file) {
  query.read(file.id);
  fields(file, [&](auto&... values) { query.read(values...); });
  query.read(file.version);
}

template <class Record, class Call>
void intent_fields(Record& intent, Call&& call) {
  call(intent.partner, intent.object, intent.name, intent.uploader, intent.created, intent.size,
       intent.sha256, intent.ordinal);
}

void read_intent(Query& query, UploadIntent& intent) {
  query.read(intent.id);
  intent_fields(intent, [&](auto&... values) { query.read(values...); });
}

template <class Record, class Call>
void task_fields(Record& task, Call&& call) {
  call(task.file_id, task.kind, task.created, task.next_due, task.attempts, task.last_error);
}

void read_task(Query& query, FileTask& task) {
  task_fields(task, [&](auto&... values) { query.read(values...); });
}

void read_given_up_task(Query& query, GivenUpTask& task) {
  query.read(task.file_id, task.kind, task.at);
}

template <class Record, class Call>
void event_fields(Record& event, Call&& call) {
  call(event.at, event.partner, event.event, event.path, event.address, event.banner,
       event.fingerprint, event.bytes, event.duration_ms, event.detail);
}

}  // namespace

void insert_file(Unit& unit, const File& file) {
  Query query(unit, Sql::insert_file);
  query.bind(file.id);
  bind_fields(query, file);
  query.bind(file.version).run();
}

std::optional<File> find_file(Unit& unit, std::string_view id) {
  Query query(unit, Sql::find_file);
  query.bind(id);
  return first_of<File>(query, read_file);
}

bool update_file(Unit& unit, const File& file) {
  Query query(unit, Sql::update_file);
  bind_changes(query, file);
  return query.bind(file.id, file.version).run() == 1;
}

void insert_upload_intent(Unit& unit, const UploadIntent& intent) {
  Query query(unit, Sql::insert_upload_intent);
  query.bind(intent.id);
  intent_fields(intent, [&](const auto&... values) { query.bind(values...); });
  query.run();
}

bool delete_upload_intent(Unit& unit, std::string_view id) {
  return Query(unit, Sql::delete_upload_intent).bind(id).run() == 1;
}

std::vector<UploadIntent> list_upload_intents(Unit& unit, std::string_view after_id,
                                              unsigned limit) {
  Query query(unit, Sql::list_upload_intents);
  query.bind(after_id, limit);
  return all_of<UploadIntent>(query, read_intent);
}

void insert_file_step(Unit& unit, const FileStep& step) {
  Query(unit, Sql::insert_file_step).bind(step.file_id, step.state, step.at, step.detail).run();
}

std::vector<FileStep> file_steps(Unit& unit, std::string_view file_id) {
  Query query(unit, Sql::file_steps);
  query.bind(file_id);
  return all_of<FileStep>(query, [](Query& row, FileStep& step) {
    row.read(step.file_id, step.state, step.at, step.detail);
  });
}

std::int64_t next_file_sequence(Unit& unit, std::string_view partner, std::string_view object) {
  Query(unit, Sql::next_file_sequence).bind(partner, object).run();
  Query query(unit, Sql::file_sequence);
  query.bind(partner, object);
  std::int64_t sequence = 0;
  if (query.next()) query.read(sequence);
  return sequence;
}

// What asks for several states takes one index range a state and merges them here: a single
// statement would sort all there is.

std::vector<File> due_files(Unit& unit, const std::vector<FileState>& states, Instant now,
                            unsigned limit) {
  std::vector<File> files;
  for (const FileState state : states) {
    Query query(unit, Sql::due_files);
    query.bind(state, now, limit);
    while (query.next()) read_file(query, files.emplace_back());
  }
  std::sort(files.begin(), files.end(), [](const File& a, const File& b) {
    return std::tie(a.next_due, a.id) < std::tie(b.next_due, b.id);
  });
  if (files.size() > limit) files.resize(limit);
  return files;
}

std::optional<Instant> earliest_file_due(Unit& unit, const std::vector<FileState>& states) {
  std::optional<Instant> earliest;
  for (const FileState state : states) {
    Query query(unit, Sql::earliest_file);
    query.bind(state);
    std::optional<Instant> due;
    if (query.next()) query.read(due);
    if (due && (!earliest || *due < *earliest)) earliest = due;
  }
  return earliest;
}

std::vector<File> files_in_states(Unit& unit, const std::vector<FileState>& states,
                                  const File* after, unsigned limit) {
  const Instant from = after != nullptr ? after->created : base::from_unix(0);
  const std::string_view id = after != nullptr ? std::string_view(after->id) : std::string_view();
  std::vector<File> files;
  for (const FileState state : states) {
    Query query(unit, Sql::files_in_state);
    query.bind(state, from, from, id, limit);
    while (query.next()) read_file(query, files.emplace_back());
  }
  std::sort(files.begin(), files.end(), [](const File& a, const File& b) {
    return std::tie(a.created, a.id) < std::tie(b.created, b.id);
  });
  if (files.size() > limit) files.resize(limit);
  return files;
}

std::optional<File> first_unpublished(Unit& unit, std::string_view partner, std::string_view object,
                                      Instant released_before) {
  std::optional<File> first;
  for (const FileState state : {FileState::received, FileState::decrypted}) {
    Query query(unit, Sql::first_unpublished);
    query.bind(partner, object, state, released_before);
    std::optional<File> file = first_of<File>(query, read_file);
    if (file && (!first || file->sequence < first->sequence)) first = std::move(file);
  }
  return first;
}

ReceivedCount count_received(Unit& unit, std::string_view partner, std::string_view object,
                             Instant from, Instant to, std::uint64_t least_size) {
  Query query(unit, Sql::count_received);
  query.bind(least_size, partner, object, from, to);
  ReceivedCount count;
  if (query.next()) query.read(count.files, count.too_small);
  return count;
}

std::optional<File> find_delivered_content(Unit& unit, std::string_view partner,
                                           std::string_view sha256, std::string_view except_id) {
  Query query(unit, Sql::delivered_content);
  query.bind(partner, sha256, except_id);
  return first_of<File>(query, read_file);
}

std::optional<File> find_published(Unit& unit, std::string_view partner, std::string_view path) {
  Query query(unit, Sql::published_file);
  query.bind(partner, path);
  return first_of<File>(query, read_file);
}

std::vector<File> list_files(Unit& unit, const FileFilter& filter, const File* after,
                             unsigned limit) {
  std::vector<With> clauses;
  if (!filter.partner.empty()) clauses.emplace_back(Clause::file_partner);
  if (!filter.object.empty()) clauses.emplace_back(Clause::file_object);
  if (filter.direction) clauses.emplace_back(Clause::file_direction);
  if (filter.state) clauses.emplace_back(Clause::file_state);
  if (!filter.name.empty()) clauses.emplace_back(Clause::file_name);
  if (filter.since) clauses.emplace_back(Clause::file_since);
  if (filter.until) clauses.emplace_back(Clause::file_until);
  if (after != nullptr) clauses.emplace_back(Clause::older_than);
  clauses.emplace_back(Clause::newest_first);
  Query query(unit, Sql::list_files, clauses);
  if (!filter.partner.empty()) query.bind(filter.partner);
  if (!filter.object.empty()) query.bind(filter.object);
  if (filter.direction) query.bind(*filter.direction);
  if (filter.state) query.bind(*filter.state);
  if (!filter.name.empty()) query.bind(filter.name);
  if (filter.since) query.bind(*filter.since);
  if (filter.until) query.bind(*filter.until);
  if (after != nullptr) query.bind(after->created, after->created, after->id);
  query.bind(limit);
  return all_of<File>(query, read_file);
}

void put_file_task(Unit& unit, const FileTask& task) {
  Query query(unit, Sql::put_file_task);
  task_fields(task, [&](const auto&... values) { query.bind(values...); });
  query.run();
}

bool delete_file_task(Unit& unit, std::string_view file_id, std::string_view kind) {
  return Query(unit, Sql::delete_file_task).bind(file_id, kind).run() == 1;
}

std::vector<FileTask> file_tasks(Unit& unit, std::string_view file_id) {
  Query query(unit, Sql::file_tasks);
  query.bind(file_id);
  return all_of<FileTask>(query, read_task);
}

std::vector<FileTask> due_file_tasks(Unit& unit, Instant now, unsigned limit) {
  Query query(unit, Sql::due_file_tasks);
  query.bind(now, limit);
  return all_of<FileTask>(query, read_task);
}

std::optional<Instant> earliest_file_task(Unit& unit) {
  return one_instant(unit, Sql::earliest_file_task);
}

void put_given_up_task(Unit& unit, const GivenUpTask& task) {
  Query(unit, Sql::put_given_up_task).bind(task.file_id, task.kind, task.at).run();
}

bool delete_given_up_task(Unit& unit, std::string_view file_id, std::string_view kind) {
  return Query(unit, Sql::delete_given_up_task).bind(file_id, kind).run() == 1;
}

std::vector<GivenUpTask> given_up_tasks(Unit& unit, std::string_view file_id) {
  Query query(unit, Sql::given_up_tasks);
  query.bind(file_id);
  return all_of<GivenUpTask>(query, read_given_up_task);
}

std::optional<GivenUpTask> find_given_up_task(Unit& unit) {
  Query query(unit, Sql::find_given_up_task);
  return first_of<GivenUpTask>(query, read_given_up_task);
}

void insert_session_event(Unit& unit, const SessionEvent& event) {
  Query query(unit, Sql::insert_session_event);
  event_fields(event, [&](const auto&... values) { query.bind(values...); });
  query.run();
}

std::vector<SessionEvent> list_session_events(Unit& unit, const SessionEventFilter& filter,
                                              unsigned limit) {
  Query query(unit,
              filter.partner.empty() ? Sql::list_session_events : Sql::partner_session_events);
  if (!filter.partner.empty()) query.bind(filter.partner);
  query.bind(filter.since, filter.until.value_or(Instant::max()), limit);
  return all_of<SessionEvent>(query, [](Query& row, SessionEvent& event) {
    event_fields(event, [&](auto&... values) { row.read(values...); });
  });
}

std::optional<Instant> oldest_session_event(Unit& unit) {
  Query query(unit, Sql::oldest_session_event);
  return first_of<Instant>(query, [](Query& row, Instant& at) { row.read(at); });
}

unsigned prune_session_events(Unit& unit, Instant before) {
  return static_cast<unsigned>(Query(unit, Sql::prune_session_events).bind(before).run());
}

}  // namespace sallyport::store

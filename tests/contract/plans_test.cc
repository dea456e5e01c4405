// Costs grow with what is due or shown, not with what there is: every statement that the daemon
// runs again and again goes through an index, and sorts nothing.
#include "fixture.h"
#include "samples.h"
#include "store/catalogue.h"
#include "store/unit.h"

namespace sallyport::store {
namespace {

class Plans : public OpenStoreTest {};
CONTRACT(Plans);

struct Planned {
  Sql statement;
  std::vector<With> clauses;
  const char* index;  ///< that it has to use; "PRIMARY KEY" for the table's own order
};

std::vector<Planned> planned() {
  const std::vector<With> newest{Clause::newest_first};
  const std::vector<With> next_page{Clause::older_than, Clause::newest_first};
  return {
      {Sql::find_key, {}, "PRIMARY"},
      {Sql::list_keys, {}, "PRIMARY"},
      {Sql::due_keys, {}, "api_key_due"},
      {Sql::earliest_key, {}, "api_key_due"},
      {Sql::clash_by_login, {}, "api_key_login"},
      {Sql::clash_by_email, {}, "api_key_email"},
      {Sql::find_key_value, {}, "key_value_sha256"},
      {Sql::key_values, {}, "PRIMARY"},
      {Sql::key_verify_rows, {}, "PRIMARY"},
      {Sql::list_verify_rows, {}, "PRIMARY"},
      {Sql::key_changes_since, {}, "PRIMARY"},
      {Sql::find_notice, {}, "PRIMARY"},
      {Sql::due_notices, {}, "notice_wake"},
      {Sql::earliest_notice, {}, "notice_wake"},
      {Sql::subject_notices, {Clause::subject_kind, Clause::subject_cycle}, "notice_subject"},
      {Sql::list_notices, newest, "notice_created"},
      {Sql::list_notices, next_page, "notice_created"},
      {Sql::list_notices, {Clause::notice_state, Clause::newest_first}, "notice_state"},
      {Sql::count_notices, {}, "notice_state"},
      {Sql::find_file, {}, "PRIMARY"},
      {Sql::due_files, {}, "journal_file_due"},
      {Sql::earliest_file, {}, "journal_file_due"},
      {Sql::files_in_state, {}, "journal_file_state_created"},
      {Sql::list_upload_intents, {}, "PRIMARY"},
      {Sql::first_unpublished, {}, "journal_file_turn"},
      {Sql::count_received, {}, "journal_file_received"},
      {Sql::delivered_content, {}, "journal_file_content"},
      {Sql::list_files, newest, "journal_file_created"},
      {Sql::list_files, next_page, "journal_file_created"},
      {Sql::list_files, {Clause::file_partner, Clause::newest_first}, "journal_file_partner"},
      {Sql::list_files, {Clause::file_state, Clause::newest_first}, "journal_file_state_created"},
      {Sql::file_steps, {}, "file_step_file"},
      {Sql::due_file_tasks, {}, "file_task_due"},
      {Sql::earliest_file_task, {}, "file_task_due"},
      {Sql::given_up_tasks, {}, "PRIMARY"},
      {Sql::list_session_events, {}, "session_event_happened"},
      {Sql::partner_session_events, {}, "session_event_partner"},
      {Sql::oldest_session_event, {}, "session_event_happened"},
      {Sql::prune_session_events, {}, "session_event_happened"},
      {Sql::find_partner, {}, "PRIMARY"},
      {Sql::partner_ssh_keys, {}, "ssh_key_partner"},
      {Sql::due_ssh_keys, {}, "ssh_key_due"},
      {Sql::due_pgp_keys, {}, "pgp_key_due"},
      {Sql::find_token, {}, "token_sha256"},
      {Sql::due_tokens, {}, "token_due"},
      {Sql::find_administrator_by_email, {}, "administrator_email"},
      {Sql::find_activity, {}, "activity_id"},
      {Sql::activity_chain, {}, "PRIMARY"},
      {Sql::activity_head, {}, "PRIMARY"},
      {Sql::last_activity_before, {}, "activity_node"},
      {Sql::list_activity, {Clause::activity_newest_first}, "activity_happened"},
  };
}

// Sorting a few rows of one partner, key or file by another column is no harm.
bool may_sort(Sql statement) {
  switch (statement) {
    case Sql::partner_ssh_keys:
    case Sql::partner_pgp_keys:
    case Sql::subject_notices:
      return true;
    default:
      return false;
  }
}

/// The statement's parameters, each with a value of a kind that fits any column.
std::string explained(const std::string& text) {
  std::string result = "EXPLAIN QUERY PLAN ";
  for (const char c : text) result += c == '?' ? std::string("'1'") : std::string(1, c);
  return result;
}

TEST_P(Plans, OfSqliteUseTheirIndex) {
  if (!is_sqlite()) return;  // MariaDB plans by what the tables hold: the next test
  const auto connection = connect();
  for (const Planned& plan : planned()) {
    const std::string text = sql_text(plan.statement, plan.clauses, Dialect::sqlite);
    Prepared& rows = connection->prepare(explained(text));
    std::string steps;
    while (rows.next()) steps += rows.text(3) + "\n";
    rows.reset();
    const bool primary = std::string(plan.index) == "PRIMARY";
    EXPECT_NE(steps.find(primary ? "USING PRIMARY KEY" : std::string("INDEX ") + plan.index),
              std::string::npos)
        << text << "\n"
        << steps;
    if (!may_sort(plan.statement)) {
      EXPECT_EQ(steps.find("TEMP B-TREE"), std::string::npos) << text << "\n" << steps;
    }
    const std::size_t scan = steps.find("SCAN ");
    EXPECT_TRUE(scan == std::string::npos || steps.find("USING", scan) != std::string::npos)
        << text << "\n"
        << steps;
  }
}

/// Rows that the server says it read while `work` ran.
template <class Work>
std::int64_t rows_read(Connection& connection, Work&& work) {
  const auto counted = [&] {
    Prepared& status = connection.prepare(
        "SELECT SUM(VARIABLE_VALUE) FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME IN "
        "('HANDLER_READ_NEXT', 'HANDLER_READ_PREV', 'HANDLER_READ_RND_NEXT', 'HANDLER_READ_FIRST', "
        "'HANDLER_READ_LAST', 'HANDLER_READ_KEY', 'HANDLER_READ_RND')");
    const bool found = status.next();
    const std::string text = found ? status.text(0) : "0";
    status.reset();
    return std::stoll(text);
  };
  const std::int64_t before = counted();
  const std::int64_t twice = counted();  // what counting itself costs
  work();
  return counted() - twice - (twice - before);
}

TEST_P(Plans, OfMariaDbReadNoMoreThanTheyShow) {
  if (is_sqlite()) return;
  constexpr int many = 2000;
  write([](Unit& unit) {
    for (int i = 0; i < many; ++i) {
      const std::string id = "k" + std::to_string(100'000 + i);
      ApiKey key = small_key(id);
      key.next_due = at(1'000'000 + i);
      insert_key(unit, key, value_of(id));
      Notice notice = full_notice(id);
      notice.created = at(i);
      notice.next_attempt = at(1'000'000 + i);
      (void)insert_notice(unit, notice);
      File file = full_file(id);
      file.created = at(i);
      file.next_due = at(1'000'000 + i);
      insert_file(unit, file);
      Activity activity = full_activity(id, "n1", i);
      append_activity(unit, activity);
    }
  });
  Server::get().sql("ANALYZE TABLE " + database_ + ".api_key, " + database_ + ".key_value, " +
                    database_ + ".notice, " + database_ + ".journal_file, " + database_ +
                    ".activity");
  const auto connection = connect();
  Unit unit(*connection, Dialect::mysql);
  const auto reads = [&](const char* what, std::int64_t most, auto&& work) {
    const std::int64_t count = rows_read(*connection, [&] { work(); });
    EXPECT_LE(count, most) << what << " read " << count << " rows";
  };
  // Twice the rows that come out, for joins and for looking where the range ends.
  reads("nothing due", 10, [&] { EXPECT_TRUE(due_keys(unit, at(5), 100).empty()); });
  reads("ten due keys", 50, [&] { EXPECT_EQ(due_keys(unit, at(1'000'009), 100).size(), 10U); });
  reads("a batch of all", 250, [&] { EXPECT_EQ(due_keys(unit, at(9'000'000), 100).size(), 100U); });
  reads("earliest key", 10, [&] { EXPECT_EQ(earliest_due(unit), at(1'000'000)); });
  reads("a page of verification", 350,
        [&] { EXPECT_EQ(list_verify_rows(unit, nullptr, 100).size(), 100U); });
  VerifyRow middle;
  middle.key_id = "k101000";
  reads("a later page of verification", 350,
        [&] { EXPECT_EQ(list_verify_rows(unit, &middle, 100).size(), 100U); });
  reads("due notices", 250, [&] { EXPECT_EQ(due_notices(unit, at(9'000'000), 100).size(), 100U); });
  reads("no due notice", 10, [&] { EXPECT_TRUE(due_notices(unit, at(5), 100).empty()); });
  reads("newest notices", 30, [&] { EXPECT_EQ(list_notices(unit, {}, nullptr, 10).size(), 10U); });
  reads("due files", 250, [&] {
    EXPECT_EQ(due_files(unit, {FileState::received}, at(9'000'000), 100).size(), 100U);
  });
  reads("earliest notice", 10, [&] { EXPECT_EQ(earliest_notice(unit), at(1'000'000)); });
  reads("earliest file", 10,
        [&] { EXPECT_EQ(earliest_file_due(unit, {FileState::received}), at(1'000'000)); });
  reads("no due file", 10,
        [&] { EXPECT_TRUE(due_files(unit, {FileState::received}, at(5), 100).empty()); });
  reads("newest files", 30, [&] { EXPECT_EQ(list_files(unit, {}, nullptr, 10).size(), 10U); });
  reads("newest activity", 30, [&] { EXPECT_EQ(list_activity(unit, {}, 0, 10).size(), 10U); });
  reads("the chain's head", 5, [&] { EXPECT_EQ(activity_head(unit, "n1")->sequence, many); });
}

}  // namespace
}  // namespace sallyport::store

#include "store/migrations.h"

#include <fmt/format.h>
#include <chrono>
#include <thread>

#include <algorithm>
#include <array>
#include <optional>

#include "store/catalogue.h"

namespace sallyport::store {
namespace {

constexpr std::string_view version_table =
    "CREATE TABLE IF NOT EXISTS schema_version (version {number}, name {id}, "
    "PRIMARY KEY (version)) {table}";

std::optional<std::int64_t> one_number(Connection& connection, const std::string& query) {
  Prepared& prepared = connection.prepare(query);
  std::optional<std::int64_t> number;
  if (prepared.next() && !prepared.is_null(0)) number = prepared.integer(0);
  prepared.reset();
  return number;
}

std::string one_text(Connection& connection, const std::string& query) {
  Prepared& prepared = connection.prepare(query);
  std::string text;
  if (prepared.next()) text = prepared.text(0);
  prepared.reset();
  return text;
}

int newest() {
  return migrations().back().number;
}

/// The number of the last migration that ran to its end; 0 for an empty database.
int present_version(Connection& connection) {
  const auto version = one_number(connection, "SELECT MAX(version) FROM schema_version");
  return static_cast<int>(version.value_or(0));
}

void refuse_newer(int present, const std::string& database) {
  if (present <= newest()) return;
  throw Error(Failure::schema_newer, present,
              fmt::format("the database {} has schema {}, this program knows {}: a newer Sallyport "
                          "was here; install that version again, or restore the backup that was "
                          "made before it",
                          database, present, newest()));
}

void record(Connection& connection, const Migration& migration) {
  Prepared& insert = connection.prepare("INSERT INTO schema_version (version, name) VALUES (?, ?)");
  insert.bind_integer(1, migration.number);
  insert.bind_text(2, migration.name);
  insert.run();
  insert.reset();
}

/// SQLite answers "busy" here without waiting when another process opens the same new file: wait as
/// long as for any other lock.
void set_wal(Connection& connection, const Options& options) {
  constexpr int sqlite_busy = 5;  // SQLITE_BUSY; extended codes have it in their lowest byte
  constexpr std::chrono::milliseconds pause{10};
  const auto deadline =
      std::chrono::steady_clock::now() + std::chrono::milliseconds{options.lock_wait_ms};
  for (;;) {
    try {
      connection.execute("PRAGMA journal_mode = WAL");
      return;
    } catch (const Error& error) {
      if ((error.code() & 0xFF) != sqlite_busy || std::chrono::steady_clock::now() >= deadline)
        throw;
    }
    std::this_thread::sleep_for(pause);
  }
}

void migrate_sqlite(Connection& connection, const Options& options) {
  // In one statement: between two, another process that opens the same new file may have made ours.
  constexpr std::int64_t nothing = 0;
  constexpr std::int64_t ours = 2;
  const std::int64_t there =
      one_number(connection,
                 "SELECT COALESCE(MAX(CASE WHEN name = 'schema_version' THEN 2 ELSE 1 END), 0) "
                 "FROM sqlite_master WHERE type = 'table'")
          .value_or(nothing);
  if (there == ours) {
    refuse_newer(present_version(connection), options.sqlite_path);
  } else if (there != nothing) {
    throw Error(
        Failure::broken, 0,
        fmt::format("{} is a database of another program; name another file", options.sqlite_path));
  } else {
    // A key's row is a few hundred bytes: larger pages keep the tree flat.
    connection.execute("PRAGMA page_size = 8192");
  }
  set_wal(connection, options);

  connection.begin(true);
  try {
    connection.execute(dialect_text(version_table, Dialect::sqlite));
    // Again, now that nobody else can write.
    const int present = present_version(connection);
    refuse_newer(present, options.sqlite_path);
    for (const Migration& migration : migrations()) {
      if (migration.number <= present) continue;
      for (const std::string_view statement : migration.statements) {
        connection.execute(dialect_text(statement, Dialect::sqlite));
      }
      record(connection, migration);
    }
    connection.commit();
  } catch (...) {
    connection.rollback();
    throw;
  }
}

/// A collation that compares byte for byte; the one without NO PAD in its name would take "a" and
/// "a " for the same.
std::string mysql_collation(Connection& connection) {
  for (const char* name : {"utf8mb4_nopad_bin", "utf8mb4_0900_bin"}) {
    const std::string found = one_text(
        connection,
        fmt::format(
            "SELECT COLLATION_NAME FROM information_schema.COLLATIONS WHERE COLLATION_NAME = '{}'",
            name));
    if (!found.empty()) return found;
  }
  return "utf8mb4_bin";
}

/// Runs a statement of a migration that may have been cut short: table, column or index exists.
void execute_again(Connection& connection, const std::string& statement) {
  constexpr std::array done_already{1050, 1060, 1061, 1091};
  try {
    connection.execute(statement);
  } catch (const Error& error) {
    if (std::find(done_already.begin(), done_already.end(), error.code()) == done_already.end()) {
      throw;
    }
  }
}

void run_on_mysql(Connection& connection, const Options& options) {
  const std::string collation = mysql_collation(connection);
  const bool ours =
      one_number(connection,
                 "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() "
                 "AND TABLE_NAME = 'schema_version'")
          .value_or(0) != 0;
  const int present = ours ? present_version(connection) : 0;
  refuse_newer(present, options.database);
  if (!ours) connection.execute(dialect_text(version_table, Dialect::mysql, collation));
  for (const Migration& migration : migrations()) {
    if (migration.number <= present) continue;
    for (const std::string_view statement : migration.statements) {
      execute_again(connection, dialect_text(statement, Dialect::mysql, collation));
    }
    try {
      record(connection, migration);
    } catch (const Error& error) {
      // Another node of a cluster, where the lock below is each node's own, was as far.
      if (error.kind() != Failure::duplicate) throw;
    }
  }
}

void migrate_mysql(Connection& connection, const Options& options) {
  // Named after the database, for the lock is the whole server's.
  const std::string lock = "LEFT(CONCAT('sallyport_schema_', DATABASE()), 64)";
  if (one_number(connection, fmt::format("SELECT GET_LOCK({}, 60)", lock)).value_or(0) != 1) {
    throw Error(Failure::unavailable, 0,
                fmt::format("another Sallyport has been changing the schema of {} for a minute; "
                            "wait for it to end",
                            options.database));
  }
  try {
    run_on_mysql(connection, options);
  } catch (...) {
    connection.rollback();
    throw;  // the connection is dropped, and the lock with it
  }
  (void)one_number(connection, fmt::format("SELECT RELEASE_LOCK({})", lock));
}

}  // namespace

void migrate(Connection& connection, const Options& options) {
  if (options.dialect == Dialect::sqlite) {
    migrate_sqlite(connection, options);
  } else {
    migrate_mysql(connection, options);
  }
}

}  // namespace sallyport::store

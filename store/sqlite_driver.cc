// SQLite: the embedded default. WAL with synchronous=FULL (NORMAL loses acknowledged commits when
// the power goes), one writer at a time.
#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>

#include <cerrno>
#include <unordered_map>
#include <utility>

#include "base/c_handle.h"
#include "base/error.h"
#include "store/sql.h"

namespace sallyport::store {
namespace {

using Database = base::CHandle<sqlite3, sqlite3_close_v2>;
using StatementHandle = base::CHandle<sqlite3_stmt, sqlite3_finalize>;

Failure failure_of(int code) {
  switch (code) {
    case SQLITE_CONSTRAINT_PRIMARYKEY:
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_ROWID:
      return Failure::duplicate;
    default:
      break;
  }
  switch (code & 0xFF) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Failure::conflict;
    case SQLITE_FULL:
      return Failure::full;
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return Failure::refused;
    case SQLITE_IOERR:
    case SQLITE_NOMEM:
      return Failure::unavailable;
    default:
      return Failure::broken;
  }
}

const char* advice(Failure failure) {
  switch (failure) {
    case Failure::conflict:
      return "another process holds its lock; end that process if this goes on";
    case Failure::full:
      return "make room on its disk; Sallyport tries again by itself";
    case Failure::refused:
      return "let Sallyport's user read and write the file and its directory";
    case Failure::unavailable:
      return "look after its disk; Sallyport tries again by itself";
    default:
      return "if the file is damaged, restore it from a backup";
  }
}

[[noreturn]] void fail(sqlite3* database, int result, std::string_view doing) {
  const int code = database != nullptr ? sqlite3_extended_errcode(database) : result;
  const char* text = database != nullptr ? sqlite3_errmsg(database) : sqlite3_errstr(result);
  const char* path = database != nullptr ? sqlite3_db_filename(database, "main") : "";
  const Failure failure = failure_of(code);
  // SQLite's message names columns and tables, never values.
  if (failure == Failure::duplicate) {
    throw Error(failure, code, fmt::format("'{}': {}", shortened(doing), text));
  }
  throw Error(failure, code,
              fmt::format("the database {} failed at '{}': {} (SQLite {}); {}", path,
                          shortened(doing), text, code, advice(failure)));
}

class SqlitePrepared final : public Prepared {
 public:
  SqlitePrepared(sqlite3* database, const std::string& text) : database_(database) {
    sqlite3_stmt* raw = nullptr;
    const int result = sqlite3_prepare_v3(database, text.data(), static_cast<int>(text.size() + 1),
                                          SQLITE_PREPARE_PERSISTENT, &raw, nullptr);
    statement_.reset(raw);
    if (result != SQLITE_OK) fail(database, result, text);
  }

  void bind_null(unsigned parameter) override {
    check(sqlite3_bind_null(statement_.get(), static_cast<int>(parameter)));
  }
  void bind_integer(unsigned parameter, std::int64_t value) override {
    check(sqlite3_bind_int64(statement_.get(), static_cast<int>(parameter), value));
  }
  void bind_text(unsigned parameter, std::string_view value) override {
    std::string copy;
    value = valid_utf8(value, copy);
    check(sqlite3_bind_text64(statement_.get(), static_cast<int>(parameter), not_null(value),
                              value.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
  }
  void bind_bytes(unsigned parameter, std::string_view value) override {
    check(sqlite3_bind_blob64(statement_.get(), static_cast<int>(parameter), not_null(value),
                              value.size(), SQLITE_TRANSIENT));
  }

  std::int64_t run() override {
    while (next()) {
    }
    return sqlite3_changes64(database_);
  }
  bool next() override {
    const int result = sqlite3_step(statement_.get());
    if (result == SQLITE_ROW) return true;
    if (result != SQLITE_DONE) fail(database_, result, sqlite3_sql(statement_.get()));
    return false;
  }
  bool is_null(unsigned column) override {
    return sqlite3_column_type(statement_.get(), static_cast<int>(column)) == SQLITE_NULL;
  }
  std::int64_t integer(unsigned column) override {
    return sqlite3_column_int64(statement_.get(), static_cast<int>(column));
  }
  std::string text(unsigned column) override {
    const int index = static_cast<int>(column);
    const auto* data = static_cast<const char*>(sqlite3_column_blob(statement_.get(), index));
    if (data == nullptr) return {};
    return {data, static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), index))};
  }
  void reset() noexcept override {
    // Its result is that of the last step, which has been seen.
    (void)sqlite3_reset(statement_.get());
    (void)sqlite3_clear_bindings(statement_.get());
  }

 private:
  /// SQLite takes a null pointer for NULL, also where the length is 0.
  static const char* not_null(std::string_view value) {
    return value.data() == nullptr ? "" : value.data();
  }
  void check(int result) {
    if (result != SQLITE_OK) fail(database_, result, sqlite3_sql(statement_.get()));
  }

  sqlite3* database_;
  StatementHandle statement_;
};

// SQLite counts what memory it has, under one lock of the whole process that every allocation of
// every connection takes: 56 futex(2) for each file that went through the pipeline.
void count_no_memory() {
  static const int result = sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
  static_cast<void>(result);  // too late if something else in the process uses SQLite: no harm
}

class SqliteConnection final : public Connection {
 public:
  SqliteConnection(const Options& options, bool writes) {
    count_no_memory();
    if (writes) make_private_file(options.sqlite_path);
    sqlite3* raw = nullptr;
    // Readers open for writing too: WAL readers have to write to the shared index.
    const int result = sqlite3_open_v2(options.sqlite_path.c_str(), &raw,
                                       SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
    database_.reset(raw);
    if (result != SQLITE_OK) fail(raw, result, "open " + options.sqlite_path);
    sqlite3_extended_result_codes(raw, 1);
    sqlite3_busy_timeout(raw, static_cast<int>(options.lock_wait_ms));
    if (!writes) {
      execute("PRAGMA query_only = ON");
      execute("PRAGMA cache_size = -8000");
      return;
    }
    execute("PRAGMA foreign_keys = ON");
    execute("PRAGMA cache_size = -16000");
    execute("PRAGMA synchronous = FULL");
    // 16 MiB. What many small commits write again and again is copied back once then, not every
    // thirty commits, and less often while somebody waits for his.
    execute("PRAGMA wal_autocheckpoint = 4000");
  }

  Prepared& prepare(const std::string& text) override {
    std::unique_ptr<SqlitePrepared>& slot = prepared_[text];
    if (!slot) slot = std::make_unique<SqlitePrepared>(database_.get(), text);
    return *slot;
  }
  void execute(const std::string& text) override {
    const int result = sqlite3_exec(database_.get(), text.c_str(), nullptr, nullptr, nullptr);
    if (result != SQLITE_OK) fail(database_.get(), result, text);
  }
  void begin(bool writes) override {
    if (prepared_.size() > most_prepared) prepared_.clear();
    execute(writes ? "BEGIN IMMEDIATE" : "BEGIN");
  }
  void commit() override { execute("COMMIT"); }
  void rollback() noexcept override {
    // A full disk and the like have ended the transaction already.
    if (sqlite3_get_autocommit(database_.get()) != 0) return;
    if (sqlite3_exec(database_.get(), "ROLLBACK", nullptr, nullptr, nullptr) != SQLITE_OK) {
      usable_ = false;
    }
  }
  bool usable() const noexcept override { return usable_; }

 private:
  /// SQLite would make the file by the umask; -wal and -shm take the mode of the file.
  static void make_private_file(const std::string& path) {
    const base::UniqueFd file(::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    if (file) return;
    const int code = errno;
    throw Error(code == ENOSPC ? Failure::full : Failure::refused, code,
                base::SystemError(code, "open the database " + path).what() +
                    std::string("; make its directory and let Sallyport's user write there"));
  }

  Database database_;
  std::unordered_map<std::string, std::unique_ptr<SqlitePrepared>> prepared_;
  bool usable_ = true;
};

}  // namespace

std::unique_ptr<Connection> connect_sqlite(const Options& options, bool writes) {
  return std::make_unique<SqliteConnection>(options, writes);
}

}  // namespace sallyport::store

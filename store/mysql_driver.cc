// MySQL, MariaDB and Galera through MySQL Connector/C++ 1.1. What is peculiar here, and why:
// - COMMIT is executed as a statement: the connector's commit() returns normally on a Galera node
//   that has lost the certification.
// - No OPT_RECONNECT: it would drop the session's settings without a word.
// - Text goes over TCP in the clear unless sslEnforce is set, and only sslCA and sslVerify together
//   make sure of the server: all three for a host that is not this machine.
// - A server's message may quote values: only those about connections are passed on.
#include <cppconn/driver.h>
#include <cppconn/exception.h>
#include <cppconn/prepared_statement.h>
#include <cppconn/resultset.h>
#include <fmt/format.h>
#include <mysql_driver.h>

#include <array>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>

#include "store/sql.h"

namespace sallyport::store {
namespace {

struct Code {
  int number;
  Failure failure;
};
constexpr std::array codes{
    Code{1213, Failure::conflict},     // deadlock, or lost certification
    Code{1205, Failure::conflict},     // lock wait timeout
    Code{1020, Failure::conflict},     // row changed since the snapshot was taken
    Code{1062, Failure::duplicate},    //
    Code{1022, Failure::duplicate},    //
    Code{1044, Failure::refused},      // no right to the database
    Code{1045, Failure::refused},      // wrong user or password
    Code{1049, Failure::refused},      // no such database
    Code{1129, Failure::refused},      // host blocked after errors
    Code{1130, Failure::refused},      // host not allowed
    Code{1142, Failure::refused},      // no right to the table
    Code{1143, Failure::refused},      // no right to the column
    Code{1227, Failure::refused},      // privilege missing
    Code{1698, Failure::refused},      // user has to log in another way
    Code{2026, Failure::refused},      // TLS failed or is not trusted
    Code{1021, Failure::full},         // disk full
    Code{1114, Failure::full},         // table full
    Code{1040, Failure::unavailable},  // too many connections
    Code{1047, Failure::unavailable},  // Galera node has no quorum
    Code{1053, Failure::unavailable},  // server shuts down
    Code{1152, Failure::unavailable},  // connection aborted
    Code{1158, Failure::unavailable},  // network
    Code{1159, Failure::unavailable},  //
    Code{1160, Failure::unavailable},  //
    Code{1161, Failure::unavailable},  //
    Code{1203, Failure::unavailable},  // too many connections of this user
    Code{1290, Failure::unavailable},  // server is read-only: fail-over under way
    Code{1836, Failure::unavailable},  //
    Code{1317, Failure::unavailable},  // query killed
    Code{1927, Failure::unavailable},  // connection killed
    Code{1969, Failure::unavailable},  // statement took too long
    Code{3024, Failure::unavailable},  //
    Code{4031, Failure::unavailable},  // idle too long
    Code{2002, Failure::unavailable},  // cannot connect
    Code{2003, Failure::unavailable},  //
    Code{2005, Failure::unavailable},  // unknown host
    Code{2006, Failure::unavailable},  // gone away
    Code{2012, Failure::unavailable},  // error in the handshake
    Code{2013, Failure::unavailable},  // lost during a query
    Code{2055, Failure::unavailable},  // lost
};

Failure failure_of(int number) {
  for (const Code& code : codes) {
    if (code.number == number) return code.failure;
  }
  return Failure::broken;
}

/// True where the message is about the server or the login and quotes no value that was bound.
bool harmless_message(Failure failure) {
  return failure == Failure::refused || failure == Failure::unavailable || failure == Failure::full;
}

[[noreturn]] void fail(const sql::SQLException& error, std::string_view doing) {
  const int number = error.getErrorCode();
  const Failure failure = failure_of(number);
  std::string sentence =
      fmt::format("the database server failed at '{}' with MySQL error {} (SQLSTATE {})",
                  shortened(doing), number, error.getSQLStateCStr());
  if (harmless_message(failure)) sentence += fmt::format(": {}", error.what());
  throw Error(failure, number, sentence);
}

bool is_loopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

std::string where(const Options& options) {
  if (!options.unix_socket.empty()) return options.unix_socket;
  return fmt::format("{}:{}", options.host, options.port);
}

/// The client library keeps memory for each thread that uses it.
void enter_thread(sql::Driver& driver) {
  struct Thread {
    explicit Thread(sql::Driver& used) : driver(used) { driver.threadInit(); }
    ~Thread() { driver.threadEnd(); }
    Thread(const Thread&) = delete;
    Thread& operator=(const Thread&) = delete;
    sql::Driver& driver;
  };
  static thread_local const Thread thread(driver);
}

class MysqlPrepared final : public Prepared {
 public:
  MysqlPrepared(sql::Connection& connection, const std::string& text, bool& lost)
      : text_(text), lost_(lost) {
    guarded([&] { statement_.reset(connection.prepareStatement(text)); });
  }

  void bind_null(unsigned parameter) override {
    guarded([&] { statement_->setNull(parameter, 0); });
  }
  void bind_integer(unsigned parameter, std::int64_t value) override {
    guarded([&] { statement_->setInt64(parameter, value); });
  }
  void bind_text(unsigned parameter, std::string_view value) override {
    std::string copy;
    bind_bytes(parameter, valid_utf8(value, copy));
  }
  void bind_bytes(unsigned parameter, std::string_view value) override {
    guarded([&] { statement_->setString(parameter, sql::SQLString(value.data(), value.size())); });
  }

  std::int64_t run() override {
    std::int64_t count = 0;
    guarded([&] { count = statement_->executeUpdate(); });
    return count;
  }
  bool next() override {
    bool more = false;
    guarded([&] {
      if (!rows_) rows_.reset(statement_->executeQuery());
      more = rows_->next();
    });
    return more;
  }
  bool is_null(unsigned column) override {
    bool null = false;
    guarded([&] { null = rows_->isNull(column + 1); });
    return null;
  }
  std::int64_t integer(unsigned column) override {
    std::int64_t value = 0;
    guarded([&] { value = rows_->getInt64(column + 1); });
    return value;
  }
  std::string text(unsigned column) override {
    std::string value;
    guarded([&] { value = rows_->getString(column + 1).asStdString(); });
    return value;
  }
  void reset() noexcept override {
    try {
      rows_.reset();
    } catch (...) {  // a lost connection shows at the next statement
    }
  }

 private:
  template <class Call>
  void guarded(Call&& call) {
    try {
      call();
    } catch (const sql::SQLException& error) {
      if (failure_of(error.getErrorCode()) == Failure::unavailable) lost_ = true;
      fail(error, text_);
    }
  }

  std::string text_;
  bool& lost_;
  std::unique_ptr<sql::PreparedStatement> statement_;
  std::unique_ptr<sql::ResultSet> rows_;
};

class MysqlConnection final : public Connection {
 public:
  explicit MysqlConnection(const Options& options) : driver_(*get_driver_instance()) {
    enter_thread(driver_);
    if (options.unix_socket.empty() && options.tls_ca.empty() && !is_loopback(options.host)) {
      throw Error(Failure::refused, 0,
                  fmt::format("the database at {} is on another machine: set the file of the "
                              "authority that signed its certificate (tls_ca), for passwords and "
                              "keys would cross the network in the clear",
                              where(options)));
    }
    open(options);
    plain_.reset(connection_->createStatement());
    execute("SET NAMES utf8mb4");
    execute("SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'");
    execute(fmt::format("SET SESSION innodb_lock_wait_timeout = {}",
                        std::max(1U, (options.lock_wait_ms + 999) / 1000)));
  }
  ~MysqlConnection() override {
    enter_thread(driver_);
    prepared_.clear();
    plain_.reset();
  }

  Prepared& prepare(const std::string& text) override {
    enter_thread(driver_);
    std::unique_ptr<MysqlPrepared>& slot = prepared_[text];
    if (!slot) slot = std::make_unique<MysqlPrepared>(*connection_, text, lost_);
    return *slot;
  }
  void execute(const std::string& text) override {
    enter_thread(driver_);
    try {
      plain_->execute(text);
    } catch (const sql::SQLException& error) {
      if (failure_of(error.getErrorCode()) == Failure::unavailable) lost_ = true;
      fail(error, text);
    }
  }
  void begin(bool writes) override {
    enter_thread(driver_);
    if (prepared_.size() > most_prepared) prepared_.clear();
    // A snapshot for readers; writers see what is committed and lock what they change.
    if (isolated_for_writes_ != writes) {
      execute(writes ? "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
                     : "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ");
      isolated_for_writes_ = writes;
    }
    execute(writes ? "START TRANSACTION READ WRITE"
                   : "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY");
    open_ = true;
  }
  void commit() override {
    execute("COMMIT");
    open_ = false;
  }
  void rollback() noexcept override {
    if (!open_ || lost_) return;
    try {
      execute("ROLLBACK");
      open_ = false;
    } catch (...) {
      lost_ = true;
    }
  }
  bool usable() const noexcept override { return !lost_; }

 private:
  void open(const Options& options) {
    sql::ConnectOptionsMap properties;
    if (options.unix_socket.empty()) {
      // "localhost" would mean the client library's own idea of a unix socket.
      const std::string host = options.host == "localhost" && options.tls_ca.empty()
                                   ? std::string("127.0.0.1")
                                   : options.host;
      const bool bracket = host.find(':') != std::string::npos;
      properties["hostName"] = sql::SQLString(fmt::format("tcp://{}{}{}:{}", bracket ? "[" : "",
                                                          host, bracket ? "]" : "", options.port));
    } else {
      properties["hostName"] = sql::SQLString("unix://" + options.unix_socket);
    }
    properties["userName"] = sql::SQLString(options.user);
    const std::string_view password = options.password.reveal();
    properties["password"] = sql::SQLString(password.data(), password.size());
    properties["schema"] = sql::SQLString(options.database);
    properties["OPT_CHARSET_NAME"] = sql::SQLString("utf8mb4");
    properties["OPT_CONNECT_TIMEOUT"] = 5;
    properties["OPT_READ_TIMEOUT"] = 30;
    properties["OPT_WRITE_TIMEOUT"] = 30;
    // Matched rows, not changed ones, as SQLite counts them.
    properties["CLIENT_FOUND_ROWS"] = true;
    if (options.unix_socket.empty() && !options.tls_ca.empty()) {
      properties["sslCA"] = sql::SQLString(options.tls_ca);
      properties["sslEnforce"] = true;
      properties["sslVerify"] = true;
    }
    try {
      connection_.reset(driver_.connect(properties));
    } catch (const sql::SQLException& error) {
      refuse(options, error);
    }
  }

  [[noreturn]] static void refuse(const Options& options, const sql::SQLException& error) {
    const Failure failure = failure_of(error.getErrorCode());
    const char* advice = "";
    if (failure == Failure::unavailable) {
      advice = "start it, or correct the address; Sallyport tries again by itself";
    } else if (error.getErrorCode() == 2026) {
      advice =
          "its certificate has to be signed by the authority in tls_ca for this very host name";
    } else {
      advice = "correct user, password or database, or grant that user all rights on it";
    }
    throw Error(
        failure, error.getErrorCode(),
        fmt::format("cannot connect to the database '{}' at {}: {} (MySQL {}); {}",
                    options.database, where(options), error.what(), error.getErrorCode(), advice));
  }

  sql::Driver& driver_;
  std::unique_ptr<sql::Connection> connection_;
  std::unique_ptr<sql::Statement> plain_;
  std::unordered_map<std::string, std::unique_ptr<MysqlPrepared>> prepared_;
  std::optional<bool> isolated_for_writes_;
  bool open_ = false;
  bool lost_ = false;
};

}  // namespace

std::unique_ptr<Connection> connect_mysql(const Options& options) {
  return std::make_unique<MysqlConnection>(options);
}

}  // namespace sallyport::store

// What only a server can do to us: refuse, hang up, restart, deadlock.
#include <atomic>
#include <latch>
#include <thread>

#include "base/file_io.h"
#include "fixture.h"
#include "samples.h"
#include "store/cluster.h"

namespace sallyport::store {
namespace {

class MariaDb : public OpenStoreTest {
 protected:
  static Server& server() { return Server::get(); }
  Options tcp_options() const {
    Options options = this->options();
    options.unix_socket.clear();
    options.host = "127.0.0.1";
    options.port = static_cast<std::uint16_t>(std::stoi(server().setting("MARIADB_PORT")));
    return options;
  }
  static Error refused(Options options) {
    return error_of([&] { (void)open_store(std::move(options)); });
  }
  std::optional<std::string> setting(const std::string& name) {
    return read([&](Unit& unit) { return get_setting(unit, name); });
  }
};
INSTANTIATE_TEST_SUITE_P(, MariaDb, testing::Values(Dialect::mysql), dialect_name);

TEST_P(MariaDb, ADeadlockIsResolvedByRunningOneAgain) {
  write([](Unit& unit) {
    put_setting(unit, "a", "0");
    put_setting(unit, "b", "0");
  });
  std::latch both_hold_one(2);
  std::atomic<int> attempts = 0;
  const auto change = [&](const char* first, const char* second, const char* content) {
    bool again = false;
    write([&](Unit& unit) {
      ++attempts;
      put_setting(unit, first, content);
      if (!again) both_hold_one.arrive_and_wait();
      again = true;
      put_setting(unit, second, content);
    });
  };
  std::jthread other([&] { change("b", "a", "2"); });
  change("a", "b", "1");
  other.join();
  EXPECT_EQ(attempts, 3) << "the server ended one of them";
  EXPECT_EQ(setting("a"), setting("b"));
}

TEST_P(MariaDb, ALockWaitThatTakesTooLongIsAConflict) {
  Options impatient = options();
  impatient.lock_wait_ms = 1;
  const auto store = open_store(std::move(impatient));
  write([](Unit& unit) { put_setting(unit, "a", "0"); });
  const auto holder = connect();
  holder->begin(true);
  holder->execute("UPDATE setting SET content = 'held' WHERE name = 'a'");
  int attempts = 0;
  store->write([&](Unit& unit) {
    // The first attempt waits in vain; then the lock is free.
    if (++attempts == 2) holder->rollback();
    put_setting(unit, "a", "mine");
  });
  EXPECT_EQ(attempts, 2);
  EXPECT_EQ(setting("a"), "mine");
}

TEST_P(MariaDb, IdleConnectionsThatWereDroppedAreReplacedUnseen) {
  write([](Unit& unit) { put_setting(unit, "a", "1"); });
  server().drop_connections();
  EXPECT_EQ(setting("a"), "1");
  server().drop_connections();
  write([](Unit& unit) { put_setting(unit, "a", "2"); });
  EXPECT_EQ(setting("a"), "2");
  server().drop_connections();
  EXPECT_NO_THROW(store_->ping());
}

TEST_P(MariaDb, AConnectionLostInTheMiddleMeansTheWholeUnitAgain) {
  int attempts = 0;
  write([&](Unit& unit) {
    put_setting(unit, "attempt" + std::to_string(++attempts), "1");
    if (attempts == 1) server().drop_connections();
    put_setting(unit, "b", "1");
  });
  EXPECT_EQ(attempts, 2);
  EXPECT_EQ(setting("attempt1"), std::nullopt);
  EXPECT_EQ(setting("attempt2"), "1");
}

TEST_P(MariaDb, AConnectionLostTwiceIsSaid) {
  int attempts = 0;
  const auto work = [&](Unit& unit) {
    ++attempts;
    server().drop_connections();
    put_setting(unit, "a", "1");
  };
  EXPECT_EQ(error_of([&] { write(work); }).kind(), Failure::unavailable);
  EXPECT_EQ(attempts, 2);
  EXPECT_EQ(setting("a"), std::nullopt);
}

// Whether the commit was done nobody knows: the caller has to look, so it is never run again here.
TEST_P(MariaDb, AConnectionLostAtTheCommitIsNotRetried) {
  int attempts = 0;
  const auto work = [&](Unit& unit) {
    ++attempts;
    put_setting(unit, "a", "1");
    server().drop_connections();
  };
  EXPECT_EQ(error_of([&] { write(work); }).kind(), Failure::unavailable);
  EXPECT_EQ(attempts, 1);
  EXPECT_EQ(setting("a"), std::nullopt) << "this server had not committed";
}

TEST_P(MariaDb, AStoppedServerIsSaidAndItsReturnIsNoticed) {
  write([](Unit& unit) { put_setting(unit, "a", "1"); });
  server().stop();
  for (int i = 0; i < 3; ++i) {
    const Error error = error_of([&] { (void)setting("a"); });
    EXPECT_EQ(error.kind(), Failure::unavailable);
    EXPECT_NE(std::string(error.what()).find("start it"), std::string::npos) << error.what();
  }
  EXPECT_EQ(error_of([&] { store_->ping(); }).kind(), Failure::unavailable);
  EXPECT_EQ(refused(options()).kind(), Failure::unavailable);
  server().start();
  EXPECT_EQ(setting("a"), "1");
  write([](Unit& unit) { put_setting(unit, "a", "2"); });
  EXPECT_EQ(setting("a"), "2");
}

TEST_P(MariaDb, AnotherOpensWhileTheFirstHoldsTheSchemaLock) {
  // The lock of a migration under way is waited for; what comes after it finds all done.
  const auto holder = connect();
  (void)value(*holder, "SELECT GET_LOCK(CONCAT('sallyport_schema_', DATABASE()), 0)");
  std::latch started(1);
  std::jthread second([&] {
    started.count_down();
    EXPECT_NO_THROW((void)open());
  });
  started.wait();
  (void)value(*holder, "SELECT RELEASE_LOCK(CONCAT('sallyport_schema_', DATABASE()))");
}

TEST_P(MariaDb, WrongCredentialsAreSaidWithoutThePassword) {
  Options options = this->options();
  options.password = base::Secret("wrong-password");
  const Error error = refused(std::move(options));
  EXPECT_EQ(error.kind(), Failure::refused);
  EXPECT_EQ(error.code(), 1045);
  EXPECT_EQ(std::string(error.what()).find("wrong-password"), std::string::npos);
  options = this->options();
  options.user = "nobody";
  EXPECT_EQ(refused(std::move(options)).kind(), Failure::refused);
}

TEST_P(MariaDb, ADatabaseThatIsNotOursIsRefused) {
  Options options = this->options();
  options.database = "mysql";
  EXPECT_EQ(refused(std::move(options)).kind(), Failure::refused);
  options = this->options();
  options.database = "sallyport_missing";
  EXPECT_EQ(refused(std::move(options)).code(), 1049);
}

TEST_P(MariaDb, OverTcpToThisMachine) {
  for (const char* host : {"127.0.0.1", "localhost"}) {
    Options options = tcp_options();
    options.host = host;
    const auto store = open_store(std::move(options));
    store->write([](Unit& unit) { put_setting(unit, "a", "tcp"); });
    EXPECT_EQ(setting("a"), "tcp");
  }
}

TEST_P(MariaDb, AClosedPortIsSaid) {
  Options options = tcp_options();
  options.port = 1;
  const Error error = refused(std::move(options));
  EXPECT_EQ(error.kind(), Failure::unavailable);
  EXPECT_NE(std::string(error.what()).find("127.0.0.1:1"), std::string::npos) << error.what();
}

TEST_P(MariaDb, AnotherMachineWithoutAuthorityIsRefusedBeforeAnythingIsSent) {
  Options options = tcp_options();
  options.host = "192.0.2.1";  // nobody answers there: an attempt would take seconds, and fail else
  const Error error = refused(std::move(options));
  EXPECT_EQ(error.kind(), Failure::refused);
  EXPECT_NE(std::string(error.what()).find("tls_ca"), std::string::npos) << error.what();
}

TEST_P(MariaDb, TlsVerifiesTheAuthority) {
  Options options = tcp_options();
  options.tls_ca = server().setting("MARIADB_CA");
  const auto connection = connect_mysql(options);
  Prepared& cipher = connection->prepare("SHOW SESSION STATUS LIKE 'Ssl_cipher'");
  ASSERT_TRUE(cipher.next());
  EXPECT_NE(cipher.text(1), "");
  cipher.reset();

  // Another authority of the same name, with another key.
  const std::filesystem::path other = directory_ / "other.pem";
  const std::string command =
      "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 "
      "-subj '/CN=Test authority' -keyout /dev/null -out " +
      other.string() + " 2>/dev/null";
  ASSERT_EQ(std::system(command.c_str()), 0);
  options.tls_ca = other;
  const Error error = refused(std::move(options));
  EXPECT_EQ(error.kind(), Failure::refused);
  EXPECT_NE(std::string(error.what()).find("authority"), std::string::npos) << error.what();
}

TEST_P(MariaDb, TlsVerifiesTheName) {
  Options options = tcp_options();
  options.tls_ca = server().setting("MARIADB_CA");
  options.host = "127.0.0.2";  // the server listens there too; its certificate does not say so
  EXPECT_EQ(refused(std::move(options)).kind(), Failure::refused);
}

TEST_P(MariaDb, MessagesQuoteNoValue) {
  Activity activity = full_activity(std::string(100, 's'));  // longer than its column
  const Error error =
      error_of([&] { write([&](Unit& unit) { append_activity(unit, activity); }); });
  EXPECT_EQ(error.kind(), Failure::broken);
  EXPECT_EQ(std::string(error.what()).find("sss"), std::string::npos) << error.what();
  write([](Unit& unit) { insert_key(unit, small_key("secret-id"), value_of("k")); });
  const auto again = [](Unit& unit) { insert_key(unit, small_key("secret-id"), value_of("k")); };
  const Error duplicate = error_of([&] { write(again); });
  EXPECT_EQ(duplicate.kind(), Failure::duplicate);
  EXPECT_EQ(std::string(duplicate.what()).find("secret-id"), std::string::npos);
}

TEST_P(MariaDb, SessionsAreSetUpAsTheStoreNeedsThem) {
  const auto connection = connect();
  EXPECT_EQ(value(*connection, "SELECT @@character_set_connection"), "utf8mb4");
  connection->begin(true);
  EXPECT_EQ(value(*connection, "SELECT @@tx_isolation"), "READ-COMMITTED");
  connection->rollback();
  connection->begin(false);
  EXPECT_EQ(value(*connection, "SELECT @@tx_isolation"), "REPEATABLE-READ");
  connection->rollback();
  EXPECT_EQ(value(*connection,
                  "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() "
                  "AND TABLE_NAME <> 'schema_version' AND TABLE_COLLATION NOT LIKE "
                  "'utf8mb4%nopad_bin'"),
            "0");
}

}  // namespace
}  // namespace sallyport::store

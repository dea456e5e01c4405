// What every contract test stands on: a fresh, empty store of each driver.
//
// A test class `class Keys : public StoreTest {}` with CONTRACT(Keys) runs all its tests on SQLite
// and on MariaDB. One MariaDB server serves the whole program and is stopped at its end.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>

#include "store/sql.h"
#include "store/store.h"

namespace sallyport::store {

/// The server that tests/mariadb runs. start() and the others wait until it is done; a failure
/// throws what the script said.
class Server {
 public:
  [[nodiscard]] static Server& get();
  [[nodiscard]] Options options(const std::string& database) const;
  [[nodiscard]] std::string setting(const std::string& name) const;
  /// A new empty database; its name.
  [[nodiscard]] std::string make_database();
  /// As the server's root; the rows, columns separated by tabs.
  std::string sql(const std::string& statement) const;
  void start();
  void stop();
  /// Ends every connection of our user, as a network that breaks would.
  void drop_connections() const;

  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server();

 private:
  Server();
  std::filesystem::path directory_;
  unsigned databases_ = 0;
};

class StoreTest : public testing::TestWithParam<Dialect> {
 protected:
  StoreTest();
  ~StoreTest() override;

  [[nodiscard]] bool is_sqlite() const { return GetParam() == Dialect::sqlite; }
  /// Of this test's own database; the same each time.
  [[nodiscard]] Options options() const;
  [[nodiscard]] std::unique_ptr<Store> open() const { return open_store(options()); }
  /// A connection below the store.
  [[nodiscard]] std::unique_ptr<Connection> connect() const;
  /// A query's only value.
  [[nodiscard]] static std::string value(Connection& connection, const std::string& query);

  std::filesystem::path directory_;  ///< this test's own, removed after it
  std::string database_;             ///< MariaDB's
};

/// A store that is open already.
class OpenStoreTest : public StoreTest {
 protected:
  OpenStoreTest() : store_(open()) {}

  template <class Work>
  auto write(Work&& work) {
    return store_->write(std::forward<Work>(work));
  }
  template <class Work>
  auto read(Work&& work) {
    return store_->read(std::forward<Work>(work));
  }

  std::unique_ptr<Store> store_;
};

[[nodiscard]] std::string dialect_name(const testing::TestParamInfo<Dialect>& info);

#define CONTRACT(test_class)                                                               \
  INSTANTIATE_TEST_SUITE_P(, test_class, testing::Values(Dialect::sqlite, Dialect::mysql), \
                           dialect_name)

/// Runs the statement, which must throw store::Error, and gives the error.
template <class Call>
[[nodiscard]] Error error_of(Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return Error(Failure::broken, 0, "nothing was thrown");
}

}  // namespace sallyport::store

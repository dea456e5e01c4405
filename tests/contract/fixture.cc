#include "fixture.h"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <stdexcept>

#include "base/bytes.h"

namespace sallyport::store {
namespace {

std::string quoted(const std::string& text) {
  std::string result = "'";
  for (const char c : text) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result + "'";
}

std::string run(const std::string& command) {
  std::FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("cannot run " + command);
  std::string output;
  std::array<char, 4096> buffer{};
  while (const std::size_t count = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    output.append(buffer.data(), count);
  }
  const int status = ::pclose(pipe);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    throw std::runtime_error(command + ": " + output);
  }
  return output;
}

std::string script(const std::string& command, const std::filesystem::path& directory,
                   const std::string& argument = {}) {
  std::string line = quoted(SALLYPORT_TESTS_MARIADB) + " " + command + " " + quoted(directory);
  if (!argument.empty()) line += " " + quoted(argument);
  // The server lives on in the background and must not hold our pipe.
  return run(line);
}

std::filesystem::path temporary_directory() {
  // Short, for a unix socket lies in it; in memory where that is to be had, for every test makes a
  // database, and a change of schema waits for the disk many times.
  std::string name = "/dev/shm/sallyport-store-XXXXXX";
  if (::access("/dev/shm", W_OK) != 0) name = "/tmp/sallyport-store-XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make " + name);
  return name;
}

}  // namespace

Server::Server() : directory_(temporary_directory()) {
  try {
    script("up", directory_);
  } catch (...) {
    std::filesystem::remove_all(directory_);
    throw;
  }
}

Server::~Server() {
  try {
    script("down", directory_);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
  }
}

Server& Server::get() {
  static Server server;
  return server;
}

std::string Server::setting(const std::string& name) const {
  std::ifstream file(directory_ / "env");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(name + "=")) return line.substr(name.size() + 1);
  }
  throw std::runtime_error("tests/mariadb did not say " + name);
}

Options Server::options(const std::string& database) const {
  Options options;
  options.dialect = Dialect::mysql;
  options.unix_socket = setting("MARIADB_SOCKET");
  options.user = setting("MARIADB_USER");
  options.password = base::Secret(setting("MARIADB_PASSWORD"));
  options.database = database;
  return options;
}

std::string Server::make_database() {
  const std::string name = "sallyport" + std::to_string(++databases_);
  script("database", directory_, name);
  return name;
}

std::string Server::sql(const std::string& statement) const {
  return script("sql", directory_, statement);
}

void Server::start() {
  script("start", directory_);
}

void Server::stop() {
  script("kill", directory_);
}

void Server::drop_connections() const {
  sql("KILL USER sallyport");
}

StoreTest::StoreTest() : directory_(temporary_directory()) {
  if (!is_sqlite()) database_ = Server::get().make_database();
}

StoreTest::~StoreTest() {
  std::filesystem::remove_all(directory_);
  if (is_sqlite()) return;
  try {
    Server::get().sql("DROP DATABASE " + database_);
  } catch (const std::exception& error) {
    ADD_FAILURE() << error.what();
  }
}

Options StoreTest::options() const {
  if (!is_sqlite()) return Server::get().options(database_);
  Options options;
  options.sqlite_path = directory_ / "store.db";
  return options;
}

std::unique_ptr<Connection> StoreTest::connect() const {
  return is_sqlite() ? connect_sqlite(options(), true) : connect_mysql(options());
}

std::string StoreTest::value(Connection& connection, const std::string& query) {
  Prepared& prepared = connection.prepare(query);
  std::string text;
  if (prepared.next()) text = prepared.text(0);
  prepared.reset();
  return text;
}

std::string dialect_name(const testing::TestParamInfo<Dialect>& info) {
  return info.param == Dialect::sqlite ? "sqlite" : "mariadb";
}

}  // namespace sallyport::store

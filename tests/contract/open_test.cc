// Opening: what is made, what is kept, what is refused.
#include <sys/stat.h>

#include <fstream>
#include <latch>
#include <thread>

#include "base/file_io.h"
#include "fixture.h"
#include "samples.h"
#include "store/cluster.h"
#include "store/migrations.h"

namespace sallyport::store {
namespace {

class Opening : public StoreTest {};
CONTRACT(Opening);

TEST_P(Opening, KeepsWhatIsThere) {
  open()->write([](Unit& unit) { insert_key(unit, full_key(), value_of("key1")); });
  EXPECT_EQ(open()->read([](Unit& unit) { return find_key(unit, "key1"); }), full_key());
}

TEST_P(Opening, RecordsEveryMigrationOnce) {
  for (int i = 0; i < 3; ++i) (void)open();
  const auto connection = connect();
  EXPECT_EQ(value(*connection, "SELECT COUNT(*) FROM schema_version"),
            std::to_string(migrations().size()));
  EXPECT_EQ(value(*connection, "SELECT MAX(version) FROM schema_version"),
            std::to_string(migrations().back().number));
}

TEST_P(Opening, MigrationsAreNumberedWithoutGaps) {
  int expected = 0;
  for (const Migration& migration : migrations()) EXPECT_EQ(migration.number, ++expected);
}

TEST_P(Opening, ANewerSchemaIsRefusedUntouched) {
  (void)open();
  const int newer = migrations().back().number + 1;
  {
    const auto connection = connect();
    connection->execute("INSERT INTO schema_version (version, name) VALUES (" +
                        std::to_string(newer) + ", 'future')");
    connection->execute("DROP TABLE setting");
  }
  const Error error = error_of([&] { (void)open(); });
  EXPECT_EQ(error.kind(), Failure::schema_newer);
  EXPECT_NE(std::string(error.what()).find("newer Sallyport"), std::string::npos) << error.what();
  const auto connection = connect();
  EXPECT_THROW((void)connection->prepare("SELECT * FROM setting"), Error) << "it was touched";
}

TEST_P(Opening, AMigrationThatWasCutShortIsFinished) {
  open()->write([](Unit& unit) { insert_key(unit, full_key(), value_of("key1")); });
  {
    // As if the program had died in the midst of it: some of it is there, the record is not.
    const auto connection = connect();
    connection->execute("DELETE FROM schema_version");
    if (is_sqlite()) {
      // Cannot happen there, where all of a migration is one transaction; so nothing to mend.
      for (const Migration& migration : migrations()) {
        connection->execute("INSERT INTO schema_version (version, name) VALUES (" +
                            std::to_string(migration.number) + ", 'done')");
      }
    } else {
      connection->execute("DROP TABLE setting");
      connection->execute("DROP INDEX api_key_due ON api_key");
    }
  }
  const auto store = open();
  EXPECT_EQ(store->read([](Unit& unit) { return find_key(unit, "key1"); }), full_key());
  EXPECT_EQ(store->read([](Unit& unit) { return get_setting(unit, "a"); }), std::nullopt);
}

TEST_P(Opening, WhatAnEarlierSchemaHoldsStays) {
  const Notice notice = full_notice();
  UploadIntent intent;
  intent.id = "a";
  PgpKey key;
  key.id = "k";
  key.partner = "acme";
  open()->write([&](Unit& unit) {
    EXPECT_TRUE(insert_notice(unit, notice));
    insert_upload_intent(unit, intent);
    insert_pgp_key(unit, key);
  });
  {
    const auto connection = connect();
    connection->execute("ALTER TABLE notice DROP COLUMN first_attempt");
    connection->execute("ALTER TABLE notice DROP COLUMN digest_id");
    connection->execute("DROP TABLE digest");
    for (const char* column : {"size", "sha256", "ordinal"}) {
      connection->execute(std::string("ALTER TABLE upload_intent DROP COLUMN ") + column);
    }
    connection->execute("ALTER TABLE pgp_key DROP COLUMN ends_here");
    connection->execute("DELETE FROM schema_version WHERE version >= 2");
  }
  const auto store = open();
  EXPECT_EQ(store->read([](Unit& unit) { return partner_pgp_keys(unit, "acme"); }),
            std::vector<PgpKey>{key});
  EXPECT_EQ(store->read([&](Unit& unit) { return find_notice(unit, notice.id); }), notice);
  EXPECT_EQ(store->read([](Unit& unit) { return list_upload_intents(unit, "", 2); }),
            std::vector<UploadIntent>{intent});
}

TEST_P(Opening, SeveralAtOnceOnAnEmptyDatabase) {
  std::latch start(4);
  std::vector<std::jthread> programs;
  for (int i = 0; i < 4; ++i) {
    programs.emplace_back([&, i] {
      start.arrive_and_wait();
      const auto store = open();
      store->write([&](Unit& unit) { put_setting(unit, "p" + std::to_string(i), "1"); });
    });
  }
  programs.clear();
  const auto store = open();
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(store->read([&](Unit& unit) { return get_setting(unit, "p" + std::to_string(i)); }),
              "1");
  }
}

class OpeningSqlite : public StoreTest {
 protected:
  [[nodiscard]] static Error refused(const std::filesystem::path& path) {
    Options options;
    options.sqlite_path = path;
    return error_of([&] { (void)open_store(std::move(options)); });
  }
};
INSTANTIATE_TEST_SUITE_P(, OpeningSqlite, testing::Values(Dialect::sqlite), dialect_name);

TEST_P(OpeningSqlite, TheFileIsForItsOwnerAlone) {
  const mode_t before = ::umask(0);
  const auto store = open();
  store->write([](Unit& unit) { put_setting(unit, "a", "1"); });
  ::umask(before);
  for (const char* suffix : {"", "-wal", "-shm"}) {
    struct stat status {};
    const std::string path = options().sqlite_path + suffix;
    ASSERT_EQ(::stat(path.c_str(), &status), 0) << path;
    EXPECT_EQ(status.st_mode & 0777, 0600U) << path;
  }
}

TEST_P(OpeningSqlite, CommitsAreDurable) {
  (void)open();
  const auto connection = connect();
  EXPECT_EQ(value(*connection, "PRAGMA journal_mode"), "wal");
  EXPECT_EQ(value(*connection, "PRAGMA synchronous"), "2") << "FULL";
  EXPECT_EQ(value(*connection, "PRAGMA foreign_keys"), "1");
}

TEST_P(OpeningSqlite, AMissingDirectoryIsSaid) {
  const Error error = refused(directory_ / "none" / "store.db");
  EXPECT_EQ(error.kind(), Failure::refused);
  EXPECT_NE(std::string(error.what()).find("make its directory"), std::string::npos);
}

TEST_P(OpeningSqlite, ADirectoryInItsPlaceIsRefused) {
  EXPECT_EQ(refused(directory_).kind(), Failure::refused);
}

TEST_P(OpeningSqlite, AFileThatIsNoDatabaseIsLeftAlone) {
  const std::filesystem::path path = directory_ / "note.txt";
  const std::string text(5000, 'x');
  base::write_file_durably(path, text);
  EXPECT_EQ(refused(path).kind(), Failure::broken);
  EXPECT_EQ(base::read_file(path), text);
}

TEST_P(OpeningSqlite, AnotherProgramsDatabaseIsLeftAlone) {
  {
    const auto connection = connect();
    connection->execute("CREATE TABLE theirs (a)");
  }
  const std::string before = base::read_file(options().sqlite_path);
  const Error error = refused(options().sqlite_path);
  EXPECT_EQ(error.kind(), Failure::broken);
  EXPECT_NE(std::string(error.what()).find("another program"), std::string::npos);
  EXPECT_EQ(base::read_file(options().sqlite_path), before);
}

}  // namespace
}  // namespace sallyport::store

// A session's list of intents: what it holds on disk, also when a disk is full or the daemon slow.
#include "sftp/intents.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cerrno>
#include <csignal>
#include <filesystem>

#include "base/bytes.h"
#include "base/file_io.h"

namespace sallyport::sftp {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::IsEmpty;

class IntentsTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = fs::temp_directory_path() / ("intents-" + base::random_id());
    fs::create_directories(directory_);
    staging_ = base::open_file(directory_, O_RDONLY | O_DIRECTORY);
  }
  void TearDown() override { fs::remove_all(directory_); }

  static Intent intent(const std::string& name, std::uint64_t size = 7) {
    return {base::random_id(), "/Incoming/Invoices/" + name, size, base::sha256(name)};
  }
  [[nodiscard]] IntentsPart part(std::uint64_t number) const {
    return parse_intents(base::read_file(directory_ / intents_name(session_, number)));
  }
  [[nodiscard]] std::size_t parts() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(directory_), fs::directory_iterator()));
  }

  fs::path directory_;
  base::UniqueFd staging_;
  std::string session_ = base::random_id();
};

TEST_F(IntentsTest, ALineIsReadAsItWasWritten) {
  IntentList list(staging_.get(), session_, R"({"address":"192.0.2.7"})");
  EXPECT_EQ(parts(), 0U) << "a session that uploads nothing leaves nothing";
  const Intent first = intent("a b.csv", 0);
  const Intent second = intent("\xc3\xa4/deep/b.csv", std::uint64_t{1} << 40);
  ASSERT_TRUE(list.add(first));
  ASSERT_TRUE(list.add(second));
  EXPECT_EQ(list.lines(), 2U);
  EXPECT_EQ(part(1).heading, R"({"address":"192.0.2.7"})");
  EXPECT_THAT(part(1).intents, ElementsAre(first, second));
}

TEST_F(IntentsTest, NamesSaySessionAndPart) {
  const auto name = parse_intents_name(intents_name(session_, 12));
  ASSERT_TRUE(name);
  EXPECT_EQ(name->session_id, session_);
  EXPECT_EQ(name->part, 12U);
  for (const std::string& other :
       {session_ + ".1", session_ + ".names", session_ + ".intents.", session_ + ".intents.0",
        session_ + ".intents.1x", session_ + ".intents.-1", session_ + "a.intents.1",
        session_.substr(1) + ".intents.1", std::string(26, 'A') + ".intents.1", std::string(),
        session_ + ".intents.99999999999999999999", session_ + ".intents.01"}) {
    EXPECT_FALSE(parse_intents_name(other)) << other;
  }
}

TEST_F(IntentsTest, AFullDiskSpoilsNoOtherLine) {
  IntentList list(staging_.get(), session_, "{}");
  const Intent first = intent("first");
  ASSERT_TRUE(list.add(first));
  // Room for half of a line more.
  const auto length = fs::file_size(directory_ / intents_name(session_, 1));
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto ignored = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit full{length + 40, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &full), 0);
  EXPECT_FALSE(list.add(intent("second")));
  const int error = errno;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, ignored);
  EXPECT_EQ(error, ENOSPC);
  EXPECT_EQ(list.lines(), 1U);
  const Intent third = intent("third");
  ASSERT_TRUE(list.add(third));
  EXPECT_THAT(part(1).intents, ElementsAre(first, third));
}

TEST_F(IntentsTest, ALineThatWasCutShortIsNone) {
  IntentList list(staging_.get(), session_, "{}");
  const Intent whole = intent("whole");
  ASSERT_TRUE(list.add(whole));
  ASSERT_TRUE(list.add(intent("cut")));
  const fs::path file = directory_ / intents_name(session_, 1);
  const auto length = fs::file_size(file);
  for (std::uintmax_t cut = 5; cut < 60; ++cut) {
    fs::resize_file(file, length - cut);
    EXPECT_THAT(part(1).intents, ElementsAre(whole)) << cut;
  }
  EXPECT_THAT(parse_intents("").intents, IsEmpty());
  EXPECT_THAT(parse_intents("\n\n\t\t\t\n").intents, IsEmpty());
}

TEST_F(IntentsTest, NobodyIsKeptBusyByAListOfNothing) {
  const IntentsPart part = parse_intents(std::string(8 << 20, '\n') + intent_line(intent("a")));
  EXPECT_EQ(part.bytes, (8U << 20) + intent_line(intent("a")).size());
  EXPECT_THAT(part.intents, IsEmpty()) << "of more lines than a list has, what comes first";
}

TEST_F(IntentsTest, ASessionDoesNotRunAwayFromTheJournal) {
  IntentList list(staging_.get(), session_, "{}");
  for (std::uint64_t i = 0; i < most_open_parts * intents_of_a_part; ++i) {
    ASSERT_TRUE(list.add(intent("a")));
  }
  EXPECT_EQ(parts(), most_open_parts);
  errno = 0;
  EXPECT_FALSE(list.add(intent("a")));
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_EQ(part(most_open_parts).intents.size(), intents_of_a_part);
  fs::remove(directory_ / intents_name(session_, 1));
  EXPECT_TRUE(list.add(intent("a")));
  EXPECT_EQ(part_of_line(list.lines()), most_open_parts + 1);
}

TEST_F(IntentsTest, WithoutItsListASessionTakesNothing) {
  IntentList list(staging_.get(), session_, "{}");
  ASSERT_TRUE(list.add(intent("a")));
  fs::remove(directory_ / intents_name(session_, 1));
  EXPECT_FALSE(list.add(intent("a")));
  EXPECT_EQ(errno, ESTALE);
}

TEST_F(IntentsTest, NothingIsWrittenThroughALink) {
  fs::create_symlink(directory_ / "elsewhere", directory_ / intents_name(session_, 1));
  IntentList list(staging_.get(), session_, "{}");
  EXPECT_FALSE(list.add(intent("a")));
  EXPECT_FALSE(fs::exists(directory_ / "elsewhere"));
}

}  // namespace
}  // namespace sallyport::sftp

#include "base/file_io.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/error.h"
#include "base/secret.h"

namespace sallyport::base {
namespace {

class FileIo : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "sallyport-io-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    directory_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::filesystem::path directory_;
};

TEST_F(FileIo, ReplacesAFileAsAWhole) {
  write_file_durably(directory_ / "a", "one");
  write_file_durably(directory_ / "a", "two");
  EXPECT_EQ(read_file(directory_ / "a"), "two");
  std::size_t files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(directory_))
    ++files;
  EXPECT_EQ(files, 1U);  // no temporary stays
}

TEST_F(FileIo, NeverRenamesOverAFile) {
  write_file_durably(directory_ / "a", "one");
  write_file_durably(directory_ / "b", "two");
  EXPECT_FALSE(rename_durably(directory_ / "a", directory_ / "b"));
  EXPECT_EQ(read_file(directory_ / "b"), "two");
  make_directories(directory_ / "x/y/z");
  EXPECT_TRUE(rename_durably(directory_ / "a", directory_ / "x/y/z/a"));
  EXPECT_EQ(read_file(directory_ / "x/y/z/a"), "one");
}

TEST_F(FileIo, NamesThePathOfAFailure) {
  try {
    (void)open_file(directory_ / "missing", O_RDONLY);
    FAIL() << "opened a file that is not there";
  } catch (const SystemError& error) {
    EXPECT_EQ(error.code(), ENOENT);
    EXPECT_NE(std::string(error.what()).find("missing"), std::string::npos);
  }
}

TEST_F(FileIo, RefusesAFileOverTheLimit) {
  write_file_durably(directory_ / "a", std::string(100, 'x'));
  EXPECT_THROW((void)read_file(directory_ / "a", 99), Error);
}

TEST_F(FileIo, DigestsWhatIsInTheFile) {
  write_file_durably(directory_ / "a", std::string(1000000, 'x'));
  const UniqueFd fd = open_file(directory_ / "a", O_RDONLY);
  const FileDigest digest = digest_file(fd.get(), "a");
  EXPECT_EQ(digest.size, 1000000U);
  EXPECT_EQ(digest.sha256, sha256(std::string(1000000, 'x')));
}

TEST_F(FileIo, ReadsASecretFromAPathOrACredential) {
  write_file_durably(directory_ / "token", "s3cret\n");
  EXPECT_EQ(read_secret((directory_ / "token").string()).reveal(), "s3cret");
  ::setenv("CREDENTIALS_DIRECTORY", directory_.c_str(), 1);
  EXPECT_EQ(read_secret("token").reveal(), "s3cret");
  ::unsetenv("CREDENTIALS_DIRECTORY");
  EXPECT_THROW((void)read_secret("token"), Error);
}

TEST(Secret, MovesAndLeavesNothingBehind) {
  Secret first(std::string("a secret that is longer than a short string"));
  Secret second(std::move(first));
  EXPECT_EQ(second.reveal(), "a secret that is longer than a short string");
  EXPECT_TRUE(first.empty());  // NOLINT(bugprone-use-after-move): that it is empty is the point
}

}  // namespace
}  // namespace sallyport::base

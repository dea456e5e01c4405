#include "daemon/config/nearest.h"

#include <gtest/gtest.h>

namespace sallyport::daemon {
namespace {

TEST(Nearest, CountsChangesAndSwaps) {
  EXPECT_EQ(typing_distance("", ""), 0U);
  EXPECT_EQ(typing_distance("", "abc"), 3U);
  EXPECT_EQ(typing_distance("abc", ""), 3U);
  EXPECT_EQ(typing_distance("smpt", "smtp"), 1U);
  EXPECT_EQ(typing_distance("kye", "key"), 1U);
  EXPECT_EQ(typing_distance("partnr", "partner"), 1U);
  EXPECT_EQ(typing_distance("files", "file"), 1U);
  EXPECT_EQ(typing_distance("kitten", "sitting"), 3U);
}

TEST(Nearest, GuessesOnlyWhatIsNear) {
  const std::vector<std::string> known{"key", "partner", "files", "pgp", "send", "status", "smtp"};
  EXPECT_EQ(did_you_mean("kye", known), "; did you mean 'key'?");
  EXPECT_EQ(did_you_mean("SMTP", known), "; did you mean 'smtp'?");
  EXPECT_EQ(did_you_mean("stauts", known), "; did you mean 'status'?");
  EXPECT_EQ(did_you_mean("file", known), "; did you mean 'files'?");
  EXPECT_EQ(did_you_mean("xyzzy", known), "");
  EXPECT_EQ(did_you_mean("ab", known), "");
  EXPECT_EQ(did_you_mean("", known), "");
  EXPECT_EQ(did_you_mean("key", {}), "");
}

}  // namespace
}  // namespace sallyport::daemon

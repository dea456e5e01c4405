#include "daemon/files/names.h"

#include <gtest/gtest.h>

namespace sallyport::daemon {
namespace {

TEST(Names, PgpEndingsGoWhateverTheirCase) {
  EXPECT_EQ(without_pgp_ending("invoice.csv.pgp"), "invoice.csv");
  EXPECT_EQ(without_pgp_ending("invoice.csv.GPG"), "invoice.csv");
  EXPECT_EQ(without_pgp_ending("invoice.asc"), "invoice");
  EXPECT_EQ(without_pgp_ending("invoice.csv"), "invoice.csv");
  EXPECT_EQ(without_pgp_ending("x.pgp.pgp"), "x.pgp");
}

TEST(Names, NothingUnusableIsLeftOfAName) {
  EXPECT_EQ(without_pgp_ending(".pgp"), ".pgp");
  EXPECT_EQ(without_pgp_ending("..pgp"), "..pgp");
}

TEST(Names, TagsGoBeforeTheExtension) {
  EXPECT_EQ(with_tag("invoice.csv", "7"), "invoice-7.csv");
  EXPECT_EQ(with_tag("invoice.csv.pgp", "7"), "invoice-7.csv.pgp");
  EXPECT_EQ(with_tag("invoice", "7"), "invoice-7");
  EXPECT_EQ(with_tag("invoice.pgp", "7"), "invoice-7.pgp");
  EXPECT_EQ(with_tag(".hidden", "7"), ".hidden-7");
}

TEST(Names, LongNamesAreCutBetweenCharacters) {
  std::string name;
  while (name.size() + 2 <= 250) name += "ä";
  name += ".csv";
  const std::string tagged = with_tag(name, "abcdefgh");
  EXPECT_LE(tagged.size(), max_name_bytes);
  EXPECT_TRUE(is_component(tagged));
  EXPECT_TRUE(tagged.ends_with("-abcdefgh.csv"));
  const std::string ended = with_ending(name, ".reason.txt");
  EXPECT_LE(ended.size(), max_name_bytes);
  EXPECT_TRUE(is_component(ended));
  EXPECT_TRUE(
      is_component(with_tag("." + std::string(250, 'x') + "." + std::string(200, 'y'), "1")));
}

TEST(Names, OnlyPlainComponentsMakeAPath) {
  EXPECT_EQ(split_name("2026/x.csv"), (std::vector<std::string>{"2026", "x.csv"}));
  for (const char* bad :
       {"", "/", "/x", "x/", "a//b", "..", "a/../b", "./a", "a\nb", "a/\x7f", "\xff\xfe"}) {
    EXPECT_FALSE(split_name(bad)) << bad;
  }
  EXPECT_FALSE(split_name(std::string_view("a\0b", 3)));
  EXPECT_FALSE(split_name(std::string(256, 'a')));
}

TEST(Names, VirtualPathsLeaveAnEmptyObjectOut) {
  EXPECT_EQ(virtual_path("/Incoming", "Invoices", "x"), "/Incoming/Invoices/x");
  EXPECT_EQ(virtual_path("/Incoming", "", "x"), "/Incoming/x");
  EXPECT_EQ(split_last("/a/b/c").directory, "/a/b");
  EXPECT_EQ(split_last("c").directory, "");
  EXPECT_EQ(name_time(base::from_unix(0)), "19700101T000000Z");
}

}  // namespace
}  // namespace sallyport::daemon

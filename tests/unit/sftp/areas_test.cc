#include "sftp/areas.h"

#include <gtest/gtest.h>

#include "sftp/longname.h"
#include "sftp/ranges.h"

namespace sallyport::sftp {
namespace {

std::string resolved(std::string_view base, std::string_view raw) {
  const auto path = VirtualPath::resolve(base, raw);
  return path ? path->text() : "(bad)";
}
VirtualPath at(std::string_view text) {
  return VirtualPath::resolve("/", text).value();
}

TEST(VirtualPath, IsNormalisedAndCannotLeaveTheRoot) {
  EXPECT_EQ(resolved("/", ""), "/");
  EXPECT_EQ(resolved("/", "."), "/");
  EXPECT_EQ(resolved("/Shared", "a/./b//c/"), "/Shared/a/b/c");
  EXPECT_EQ(resolved("/Shared", "/x"), "/x");
  EXPECT_EQ(resolved("/Shared", "../../../../etc/passwd"), "/etc/passwd");
  EXPECT_EQ(resolved("/", "/Incoming/../../.."), "/");
  EXPECT_EQ(resolved("/", "/a/.../b"), "/a/.../b");
}

TEST(VirtualPath, ASlashAtItsEndSaysThatAFolderIsMeant) {
  EXPECT_TRUE(at("/Incoming/Invoices/").for_folder());
  EXPECT_TRUE(at("/").for_folder());
  EXPECT_FALSE(at("/Incoming/Invoices").for_folder());
  EXPECT_FALSE(VirtualPath::resolve("/Shared/", "a").value().for_folder());
}

TEST(VirtualPath, BadNamesAreRefused) {
  EXPECT_EQ(resolved("/", std::string("a\0b", 3)), "(bad)");
  EXPECT_EQ(resolved("/", "a\nb"), "(bad)");
  EXPECT_EQ(resolved("/", "a\x7f"), "(bad)");
  EXPECT_EQ(resolved("/", "\xff\xfe"), "(bad)");
  EXPECT_EQ(resolved("/", "\xc0\xaf"), "(bad)") << "an overlong slash";
  EXPECT_EQ(resolved("/", std::string(256, 'x')), "(bad)");
  EXPECT_EQ(resolved("/", std::string(255, 'x')).size(), 256U);
  EXPECT_EQ(resolved("/", std::string(5000, '/')), "(bad)");
  EXPECT_EQ(resolved("/", "caf\xc3\xa9"), "/caf\xc3\xa9");
}

TEST(VirtualPath, KnowsItsParts) {
  const VirtualPath path = at("/Incoming/Invoices/2026/a.pdf");
  EXPECT_EQ(path.depth(), 4U);
  EXPECT_EQ(path.part(0), "Incoming");
  EXPECT_EQ(path.part(3), "a.pdf");
  EXPECT_EQ(path.part(9), "");
  EXPECT_EQ(path.name(), "a.pdf");
  EXPECT_EQ(path.parent(), "Incoming/Invoices/2026");
  EXPECT_EQ(path.object(), "Invoices");
  EXPECT_EQ(at("/Incoming/a.pdf").object(), "");
  EXPECT_EQ(at("/a").parent(), ".");
  EXPECT_STREQ(at("/").relative(), ".");
  EXPECT_STREQ(path.relative(), "Incoming/Invoices/2026/a.pdf");
}

TEST(VirtualPath, HoldsOnlyWhatIsBelowIt) {
  EXPECT_TRUE(at("/Shared/a").holds(at("/Shared/a/b")));
  EXPECT_FALSE(at("/Shared/a").holds(at("/Shared/ab")));
  EXPECT_TRUE(at("/").holds(at("/x")));
}

struct Row {
  const char* path;
  const char* permitted;  // r)ead w)rite d)elete n)rename m)kdir
};

std::string permissions(const std::string& path, const SessionPolicy& policy) {
  std::string text;
  const VirtualPath p = at(path);
  if (allowed(Operation::read, p, policy)) text += 'r';
  if (allowed(Operation::write, p, policy)) text += 'w';
  if (allowed(Operation::remove, p, policy)) text += 'd';
  if (allowed(Operation::rename, p, policy)) text += 'n';
  if (allowed(Operation::make_directory, p, policy)) text += 'm';
  return text;
}

TEST(Permissions, FollowTheTableOfTheFolders) {
  SessionPolicy policy;
  policy.shared = true;
  const Row rows[] = {
      {"/", ""},
      {"/x", ""},
      {"/Incoming", "r"},
      {"/Incoming/a.pdf", "rwdn"},
      {"/Incoming/Invoices/a.pdf", "rwdn"},
      {"/Incoming/Invoices/sub/a.pdf", "rwdn"},
      {"/Outgoing/Orders", "rd"},
      {"/Outgoing/Orders/a.pgp", "rd"},
      {"/Archive/Incoming/Invoices/a.pdf", "r"},
      {"/Archive/Failed/Invoices/a.pdf.reason.txt", "r"},
      {"/Shared", "r"},
      {"/Shared/a", "rwdnm"},
      {"/Shared/a/b", "rwdnm"},
      {"/Sharedx/a", ""},
  };
  for (const Row& row : rows) EXPECT_EQ(permissions(row.path, policy), row.permitted) << row.path;
}

TEST(Permissions, SubfoldersAreAPolicyAndNeverReplaceAnObject) {
  SessionPolicy policy;
  EXPECT_FALSE(allowed(Operation::make_directory, at("/Incoming/Invoices/sub"), policy));
  policy.subfolders = true;
  EXPECT_TRUE(allowed(Operation::make_directory, at("/Incoming/Invoices/sub"), policy));
  EXPECT_FALSE(allowed(Operation::make_directory, at("/Incoming/sub"), policy));
  EXPECT_FALSE(allowed(Operation::remove_directory, at("/Incoming/Invoices"), policy));
}

TEST(Permissions, SharedDoesNotExistWhileItIsOff) {
  const SessionPolicy policy;
  EXPECT_FALSE(visible(at("/Shared"), policy));
  EXPECT_FALSE(allowed(Operation::look, at("/Shared/a"), policy));
  EXPECT_TRUE(visible(at("/Incoming"), policy));
}

TEST(Patterns, MatchTheWholeName) {
  EXPECT_TRUE(matches("*.part", "a.part"));
  EXPECT_TRUE(matches("*.part", ".part"));
  EXPECT_FALSE(matches("*.part", "a.part2"));
  EXPECT_TRUE(matches(".*", ".hidden"));
  EXPECT_FALSE(matches(".*", "shown"));
  EXPECT_TRUE(matches("a?c*", "abcdef"));
  EXPECT_FALSE(matches("a?c", "ac"));
  EXPECT_TRUE(matches("*", ""));
  EXPECT_TRUE(is_not_ready("x.tmp", {"*.part", "*.tmp"}));
  EXPECT_FALSE(is_not_ready("x.pdf", {"*.part", "*.tmp"}));
}

TEST(Patterns, ManyStarsAreNotSlow) {
  std::string pattern;
  for (int i = 0; i < 100; ++i) pattern += "*a";
  EXPECT_FALSE(matches(pattern + "b", std::string(255, 'a')));
}

TEST(Ranges, SequentialWritesAreOneRange) {
  Ranges ranges;
  for (std::uint64_t i = 0; i < 100000; ++i) ASSERT_TRUE(ranges.add(i * 10, i * 10 + 10));
  EXPECT_TRUE(ranges.covers(1000000));
  EXPECT_FALSE(ranges.covers(1000001));
}

TEST(Ranges, AnyOrderMergesAndHolesStayHoles) {
  Ranges ranges;
  EXPECT_TRUE(ranges.covers(0));
  ASSERT_TRUE(ranges.add(20, 30));
  ASSERT_TRUE(ranges.add(0, 10));
  EXPECT_FALSE(ranges.covers(30));
  EXPECT_EQ(ranges.contiguous(), 10U);
  ASSERT_TRUE(ranges.add(5, 20));
  EXPECT_TRUE(ranges.covers(30));
  ASSERT_TRUE(ranges.add(40, 50));
  ASSERT_TRUE(ranges.add(0, 60));
  EXPECT_TRUE(ranges.covers(60));
  ranges.truncate(25);
  EXPECT_TRUE(ranges.covers(25));
  EXPECT_FALSE(ranges.covers(26));
}

TEST(Ranges, MemoryIsBounded) {
  Ranges ranges;
  for (std::uint64_t i = 0; i < Ranges::most_ranges; ++i) ASSERT_TRUE(ranges.add(i * 2, i * 2 + 1));
  EXPECT_FALSE(ranges.add(1ULL << 40, (1ULL << 40) + 1));
  EXPECT_TRUE(ranges.add(1, 2)) << "what merges needs no memory";
}

TEST(LongName, LooksLikeLs) {
  constexpr std::int64_t now = 1795358400;  // 2026-11-22 14:40 UTC
  EXPECT_EQ(long_name("a.pdf", S_IFREG | 0644, 1, "acme", 1234, now - 600, now),
            "-rw-r--r--    1 acme     acme         1234 Nov 22 14:30 a.pdf");
  EXPECT_EQ(long_name("d", S_IFDIR | 0755, 2, "acme", 40, 0, now),
            "drwxr-xr-x    2 acme     acme           40 Jan  1  1970 d");
}

}  // namespace
}  // namespace sallyport::sftp

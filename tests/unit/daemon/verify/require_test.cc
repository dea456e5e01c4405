#include "daemon/verify/require.h"

#include <gtest/gtest.h>

namespace sallyport::daemon {
namespace {

TEST(Require, ReadsPrivileges) {
  using P = store::Privilege;
  EXPECT_EQ(parse_requirement("A/B"), Requirement(P{"A", "B", "", ""}));
  EXPECT_EQ(parse_requirement("A/B/VIEW"), Requirement(P{"A", "B", "VIEW", ""}));
  EXPECT_EQ(parse_requirement("A/B@t"), Requirement(P{"A", "B", "", "t"}));
  EXPECT_EQ(parse_requirement("A/B/EDIT@x/y:z@w"), Requirement(P{"A", "B", "EDIT", "x/y:z@w"}));
}

TEST(Require, ReadsPermissions) {
  EXPECT_EQ(parse_requirement("invoices:create"),
            Requirement(store::Permission{"invoices", "create"}));
}

TEST(Require, RefusesEverythingElse) {
  for (const char* text : {"",      "A",     "/",       "A/",   "/B",   "A//B", "A/B/",  "A/B/C/D",
                           "A/B@",  "@t",    "A@t",     ":",    "a:",   ":b",   "a:b:c", "a:b/c",
                           "a:b@c", "A/B:c", "A/B/C:d", " A/B", "A/B ", "A/ B", "A/B\n", "\tA/B"}) {
    EXPECT_EQ(parse_requirement(text), std::nullopt) << text;
  }
}

TEST(Require, CollectsFromAQuery) {
  EXPECT_EQ(parse_requirements("")->size(), 0U);
  EXPECT_EQ(parse_requirements("a=%zz&b")->size(), 0U) << "other fields are not ours to judge";
  const auto two = parse_requirements("require=A%2FB&x=1&require=o:a");
  ASSERT_TRUE(two);
  EXPECT_EQ(two->size(), 2U);
  EXPECT_EQ(parse_requirements("%72equire=A/B")->size(), 1U) << "an encoded name is the same name";
  for (const char* query : {"require", "require=", "require=A/B&require=%", "require=A/B&require=A",
                            "%72equire=A", "require=A%00/B"}) {
    EXPECT_EQ(parse_requirements(query), std::nullopt) << query;
  }
}

}  // namespace
}  // namespace sallyport::daemon

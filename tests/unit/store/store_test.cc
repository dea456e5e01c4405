// The parts of the store that need no database; the rest is in tests/contract.
#include <gtest/gtest.h>

#include "store/catalogue.h"
#include "store/codec.h"
#include "store/sql.h"

namespace sallyport::store {
namespace {

using namespace std::string_literals;

std::string both(std::string_view text) {
  return dialect_text(text, Dialect::sqlite) + " | " + dialect_text(text, Dialect::mysql, "c");
}

TEST(Dialects, TokensBecomeWhatEachOneWrites) {
  EXPECT_EQ(both("SELECT 1"), "SELECT 1 | SELECT 1");
  EXPECT_EQ(both("{upsert a, b} c = {new c}"),
            "ON CONFLICT (a, b) DO UPDATE SET c = excluded.c | ON DUPLICATE KEY UPDATE c = "
            "VALUES(c)");
  EXPECT_EQ(both("{lock}"), " | FOR UPDATE");
  EXPECT_EQ(both("{index i}"), " | FORCE INDEX (i)");
  EXPECT_EQ(both("x{prefix}"), "x | x(191)");
  EXPECT_EQ(both("{hash}"), "BLOB NOT NULL | BINARY(32) NOT NULL");
}

TEST(Dialects, ListsAreSpelledOut) {
  EXPECT_EQ(dialect_text("{set a, b}", Dialect::sqlite), "a = ?, b = ?");
  EXPECT_EQ(dialect_text("({values a,  b,c})", Dialect::sqlite), "(?, ?, ?)");
  EXPECT_EQ(dialect_text("{rows 2 3}", Dialect::sqlite), "(?, ?, ?), (?, ?, ?)");
  EXPECT_EQ(dialect_text("{list 3}", Dialect::sqlite), "(?, ?, ?)");
  EXPECT_EQ(dialect_text("{list 1}", Dialect::sqlite), "(?)");
}

TEST(Dialects, AnUnknownTokenIsADefect) {
  EXPECT_THROW((void)dialect_text("{nonsense}", Dialect::sqlite), Error);
  EXPECT_THROW((void)dialect_text("{nonsense a}", Dialect::mysql), Error);
  EXPECT_THROW((void)dialect_text("SELECT {lock", Dialect::sqlite), Error);
}

TEST(Catalogue, ListsComeInFewWidthsThatHoldThem) {
  EXPECT_EQ(list_width(1), 1U);
  EXPECT_EQ(list_width(2), 8U);
  EXPECT_EQ(list_width(8), 8U);
  EXPECT_EQ(list_width(9), 64U);
  EXPECT_EQ(list_width(65), 512U);
  EXPECT_EQ(list_width(513), 1024U);
}

TEST(Catalogue, ClausesFollowTheirStatement) {
  const std::vector<With> clauses{{Clause::activity_operations, 2}, Clause::activity_from};
  const std::string text = sql_text(Sql::count_activity, clauses, Dialect::sqlite);
  EXPECT_EQ(text,
            "SELECT COUNT(*) FROM activity WHERE 1 = 1 AND operation IN (?, ?, ?, ?, ?, ?, ?, ?) "
            "AND happened >= ?");
}

TEST(Catalogue, NoTextHoldsAValue) {
  // A quote would be a constant of ours; a token that was left, a defect.
  for (std::size_t i = 0; i < static_cast<std::size_t>(Sql::last); ++i) {
    for (const Dialect dialect : {Dialect::sqlite, Dialect::mysql}) {
      const std::string& text = sql_text(static_cast<Sql>(i), dialect);
      EXPECT_EQ(text.find_first_of("{}\""), std::string::npos) << text;
    }
  }
}

TEST(Utf8, GoodTextIsNotCopied) {
  std::string copy;
  const std::string good = "\xC3\xA4 \xF0\x9F\x98\x80\0z"s;
  EXPECT_EQ(valid_utf8(good, copy).data(), good.data());
  EXPECT_EQ(valid_utf8("", copy), "");
}

TEST(Utf8, EveryBadByteIsReplaced) {
  const auto mended = [](std::string_view text) {
    std::string copy;
    return std::string(valid_utf8(text, copy));
  };
  const std::string bad = "\xEF\xBF\xBD";
  EXPECT_EQ(mended("\xFF"), bad);
  EXPECT_EQ(mended("a\xC3"), "a" + bad) << "cut short";
  EXPECT_EQ(mended("\xC0\x80"), bad + bad) << "overlong";
  EXPECT_EQ(mended("\xED\xA0\x80"), bad + bad + bad) << "surrogate";
  EXPECT_EQ(mended("\xF4\x90\x80\x80"), bad + bad + bad + bad) << "beyond the last";
  EXPECT_EQ(mended("\x80\xC3\xA4"), bad + "\xC3\xA4");
}

TEST(Json, ListsComeBack) {
  const std::vector<std::string> list{"", "a\"b\\c", "\xF0\x9F\x98\x80", "nul\0"s, "</script>"};
  std::vector<std::string> read{"old"};
  from_json(to_json(list), read);
  EXPECT_EQ(read, list);
  EXPECT_EQ(to_json(std::vector<std::string>{}), "") << "nothing to parse for a million keys";
  from_json("", read);
  EXPECT_TRUE(read.empty());
}

TEST(Json, DamagedTextIsSaid) {
  for (const char* text : {"[", "{}", "[1", "nonsense", "[[]]", "[null]"}) {
    std::vector<Privilege> list;
    EXPECT_THROW(from_json(text, list), Error) << text;
  }
  for (const char* text : {"[]", "{}", R"({"reasons":5})", R"({"severity":"none","reasons":[]})"}) {
    std::optional<Exposure> exposure;
    EXPECT_THROW(from_json(text, exposure), Error) << text;
  }
}

TEST(Names, AreReadBackAndUnknownOnesRefused) {
  for (int i = 0; i <= static_cast<int>(FileState::collected); ++i) {
    FileState state = FileState::failed;
    from_name(name_of(static_cast<FileState>(i)), state);
    EXPECT_EQ(state, static_cast<FileState>(i));
  }
  KeyState state = KeyState::enabled;
  EXPECT_THROW(from_name("ENABLED", state), Error);
  EXPECT_THROW(from_name("", state), Error);
}

TEST(Log, LongStatementsAreShortened) {
  EXPECT_EQ(shortened("SELECT 1"), "SELECT 1");
  EXPECT_EQ(shortened(std::string(500, 'x')).size(), 63U);
}

}  // namespace
}  // namespace sallyport::store

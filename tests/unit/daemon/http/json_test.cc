#include "daemon/http/json.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "daemon/http/router.h"

namespace sallyport::daemon {
namespace {

std::string refusal(std::string_view text) {
  try {
    (void)parse_json(text);
  } catch (const JsonError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Json, ReadsWhatItWrites) {
  const std::string text =
      R"({"a":1,"b":[true,false,null,-3,2.5,"x"],"c":{"d":"\"\\\n\t\u0001é😀"},"e":[],"f":{}})";
  EXPECT_EQ(parse_json(text).dump(), text);
  EXPECT_EQ(parse_json(parse_json(text).pretty()), parse_json(text));
}

TEST(Json, DecodesEscapes) {
  EXPECT_EQ(*parse_json(R"("\u0041\u00e9\u20ac\ud83d\ude00\/")").if_string(), "Aé€😀/");
}

TEST(Json, KeepsWholeNumbersExact) {
  EXPECT_EQ(*parse_json("9223372036854775807").if_int(), INT64_MAX);
  EXPECT_EQ(*parse_json("-9223372036854775808").if_int(), INT64_MIN);
  EXPECT_EQ(parse_json("9223372036854775808").if_int(), nullptr);
  EXPECT_DOUBLE_EQ(*parse_json("1e3").if_double(), 1000.0);
}

TEST(Json, RefusesWhatTwoReadersCouldReadDifferently) {
  EXPECT_EQ(refusal(R"({"a":1,"a":2})"), R"(at byte 10: the name "a" comes twice)");
  EXPECT_NE(refusal(R"({"a":1,"\u0061":2})"), "accepted");
  for (const char* text : {"",
                           " ",
                           "{",
                           "}",
                           "[1,]",
                           "{\"a\":1,}",
                           "{a:1}",
                           "{'a':1}",
                           "01",
                           "+1",
                           "1.",
                           ".5",
                           "1e",
                           "nul",
                           "truex",
                           "NaN",
                           "Infinity",
                           "\"\n\"",
                           "\"\\x\"",
                           "\"\\u12\"",
                           "\"\\ud800\"",
                           "\"\\udc00\"",
                           "\"\\ud800\\u0041\"",
                           "[1] 2",
                           "[1]//",
                           "1e999",
                           "\"abc",
                           "[\"a\" \"b\"]",
                           "\xff",
                           "\"\xc0\xaf\"",
                           "\xef\xbb\xbf{}",
                           "[1",
                           "-",
                           "--1",
                           "0x10"}) {
    EXPECT_NE(refusal(text), "accepted") << text;
  }
  EXPECT_NE(refusal(std::string_view("[1]\0", 4)), "accepted");
}

TEST(Json, BoundsTheDepth) {
  EXPECT_EQ(refusal(std::string(json_max_depth, '[') + std::string(json_max_depth, ']')),
            "accepted");
  EXPECT_NE(refusal(std::string(json_max_depth + 1, '[')), "accepted");
  EXPECT_NE(refusal(std::string(1'000'000, '[')), "accepted");
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += R"({"a":)";
  EXPECT_NE(refusal(objects), "accepted");
}

TEST(Json, WritesWhatIsNoUtf8AsReplacements) {
  EXPECT_EQ(Json("a\xff").dump(), "\"a\xef\xbf\xbd\"");
}

TEST(Json, ManyNamesAreReadInReasonableTime) {
  std::string text = "{";
  for (int i = 0; i < 50'000; ++i) text += fmt::format("\"n{}\":1,", i);
  text.back() = '}';
  EXPECT_EQ(parse_json(text).if_object()->size(), 50'000U);
}

TEST(JsonReader, NamesTheFieldThatIsWrong) {
  const JsonReader reader(
      parse_json(R"({"name":"x","count":3,"on":true,"tags":["a",1],"contact":{"email":5},
                     "list":[{"a":1},{"a":"x"}],"none":null})"));
  EXPECT_EQ(reader.text("name"), "x");
  EXPECT_EQ(reader.number("count"), 3);
  EXPECT_TRUE(reader.flag("on"));
  EXPECT_EQ(reader.maybe_text("none"), std::nullopt);
  EXPECT_EQ(reader.maybe_text("absent"), std::nullopt);
  EXPECT_TRUE(reader.is_null("none"));
  EXPECT_FALSE(reader.has("absent"));
  const auto detail = [](auto work) -> std::string {
    try {
      work();
    } catch (const ProblemError& error) {
      EXPECT_EQ(error.status(), 400);
      return error.what();
    }
    return "accepted";
  };
  EXPECT_EQ(detail([&] { (void)reader.text("absent"); }), "'absent' must be given, a string.");
  EXPECT_EQ(detail([&] { (void)reader.text("count"); }), "'count' must be a string.");
  EXPECT_EQ(detail([&] { (void)reader.maybe_number("name"); }), "'name' must be a whole number.");
  EXPECT_EQ(detail([&] { (void)reader.maybe_flag("name"); }), "'name' must be true or false.");
  EXPECT_EQ(detail([&] { (void)reader.maybe_texts("tags"); }),
            "'tags' must be an array of strings.");
  EXPECT_EQ(detail([&] { (void)reader.maybe_object("contact")->text("email"); }),
            "'contact.email' must be a string.");
  EXPECT_EQ(detail([&] { (void)reader.maybe_objects("list")->at(1).number("a"); }),
            "'list[1].a' must be a whole number.");
  EXPECT_EQ(detail([&] { JsonReader wrong(parse_json("[]")); }), "The body must be a JSON object.");
}

}  // namespace
}  // namespace sallyport::daemon

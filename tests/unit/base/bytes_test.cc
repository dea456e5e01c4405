#include "base/bytes.h"

#include <gtest/gtest.h>

#include <set>

namespace sallyport::base {
namespace {

TEST(Digest, GivesTheKnownAnswers) {  // FIPS 180-4 and RFC 4231 test vectors
  EXPECT_EQ(to_hex(sha256("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(to_hex(hmac_sha256("Jefe", "what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

TEST(Digest, IsTheSameInPieces) {
  Sha256Stream stream;
  stream.update(std::string_view("a"));
  stream.update(std::string_view(""));
  stream.update(std::string_view("bc"));
  EXPECT_EQ(stream.finish(), sha256("abc"));
}

TEST(Hex, ReadsBothCasesAndRefusesTheRest) {
  EXPECT_EQ(from_hex("00fFA0"), std::string("\x00\xff\xa0", 3));
  EXPECT_FALSE(from_hex("0").has_value());
  EXPECT_FALSE(from_hex("0g").has_value());
  EXPECT_EQ(from_hex(""), "");
}

TEST(Base64, ReadsWhatItWrites) {
  for (const std::string text : {"", "a", "ab", "abc", "abcd"})
    EXPECT_EQ(from_base64(to_base64(text)), text);
  for (const char* text : {"a", "ab=c", "ab c", "====", "YWJj\n", "YQ=", "-_8="})
    EXPECT_FALSE(from_base64(text).has_value()) << text;
}

TEST(RandomId, Is26Base32CharactersAndNew) {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const std::string id = random_id();
    EXPECT_EQ(id.size(), 26U);
    EXPECT_EQ(id.find_first_not_of("abcdefghijklmnopqrstuvwxyz234567"), std::string::npos);
    EXPECT_TRUE(seen.insert(id).second);
  }
}

TEST(Utf8, TellsWellFormedFromMalformed) {
  EXPECT_TRUE(is_utf8("Größe 日本 \xF0\x9F\x94\x91"));
  for (const char* text :
       {"\xC0\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE2\x82", "\x80", "\xFF"})
    for (std::size_t before = 0; before < 20; ++before)
      for (std::size_t after = 0; after < 10; ++after)
        EXPECT_FALSE(is_utf8(std::string(before, 'a') + text + std::string(after, 'a')));
  EXPECT_TRUE(is_utf8(std::string(20, 'a') + "Größe" + std::string(20, 'a')));
  EXPECT_EQ(utf8_length("Größe"), 5U);
}

TEST(Control, FindsC0C1AndDelete) {
  EXPECT_TRUE(has_control("a\nb"));
  EXPECT_TRUE(has_control(std::string_view("a\0b", 3)));
  EXPECT_TRUE(has_control("\x7F"));
  EXPECT_TRUE(has_control("\xC2\x85"));
  EXPECT_FALSE(has_control("plain text \xC3\xA9"));
}

TEST(ConstantTime, ComparesWholeValues) {
  EXPECT_TRUE(equal_constant_time("abc", "abc"));
  EXPECT_FALSE(equal_constant_time("abc", "abd"));
  EXPECT_FALSE(equal_constant_time("abc", "ab"));
}

}  // namespace
}  // namespace sallyport::base

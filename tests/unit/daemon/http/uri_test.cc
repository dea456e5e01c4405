#include "daemon/http/uri.h"

#include <gtest/gtest.h>

namespace sallyport::daemon {
namespace {

TEST(Uri, DecodesOnlyWhatIsWellFormed) {
  EXPECT_EQ(percent_decode("a%20b+c", false), "a b+c");
  EXPECT_EQ(percent_decode("a%20b+c", true), "a b c");
  EXPECT_EQ(percent_decode("%E2%82%ac", false), "€");
  for (const char* text : {"%", "%4", "%zz", "a%", "%00", "%ff", "%c0%af"}) {
    EXPECT_EQ(percent_decode(text, false), std::nullopt) << text;
  }
}

TEST(Uri, ReadsQueriesInOrder) {
  using Fields = std::vector<std::pair<std::string, std::string>>;
  EXPECT_EQ(parse_query("a=1&b=%26&a=x+y&c&&=z"),
            (Fields{{"a", "1"}, {"b", "&"}, {"a", "x y"}, {"c", ""}, {"", "z"}}));
  EXPECT_EQ(parse_query(""), Fields{});
  EXPECT_EQ(parse_query("a=%4"), std::nullopt);
}

TEST(Uri, HeaderValuesHoldNothingThatEndsThem) {
  EXPECT_EQ(header_encode("ERP sync (prod)"), "ERP sync (prod)");
  EXPECT_EQ(header_encode("100%"), "100%25");
  EXPECT_EQ(header_encode("a\r\nX-Evil: 1"), "a%0D%0AX-Evil: 1");
  EXPECT_EQ(header_encode(" Zoë "), "%20Zo%C3%AB%20");
  EXPECT_EQ(header_encode("a,b", ","), "a%2Cb");
  for (int byte = 0; byte < 256; ++byte) {
    const std::string text = {'a', static_cast<char>(byte), 'b'};
    const std::string encoded = header_encode(text);
    for (const char c : encoded) EXPECT_TRUE(c >= ' ' && c < '\x7f') << byte;
    if (byte != 0 && byte < 0x80) {
      EXPECT_EQ(percent_decode(encoded, false), text) << byte;
    }
  }
}

}  // namespace
}  // namespace sallyport::daemon

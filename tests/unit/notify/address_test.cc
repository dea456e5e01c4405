#include "notify/address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sallyport::notify {
namespace {

using ::testing::HasSubstr;

TEST(MailAddress, AcceptsWhatEveryServerCarries) {
  for (const char* good :
       {"a@b", "root@localhost", "ada.lovelace+keys@mail.example.com", "o'brien@example.org",
        "x_y-z@xn--bcher-kva.example", "1@2.example", "a!#$%&*/=?^`{|}~@example.com"})
    EXPECT_TRUE(is_mail_address(good)) << good;
}

TEST(MailAddress, RefusesTheRest) {
  for (const char* bad : {"",
                          "@",
                          "a",
                          "a@",
                          "@b",
                          "a b@example.com",
                          "a@b c",
                          "a@@b",
                          "a@b@c d",
                          ".a@b",
                          "a.@b",
                          "a..b@c",
                          "a@.b",
                          "a@b.",
                          "a@b..c",
                          "a@-b",
                          "a@b-",
                          "a@b_c",
                          "<a@b>",
                          "a@[127.0.0.1]",
                          "\"a b\"@example.com",
                          "a,b@example.com",
                          "a;b@example.com",
                          "a:b@example.com",
                          "a\\b@example.com",
                          "a(b)@example.com"})
    EXPECT_FALSE(is_mail_address(bad)) << bad;
}

TEST(MailAddress, RefusesEveryControlCharacterAnywhere) {
  for (int c = 0; c < 0x20; ++c) {
    for (std::size_t at = 0; at <= 5; ++at) {
      std::string text = "a@b.c";
      text.insert(at, 1, static_cast<char>(c));
      EXPECT_FALSE(is_mail_address(text)) << c << " at " << at;
    }
  }
  EXPECT_FALSE(is_mail_address("a@b\x7f"));
  EXPECT_FALSE(is_mail_address("a@example.com\r\nRCPT TO:<c@d>"));
}

TEST(MailAddress, LengthsAtTheLimitAndOneOver) {
  const std::string domain = "@example.com";
  EXPECT_TRUE(is_mail_address(std::string(64, 'a') + domain));
  EXPECT_FALSE(is_mail_address(std::string(65, 'a') + domain));
  EXPECT_TRUE(is_mail_address("a@" + std::string(63, 'b')));
  EXPECT_FALSE(is_mail_address("a@" + std::string(64, 'b')));
  std::string longest = "a@";
  while (longest.size() < 252) longest += "b.";
  longest += std::string(254 - longest.size(), 'c');
  ASSERT_EQ(longest.size(), 254U);
  EXPECT_TRUE(is_mail_address(longest));
  EXPECT_FALSE(is_mail_address(longest + "c"));
}

TEST(MailAddress, SaysWhatIsWrong) {
  EXPECT_EQ(mail_address_problem("a@example.com"), std::nullopt);
  EXPECT_THAT(*mail_address_problem("b\xc3\xbc"
                                    "cher@example.com"),
              HasSubstr("SMTPUTF8"));
  EXPECT_THAT(*mail_address_problem("a@b\xc3\xbc"
                                    "cher.example"),
              HasSubstr("xn--"));
  EXPECT_THAT(*mail_address_problem("nobody"), HasSubstr("no '@'"));
  EXPECT_THAT(*mail_address_problem("a b@example.com"), HasSubstr("before the '@'"));
  EXPECT_THAT(*mail_address_problem("a@b_c"), HasSubstr("after the '@'"));
  EXPECT_THAT(*mail_address_problem("a\r\n@b"), ::testing::Not(HasSubstr("\n")));
}

}  // namespace
}  // namespace sallyport::notify

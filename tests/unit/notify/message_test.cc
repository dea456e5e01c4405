#include "notify/message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "notify/texts.h"
#include "tests/unit/notify/samples.h"
#include "tests/unit/notify/servers.h"

namespace sallyport::notify {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

OutgoingMail sample_mail() {
  OutgoingMail mail;
  mail.from = {"sallyport@gate1.example.com", "Sallyport"};
  mail.to = {"admin@example.com", ""};
  mail.subject = "API key \"Billing\" expires in 7 days";
  mail.text = "Hello.\n\n.\nFrom here on =20 stays.\ntrailing blank \nend\n";
  mail.html = "<p>Hello &amp; good-bye</p>\n";
  mail.date = test::sample_now;
  mail.message_id = make_message_id("identity", "gate1.example.com");
  mail.list_id = "notices.gate1.example.com";
  mail.headers = {{"X-Sallyport-Kind", "key_expiring"}};
  return mail;
}

/// What a real parser of mails (Python's) makes of it, compared with what went in.
std::string as_a_reader_sees(const OutgoingMail& mail) {
  const test::ScratchDirectory directory;
  const auto write = [&](const char* name, const std::string& content) {
    std::ofstream(directory.path() / name, std::ios::binary) << content;
  };
  write("mail", build_message(mail));
  write("subject", mail.subject);
  write("from_name", mail.from.name);
  write("from", mail.from.address);
  write("to_name", mail.to.name);
  write("to", mail.to.address);
  write("text", mail.text);
  write("html", mail.html);
  const std::string path = directory.path().string();
  const std::string command = "/usr/bin/python3 " +
                              (test::source_root() / "tests/unit/notify/check_mail").string() +
                              " " + path + "/mail " + path + " > " + path + "/report";
  const int status = std::system(command.c_str());
  const std::string report = test::file_content(directory.path() / "report");
  return status == 0 ? "" : "differs: " + report;
}

TEST(Message, ComesOutAsItWentIn) {
  EXPECT_EQ(as_a_reader_sees(sample_mail()), "");
}

TEST(Message, EveryKindOfNoticeComesOutAsItWentIn) {
  for (const Kind kind : {Kind::key_expiring, Kind::exposure_flagged, Kind::file_failed}) {
    const NoticeText words = render(test::sample_facts(kind), test::sample_now);
    OutgoingMail mail = sample_mail();
    mail.subject = words.subject;
    mail.text = words.text;
    mail.html = words.html;
    EXPECT_EQ(as_a_reader_sees(mail), "") << to_string(kind);
  }
}

TEST(Message, LongAndForeignSubjectsAndNamesComeOutWhole) {
  const std::string key = "\xf0\x9f\x94\x91";
  std::string keys, umlauts;
  for (int i = 0; i < 45; ++i) keys += key;
  for (int i = 0; i < 90; ++i) umlauts += "\xc3\xbc";
  for (const std::string& text :
       {keys, umlauts, "a" + umlauts, std::string("a ") + key, std::string(70, 'x'),
        std::string(178, 'y'), std::string("=?UTF-8?Q?not_encoded?="),
        std::string("a, \"b\" <c@d>")}) {
    OutgoingMail mail = sample_mail();
    mail.subject = text;
    mail.from.name = text;
    mail.to.name = text;
    EXPECT_EQ(as_a_reader_sees(mail), "") << text;
  }
}

TEST(Message, PlainTextIsFoldedAndNotEncoded) {
  OutgoingMail mail = sample_mail();
  mail.subject =
      "API key \"Billing\" is exposed and will be deactivated in 14 days (2026-12-21 "
      "17:57:19 UTC) for  good, with two blanks";
  mail.headers = {{"X-Sallyport-Notice", std::string(64, 'a')}};
  EXPECT_EQ(as_a_reader_sees(mail), "");
  const std::string message = build_message(mail);
  const std::string head = message.substr(0, message.find("\r\n\r\n"));
  EXPECT_THAT(head, Not(HasSubstr("=?")));
  EXPECT_THAT(head, HasSubstr("\r\nX-Sallyport-Notice:\r\n " + std::string(64, 'a') + "\r\n"));
  for (std::size_t at = 0; at < head.size();) {
    const std::size_t end = std::min(head.find("\r\n", at), head.size());
    EXPECT_LE(end - at, 78U) << head.substr(at, end - at);
    at = end + 2;
  }
  mail.subject = "a" + std::string(200, ' ') + "b";  // no line of blanks alone
  EXPECT_EQ(as_a_reader_sees(mail), "");
  EXPECT_THAT(build_message(mail), HasSubstr("Subject: =?UTF-8?B?"));
}

TEST(Message, HeadersThatMailSystemsLookAt) {
  const std::string message = build_message(sample_mail());
  EXPECT_THAT(message, HasSubstr("Date: Sun, 22 Nov 2026 14:30:00 +0000\r\n"));
  EXPECT_THAT(message, HasSubstr("\r\nList-Id: <notices.gate1.example.com>\r\n"));
  EXPECT_THAT(message, HasSubstr("\r\nAuto-Submitted: auto-generated\r\n"));
  EXPECT_THAT(message, HasSubstr("\r\nX-Sallyport-Kind: key_expiring\r\n"));
  EXPECT_THAT(message, HasSubstr("\r\nMessage-ID: <" + sample_mail().message_id + ">\r\n"));
  EXPECT_EQ(message, build_message(sample_mail())) << "the same notice makes the same message";
}

TEST(Message, ControlCharactersAreRefusedInEveryHeader) {
  const auto breakers = {std::string("\r\nBcc: x@example.com"),
                         std::string("\n"),
                         std::string("\r"),
                         std::string("\0", 1),
                         std::string("\x1b[2J"),
                         std::string("\x7f")};
  for (const std::string& breaker : breakers) {
    const auto refused = [&](auto spoil) {
      OutgoingMail mail = sample_mail();
      spoil(mail);
      EXPECT_THROW((void)build_message(mail), Error);
    };
    refused([&](OutgoingMail& mail) { mail.subject += breaker; });
    refused([&](OutgoingMail& mail) { mail.from.name += breaker; });
    refused([&](OutgoingMail& mail) { mail.from.address += breaker; });
    refused([&](OutgoingMail& mail) { mail.to.name += breaker; });
    refused([&](OutgoingMail& mail) { mail.to.address += breaker; });
    refused([&](OutgoingMail& mail) { mail.message_id += breaker; });
    refused([&](OutgoingMail& mail) { mail.list_id += breaker; });
    refused([&](OutgoingMail& mail) { mail.headers[0].second += breaker; });
    refused([&](OutgoingMail& mail) { mail.headers[0].first += breaker; });
  }
}

TEST(Message, OtherBadInputIsRefusedWithASentence) {
  OutgoingMail mail = sample_mail();
  mail.to.address =
      "b\xc3\xbc"
      "cher@example.com";
  try {
    (void)build_message(mail);
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("SMTPUTF8"));
  }
  mail = sample_mail();
  mail.subject = "\xff\xfe";
  EXPECT_THROW((void)build_message(mail), Error);
  mail = sample_mail();
  mail.headers = {{"Bcc", "x@example.com"}};
  EXPECT_THROW((void)build_message(mail), Error);
  EXPECT_THROW((void)make_message_id("x", "no domain"), Error);
}

TEST(Message, IdsFollowFromTheIdentityAlone) {
  EXPECT_EQ(make_message_id("a", "example.com"), make_message_id("a", "example.com"));
  EXPECT_NE(make_message_id("a", "example.com"), make_message_id("b", "example.com"));
  EXPECT_TRUE(make_message_id("a", "example.com").ends_with("@example.com"));
}

/// A text line of one dot would end the data of SMTP, one that begins with "From " is changed by
/// mailbox files, and a blank at the end of a line is dropped by relays.
TEST(Message, LinesThatTransportsWouldChangeAreEncoded) {
  const std::string message = build_message(sample_mail());
  EXPECT_THAT(message, Not(HasSubstr("\r\n.\r\n")));
  EXPECT_THAT(message, Not(HasSubstr("\r\nFrom ")));
  EXPECT_THAT(message, Not(HasSubstr("trailing blank \r\n")));
}

}  // namespace
}  // namespace sallyport::notify

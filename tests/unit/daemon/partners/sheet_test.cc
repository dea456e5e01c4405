#include "daemon/partners/sheet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sallyport::daemon {
namespace {

using ::testing::HasSubstr;

// The text with every break of a line as one space.
std::string sheet_of(const std::string& encryption) {
  SheetFacts facts;
  facts.partner.partner.name = "acme";
  facts.policy.encryption = encryption;
  std::string text = render_sheet(facts, SheetFormat::text);
  for (char& c : text) c = c == '\n' ? ' ' : c;
  return text;
}

// Most of all where files come plain.
TEST(Sheet, SaysWhateverThePolicyThatOnlyAnEncryptedFileIsProtected) {
  for (const char* encryption : {"required", "optional", "forbidden"}) {
    EXPECT_THAT(sheet_of(encryption),
                HasSubstr("nly an encrypted file is protected against being cut short on its way"))
        << encryption;
  }
  EXPECT_THAT(sheet_of("required"), HasSubstr("Every file must be encrypted"));
  EXPECT_THAT(sheet_of("optional"), HasSubstr("Please encrypt files"));
  EXPECT_THAT(sheet_of("forbidden"), HasSubstr("Files must not be encrypted."));
  for (const char* encryption : {"optional", "forbidden"}) {
    EXPECT_THAT(sheet_of(encryption), HasSubstr("lain file whose upload was interrupted looks "
                                                "complete to us."));
  }
}

TEST(Sheet, SaysWhereAFolderHasRulesOfItsOwn) {
  SheetFacts facts;
  facts.partner.partner.name = "acme";
  facts.policy.encryption = "optional";
  facts.of_objects = {{"Users", facts.policy}, {"Invoices", facts.policy}};
  facts.of_objects[1].second.encryption = "required";
  const std::string sheet = render_sheet(facts, SheetFormat::text);
  EXPECT_THAT(sheet, HasSubstr("Please encrypt files"));
  EXPECT_THAT(sheet, HasSubstr("In /Incoming/Invoices instead: Every file must be encrypted"));
  EXPECT_THAT(sheet, ::testing::Not(HasSubstr("In /Incoming/Users")));
}

TEST(Sheet, NamesLimitsAsTheyAre) {
  SheetFacts facts;
  facts.partner.partner.name = "acme";
  facts.partner.partner.auth = "password";
  facts.policy.connections = 3;
  facts.policy.handles = 7;
  facts.login_grace = base::Seconds{60};
  facts.max_attempts = 4;
  for (const auto& [idle, text] : {std::pair{8, "8 seconds"},
                                   {90, "90 seconds"},
                                   {60, "1 minute\n"},
                                   {5400, "90 minutes"},
                                   {3600, "1 hour\n"},
                                   {86400, "1 day\n"},
                                   {172800, "2 days"}}) {
    facts.policy.idle = base::Seconds{idle};
    EXPECT_THAT(render_sheet(facts, SheetFormat::text),
                HasSubstr(std::string("a session that does nothing is ended after ") + text));
  }
  const std::string sheet = render_sheet(facts, SheetFormat::text);
  EXPECT_THAT(sheet, HasSubstr("3 connections at once, each with 7 open files"));
  EXPECT_THAT(sheet, HasSubstr("1 minute to log in, and 4 attempts a connection"));
  EXPECT_THAT(sheet, HasSubstr("$ sftp acme@")) << "who has no key names none";
  EXPECT_THAT(sheet, HasSubstr("our host keys: ssh-ed25519, rsa-sha2-512"));
}

}  // namespace
}  // namespace sallyport::daemon

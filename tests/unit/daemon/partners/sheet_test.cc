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

}  // namespace
}  // namespace sallyport::daemon

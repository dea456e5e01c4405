#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "daemon/files/detached.h"
#include "gateway.h"

namespace sallyport::daemon::test {
namespace {

using store::FileState;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string signature_of(std::string_view content, bool by_stranger = false) {
  Keys& keys = Keys::get();
  const TemporaryDirectory directory;
  write_file(directory.path() / "plain", content);
  pgp::Sealing sealing;
  sealing.signer = by_stranger ? keys.stranger_key.fingerprint : keys.partner_key.fingerprint;
  pgp::Engine& engine = by_stranger ? *keys.strangers : *keys.partners;
  const auto outcome =
      engine.sign_detached(directory.path() / "plain", directory.path() / "sig", sealing);
  EXPECT_TRUE(outcome.ok()) << outcome.detail;
  return content_of(directory.path() / "sig");
}

class DetachedTest : public testing::Test {
 protected:
  DetachedTest() : gateway([](Config& config) { config.partner.detached_signatures = true; }) {}
  void expect_pair(const std::string& data, const std::string& signature) {
    EXPECT_EQ(gateway.file(data).state, FileState::archived);
    EXPECT_EQ(gateway.file(signature).state, FileState::archived);
    EXPECT_THAT(gateway.file(data).verdict, HasSubstr(signature));
    EXPECT_THAT(gateway.file(data).verdict, HasSubstr(Keys::get().partner_key.fingerprint));
    EXPECT_THAT(files_below(gateway.root() / "inbound"), ElementsAre("acme/Invoices/a.csv"));
    EXPECT_THAT(files_below(gateway.tree()), ElementsAre("Archive/Incoming/Invoices/a.csv",
                                                         "Archive/Incoming/Invoices/a.csv.sig"));
    EXPECT_FALSE(gateway.pipeline->work_once());
  }
  Gateway gateway;
};

TEST_F(DetachedTest, TheFileFirst) {
  const std::string data = gateway.upload("Invoices", "a.csv", "content");
  gateway.work();
  EXPECT_EQ(gateway.file(data).state, FileState::received);
  const std::string signature = gateway.upload("Invoices", "a.csv.sig", signature_of("content"));
  gateway.work();
  expect_pair(data, signature);
}

TEST_F(DetachedTest, WhatWasVerifiedIsWhatIsDelivered) {
  const std::string data = gateway.upload("Invoices", "a.csv", "content");
  gateway.upload("Invoices", "a.csv.sig", signature_of("content"));
  pgp::Acceptance acceptance;
  acceptance.pinned = {Keys::get().partner_key.fingerprint};
  acceptance.now = gateway.context->pgp_now();
  const auto apart = verify_by_waiting_signature(*gateway.context, gateway.file(data), acceptance);
  ASSERT_TRUE(apart);
  EXPECT_TRUE(apart->verdict.accepted()) << apart->verdict.detail;
  // By a session that was taken over, which has the file open still.
  write_file(gateway.spool() / data, "evil");
  char kept[16];
  EXPECT_EQ(::pread(apart->data.get(), kept, sizeof(kept), 0), 7);
  EXPECT_EQ(std::string_view(kept, 7), "content");
  EXPECT_THAT(files_below(gateway.root() / "inbound"), IsEmpty());
}

TEST_F(DetachedTest, TheSignatureFirst) {
  const std::string signature = gateway.upload("Invoices", "a.csv.sig", signature_of("content"));
  gateway.work();
  const std::string data = gateway.upload("Invoices", "a.csv", "content");
  gateway.work();
  expect_pair(data, signature);
  // Nothing of the pair stays in the way of what comes after it.
  const std::string next = gateway.upload("Invoices", "b.csv.pgp", message("b"));
  gateway.work();
  EXPECT_EQ(gateway.file(next).state, FileState::archived);
}

TEST_F(DetachedTest, ABadSignatureOrAStrangersIsRefused) {
  const std::string data = gateway.upload("Invoices", "a.csv", "content");
  gateway.upload("Invoices", "a.csv.sig", signature_of("other content"));
  const std::string second = gateway.upload("Suppliers", "b.csv", "content");
  gateway.upload("Suppliers", "b.csv.sig", signature_of("content", true));
  gateway.work();
  EXPECT_EQ(gateway.file(data).reason_code, "signature-bad");
  EXPECT_EQ(gateway.file(second).reason_code, "signature-unknown-key");
  EXPECT_THAT(files_below(gateway.root() / "inbound"), IsEmpty());
}

TEST_F(DetachedTest, WhatComesAloneFailsAfterItsTime) {
  const std::string data = gateway.upload("Invoices", "a.csv", "content");
  const std::string signature = gateway.upload("Suppliers", "b.csv.sig", signature_of("content"));
  const std::string later = gateway.upload("Invoices", "later.pgp", message("later"));
  gateway.work_and_retry(9);
  EXPECT_EQ(gateway.file(data).state, FileState::received);
  EXPECT_EQ(gateway.file(later).state, FileState::decrypted);
  gateway.work_and_retry(2);
  EXPECT_EQ(gateway.file(data).reason_code, "signature-missing");
  EXPECT_EQ(gateway.file(signature).reason_code, "signature-alone");
  EXPECT_EQ(gateway.file(later).state, FileState::archived);
}

TEST(Detached, WhereTheyAreNotAcceptedASignatureIsToldSo) {
  Gateway gateway([](Config& config) { config.partner.signature = "required"; });
  const std::string id = gateway.upload("Invoices", "a.csv.sig", signature_of("content"));
  gateway.work();
  EXPECT_EQ(gateway.file(id).state, FileState::failed);
  EXPECT_EQ(gateway.file(id).reason_code, "signature-missing");
  EXPECT_THAT(gateway.file(id).reason, HasSubstr("a signature by itself"));
}

TEST_F(DetachedTest, WaitingPairsSurviveARestart) {
  const std::string data = gateway.upload("Invoices", "a.csv", "content");
  gateway.work();
  gateway.restart();
  gateway.work();
  const std::string signature = gateway.upload("Invoices", "a.csv.sig", signature_of("content"));
  gateway.work();
  expect_pair(data, signature);
}

}  // namespace
}  // namespace sallyport::daemon::test

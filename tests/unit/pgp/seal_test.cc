// What we make, read back by somebody else's gpg.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file_io.h"
#include "world.h"

namespace sallyport::pgp::test {
namespace {

using ::testing::HasSubstr;

class Seal : public ::testing::Test {
 protected:
  Seal() : input(w.new_path()), output(w.new_path()) { base::write_file_durably(input, w.text); }
  ~Seal() override {
    fs::remove(input);
    fs::remove(output);
  }
  std::string read_back(std::string_view message) {
    const fs::path status = w.new_path();
    std::string text = w.partner.gpg({"--status-file", status, "--decrypt"}, message);
    facts = base::read_file(status);
    return text;
  }

  World& w = world();
  fs::path input;
  fs::path output;
  std::string facts;
};

TEST_F(Seal, EncryptAndSign) {
  for (const bool armour : {false, true}) {
    for (const std::string& recipient : {w.rsa_key, w.curve_key}) {
      for (const std::string& signer : {w.our_key, w.our_rsa_key}) {
        fs::remove(output);
        Sealing sealing;
        sealing.recipients = {recipient};
        sealing.signer = signer;
        sealing.armour = armour;
        const Outcome outcome = w.gateway.encrypt_and_sign(input, output, sealing);
        ASSERT_TRUE(outcome.ok()) << outcome.detail;
        const std::string message = base::read_file(output);
        EXPECT_EQ(outcome.output_bytes, message.size());
        EXPECT_EQ(message.starts_with("-----BEGIN PGP MESSAGE-----\n"), armour);
        EXPECT_EQ(read_back(message), w.text);
        EXPECT_THAT(facts, HasSubstr("VALIDSIG " + signer));
        EXPECT_THAT(facts, HasSubstr("GOODMDC"));
        EXPECT_THAT(facts, HasSubstr("DECRYPTION_INFO 2 9"));  // AES256
      }
    }
  }
}

TEST_F(Seal, SignOnlyAndDetached) {
  Sealing sealing;
  sealing.signer = w.our_key;
  ASSERT_TRUE(w.gateway.encrypt_and_sign(input, output, sealing).ok());
  EXPECT_EQ(read_back(base::read_file(output)), w.text);
  EXPECT_THAT(facts, HasSubstr("VALIDSIG " + w.our_key));
  fs::remove(output);
  ASSERT_TRUE(w.gateway.sign_detached(input, output, sealing).ok());
  w.partner.gpg({"--verify", output, input});
}

TEST_F(Seal, ClearSignedTextIsReadAndRejectedWhenChanged) {
  const std::string text = "{\"name\": \"Zo\xc3\xab\"}\n- dash\n-----BEGIN\nlast";
  std::string made;
  const Outcome outcome = w.gateway.clear_sign(text, w.our_key, made);
  ASSERT_TRUE(outcome.ok()) << outcome.detail;
  EXPECT_EQ(read_back(made), text + "\n");
  EXPECT_THAT(facts, HasSubstr("VALIDSIG " + w.our_key));
  made.replace(made.find("name"), 4, "nome");
  EXPECT_THROW(read_back(made), std::runtime_error);
}

TEST_F(Seal, KeysThatCannotBeUsed) {
  const auto reason_for = [this](const std::string& recipient, const std::string& signer,
                                 std::optional<base::Instant> now = std::nullopt) {
    Sealing sealing;
    sealing.recipients = {recipient};
    sealing.signer = signer;
    sealing.now = now;
    const Outcome outcome = w.gateway.encrypt_and_sign(input, output, sealing);
    EXPECT_FALSE(fs::exists(output));
    EXPECT_FALSE(outcome.fingerprint.empty());
    return std::string(code(outcome.reason));
  };
  const base::Instant today = std::chrono::floor<base::Seconds>(std::chrono::system_clock::now());
  EXPECT_EQ(reason_for(std::string(40, 'A'), w.our_key), "recipient-missing");
  EXPECT_EQ(reason_for("p@example.org", w.our_key), "recipient-missing");
  EXPECT_EQ(reason_for("--output=/tmp/x", w.our_key), "recipient-missing");
  EXPECT_EQ(reason_for(w.other_key, w.our_key), "recipient-cannot-encrypt");
  EXPECT_EQ(reason_for(w.expiring_key, w.our_key, today + 31 * base::one_day), "recipient-expired");
  EXPECT_EQ(reason_for(w.rsa_key, w.other_key), "signer-missing");
  EXPECT_EQ(reason_for(w.rsa_key, std::string(40, 'B')), "signer-missing");
  EXPECT_EQ(reason_for(w.rsa_key, w.our_key, today - base::one_day), "clock-conflict");
}

TEST_F(Seal, RevokedRecipient) {
  const std::string key = w.partner.make_key("Gone <g@example.org>", "ed25519", "cv25519");
  ASSERT_TRUE(w.gateway.import_public_key(w.partner.public_key(key)).key);
  Sealing sealing;
  sealing.recipients = {key};
  ASSERT_TRUE(w.gateway.encrypt_and_sign(input, output, sealing).ok());
  fs::remove(output);
  std::string certificate =
      base::read_file(w.directory.path() / "pa" / "openpgp-revocs.d" / (key + ".rev"));
  certificate.erase(0, certificate.find(":-----BEGIN") + 1);
  w.partner.gpg({"--import"}, certificate);
  ASSERT_TRUE(w.gateway.import_public_key(w.partner.public_key(key)).key);
  EXPECT_EQ(w.gateway.encrypt_and_sign(input, output, sealing).reason, Reason::recipient_revoked);
  EXPECT_FALSE(fs::exists(output));
}

TEST_F(Seal, ForNobodyIsAMistakeOfOurs) {
  EXPECT_THROW((void)w.gateway.encrypt_and_sign(input, output, {}), PgpError);
}

TEST_F(Seal, NeverOverAnExistingFile) {
  base::write_file_durably(output, "kept");
  Sealing sealing;
  sealing.recipients = {w.rsa_key};
  EXPECT_THROW((void)w.gateway.encrypt_and_sign(input, output, sealing), base::SystemError);
  EXPECT_EQ(base::read_file(output), "kept");
}

}  // namespace
}  // namespace sallyport::pgp::test

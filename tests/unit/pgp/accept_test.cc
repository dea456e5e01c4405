// What is accepted, and every row of what must not be.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file_io.h"
#include "world.h"

namespace sallyport::pgp::test {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::SizeIs;

std::vector<std::string> sealed_by(const std::string& signer, const std::string& recipient,
                                   std::vector<std::string> more = {}) {
  std::vector<std::string> arguments = {"--encrypt", "--sign", "-u", signer, "-r", recipient};
  arguments.insert(arguments.begin(), more.begin(), more.end());
  return arguments;
}

class Accept : public ::testing::Test {
 protected:
  [[nodiscard]] std::string good() const {
    return w.partner.gpg(sealed_by(w.rsa_key, w.our_key), w.text);
  }
  void expect_refused(std::string_view message, const Acceptance& acceptance, Reason reason) {
    const World::Opened opened = w.open(message, acceptance);
    EXPECT_EQ(code(opened.verdict.reason), code(reason)) << opened.verdict.detail;
    EXPECT_FALSE(opened.is_published);
    EXPECT_FALSE(opened.verdict.accepted());
  }
  void expect_accepted(std::string_view message, const Acceptance& acceptance,
                       const std::string& signer) {
    const World::Opened opened = w.open(message, acceptance);
    EXPECT_EQ(code(opened.verdict.reason), "accepted") << opened.verdict.detail;
    EXPECT_EQ(opened.content, w.text);
    EXPECT_EQ(opened.verdict.signer(), signer);
  }

  World& w = world();
};

TEST_F(Accept, EncryptedAndSigned) {
  const World::Opened opened = w.open(good(), w.strict());
  const Verdict& verdict = opened.verdict;
  EXPECT_TRUE(verdict.accepted()) << verdict.detail;
  EXPECT_EQ(opened.content, w.text);
  EXPECT_EQ(verdict.signer(), w.rsa_key);
  EXPECT_EQ(verdict.decrypted_by, w.our_key);
  EXPECT_EQ(verdict.inspection.kind, Kind::encrypted);
  EXPECT_EQ(verdict.output_bytes, w.text.size());
  EXPECT_THAT(verdict.recipients, SizeIs(1));
  EXPECT_THAT(verdict.signatures, SizeIs(1));
  EXPECT_TRUE(verdict.signatures[0].made.has_value());
}

TEST_F(Accept, EveryFormOfTheSame) {
  for (const std::string& ours : {w.our_key, w.our_rsa_key}) {
    for (const std::string& theirs : {w.rsa_key, w.curve_key}) {
      for (const std::string compression : {"none", "zip", "zlib", "bzip2"}) {
        SCOPED_TRACE(ours + theirs + compression);
        std::vector<std::string> more = {"--compress-algo", compression};
        if (compression == "zlib") more.push_back("--armor");
        expect_accepted(w.partner.gpg(sealed_by(theirs, ours, more), w.text), w.strict(), theirs);
      }
    }
  }
}

TEST_F(Accept, EmptyContent) {
  const World::Opened opened =
      w.open(w.partner.gpg(sealed_by(w.rsa_key, w.our_key), ""), w.strict());
  EXPECT_TRUE(opened.verdict.accepted()) << opened.verdict.detail;
  EXPECT_TRUE(opened.is_published);
  EXPECT_EQ(opened.content, "");
}

TEST_F(Accept, AHiddenRecipientBesideUs) {
  const std::string message = w.partner.gpg(
      {"--encrypt", "--sign", "-u", w.rsa_key, "-R", w.curve_key, "-r", w.our_key}, w.text);
  expect_accepted(message, w.strict(), w.rsa_key);
}

TEST_F(Accept, AMessageHasToNameItsRecipients) {
  expect_refused(w.partner.gpg({"--encrypt", "-R", w.our_key}, w.text), w.lax(),
                 Reason::recipient_hidden);
  expect_refused(w.partner.gpg({"--encrypt", "--throw-keyids", "-r", w.our_key}, w.text), w.lax(),
                 Reason::recipient_hidden);
  expect_refused(w.partner.gpg({"--encrypt", "-r", w.curve_key, "-R", w.our_key}, w.text), w.lax(),
                 Reason::recipient_hidden);
}

TEST_F(Accept, SeveralRecipientsAndSigners) {
  const std::string message = w.partner.gpg({"--encrypt", "--sign", "-u", w.rsa_key, "-u",
                                             w.curve_key, "-r", w.curve_key, "-r", w.our_key},
                                            w.text);
  expect_accepted(message, w.strict(), w.rsa_key);
}

TEST_F(Accept, EncryptedOnlyWhereNoSignatureIsRequired) {
  const std::string message = w.partner.gpg({"--encrypt", "-r", w.our_key}, w.text);
  expect_accepted(message, w.lax(), "");
  expect_refused(message, w.strict(), Reason::signature_missing);
}

TEST_F(Accept, SignedOnlyWhereNoEncryptionIsRequired) {
  Acceptance acceptance = w.strict();
  acceptance.encryption = Encryption::optional;
  for (const std::string how : {"--sign", "--clear-sign"}) {
    for (const std::string compression : {"none", "zip", "bzip2"}) {
      SCOPED_TRACE(how + compression);
      const std::string message =
          w.partner.gpg({"--compress-algo", compression, how, "-u", w.rsa_key}, w.text);
      expect_accepted(message, acceptance, w.rsa_key);
      expect_refused(message, w.strict(), Reason::not_encrypted);
    }
  }
}

TEST_F(Accept, EncryptionForbidden) {
  Acceptance acceptance;
  acceptance.encryption = Encryption::forbidden;
  expect_refused(good(), acceptance, Reason::encryption_forbidden);
}

TEST_F(Accept, NameInsideIsIgnored) {
  const std::string message = w.partner.gpg(
      sealed_by(w.rsa_key, w.our_key, {"--set-filename", "../../etc/cron.d/x"}), w.text);
  expect_accepted(message, w.strict(), w.rsa_key);
}

TEST_F(Accept, NotForUsNamesWhomItIsFor) {
  const std::string message =
      w.partner.gpg({"--encrypt", "-r", w.rsa_key, "-r", w.curve_key}, w.text);
  const World::Opened opened = w.open(message, w.lax());
  EXPECT_EQ(opened.verdict.reason, Reason::not_for_us);
  EXPECT_THAT(opened.verdict.recipients, SizeIs(2));
  EXPECT_THAT(sentence(opened.verdict), HasSubstr(opened.verdict.recipients[1]));
  EXPECT_FALSE(opened.is_published);
}

TEST_F(Accept, PasswordOnly) {
  expect_refused(w.partner.gpg({"--passphrase", "secret", "--symmetric"}, w.text), w.lax(),
                 Reason::password_encrypted);
}

TEST_F(Accept, UnknownSigner) {
  const std::string message = w.stranger.gpg(sealed_by(w.stranger_key, w.our_key), w.text);
  expect_refused(message, w.strict(), Reason::signature_unknown_key);
  expect_refused(message, w.lax(), Reason::signature_unknown_key);
  EXPECT_THAT(sentence(w.open(message, w.strict()).verdict), HasSubstr(w.stranger_key.substr(24)));
}

TEST_F(Accept, AnotherPartnersKeyIsNotThisPartners) {
  const std::string message = w.partner.gpg(sealed_by(w.other_key, w.our_key), w.text);
  expect_refused(message, w.strict(), Reason::signature_not_pinned);
}

TEST_F(Accept, OneGoodSignatureDoesNotCoverForAnUnknownOne) {
  w.stranger.gpg({"--import"}, w.partner.secret_key(w.other_key));
  const std::string message = w.stranger.gpg(
      {"--encrypt", "--sign", "-u", w.other_key, "-u", w.stranger_key, "-r", w.our_key}, w.text);
  Acceptance acceptance = w.strict();
  acceptance.pinned = {w.other_key};
  expect_refused(message, acceptance, Reason::signature_unknown_key);
}

TEST_F(Accept, ExpiredSignature) {
  const std::string message =
      w.partner.gpg(sealed_by(w.rsa_key, w.our_key, {"--default-sig-expire", "2d"}), w.text);
  expect_accepted(message, w.strict(), w.rsa_key);
  Acceptance later = w.strict();
  later.now =
      std::chrono::floor<base::Seconds>(std::chrono::system_clock::now()) + 3 * base::one_day;
  expect_refused(message, later, Reason::signature_expired);
}

TEST_F(Accept, ExpiredSignerKey) {
  const std::string message = w.partner.gpg(sealed_by(w.expiring_key, w.our_key), w.text);
  expect_accepted(message, w.strict(), w.expiring_key);
  Acceptance later = w.strict();
  later.now =
      std::chrono::floor<base::Seconds>(std::chrono::system_clock::now()) + 31 * base::one_day;
  expect_refused(message, later, Reason::signature_key_expired);
}

TEST_F(Accept, RevokedSignerKey) {
  const std::string message = w.partner.gpg(sealed_by(w.revoked_key, w.our_key), w.text);
  expect_accepted(message, w.strict(), w.revoked_key);
  // gpg keeps a revocation certificate beside every key it makes, made harmless by a colon.
  std::string certificate =
      base::read_file(w.directory.path() / "pa" / "openpgp-revocs.d" / (w.revoked_key + ".rev"));
  certificate.erase(0, certificate.find(":-----BEGIN") + 1);
  w.partner.gpg({"--import"}, certificate);
  const ImportResult taken = w.gateway.import_public_key(w.partner.public_key(w.revoked_key));
  ASSERT_TRUE(taken.key) << taken.refusal;
  EXPECT_TRUE(taken.key->revoked);
  EXPECT_FALSE(taken.is_new);
  expect_refused(message, w.strict(), Reason::signature_key_revoked);
}

TEST_F(Accept, WeakDigest) {
  expect_refused(w.partner.gpg(sealed_by(w.rsa_key, w.our_key, {"--digest-algo", "SHA1"}), w.text),
                 w.strict(), Reason::weak_algorithm);
}

TEST_F(Accept, WeakCipher) {
  expect_refused(w.partner.gpg(sealed_by(w.rsa_key, w.our_key, {"--cipher-algo", "3DES"}), w.text),
                 w.strict(), Reason::weak_algorithm);
}

TEST_F(Accept, NoIntegrityProtection) {
  for (const std::string cipher : {"AES", "CAST5"}) {
    const std::string message = w.partner.gpg(
        sealed_by(w.rsa_key, w.our_key, {"--rfc2440", "--disable-mdc", "--cipher-algo", cipher}),
        w.text);
    expect_refused(message, w.strict(), Reason::no_integrity);
    expect_refused(message, w.lax(), Reason::no_integrity);
  }
}

TEST_F(Accept, DamagedAnywhere) {
  const std::string message =
      w.partner.gpg(sealed_by(w.rsa_key, w.our_key, {"--compress-algo", "none"}), w.text);
  for (std::size_t at = 20; at < message.size(); at += message.size() / 40) {
    SCOPED_TRACE(at);
    std::string changed = message;
    changed[at] = static_cast<char>(changed[at] ^ 0x10);
    const World::Opened opened = w.open(changed, w.strict());
    EXPECT_FALSE(opened.verdict.accepted());
    EXPECT_FALSE(opened.is_published);
  }
  std::string mdc = message;
  mdc[mdc.size() - 3] = static_cast<char>(mdc[mdc.size() - 3] ^ 1);
  expect_refused(mdc, w.strict(), Reason::damaged);
}

TEST_F(Accept, TruncatedAtEveryLength) {
  for (const bool armour : {false, true}) {
    const std::string message = w.partner.gpg(
        sealed_by(w.rsa_key, w.our_key,
                  armour ? std::vector<std::string>{"--armor"} : std::vector<std::string>{}),
        w.text.substr(0, 300));
    for (std::size_t length = 0; length < message.size(); ++length) {
      // A few bytes less of armour's last line still say that it is the last one.
      if (armour && length > message.size() - 16) break;
      const World::Opened opened = w.open(message.substr(0, length), w.strict());
      const Reason reason = opened.verdict.reason;
      ASSERT_TRUE(reason == Reason::truncated || (length < 20 && reason == Reason::not_pgp))
          << code(reason) << " at " << length;
      ASSERT_FALSE(opened.is_published);
    }
  }
}

TEST_F(Accept, TwoMessagesInOneFile) {
  expect_refused(good() + good(), w.strict(), Reason::extra_data);
  const std::string armoured = w.partner.gpg(sealed_by(w.rsa_key, w.our_key, {"--armor"}), w.text);
  expect_refused(armoured + armoured, w.strict(), Reason::extra_data);
}

TEST_F(Accept, TrailingData) {
  const std::vector<std::string> tails = {"garbage", "\n", std::string(1, '\0'),
                                          "\xcb\x07"
                                          "b\1x\0\0\0\0"};
  for (const std::string& tail : tails) {
    expect_refused(good() + tail, w.strict(), Reason::extra_data);
  }
  const std::string armoured = w.partner.gpg(sealed_by(w.rsa_key, w.our_key, {"--armor"}), w.text);
  expect_refused(armoured + "also pay 100 to me\n", w.strict(), Reason::extra_data);
  expect_accepted(armoured + "\r\n\n", w.strict(), w.rsa_key);
}

TEST_F(Accept, TextAroundAClearSignedOne) {
  Acceptance acceptance = w.strict();
  acceptance.encryption = Encryption::optional;
  const std::string message = w.partner.gpg({"--clear-sign", "-u", w.rsa_key}, w.text);
  expect_refused(message + "also pay 100 to me\n", acceptance, Reason::extra_data);
  expect_refused("pay 100 to me\n" + message, acceptance, Reason::not_pgp);
  std::string changed = message;
  changed.replace(changed.find("line 0 "), 7, "line 9 ");
  expect_refused(changed, acceptance, Reason::signature_bad);
}

TEST_F(Accept, ContentSwappedUnderASignature) {
  Acceptance acceptance = w.strict();
  acceptance.encryption = Encryption::optional;
  std::string message =
      w.partner.gpg({"--compress-algo", "none", "--sign", "-u", w.rsa_key}, w.text);
  const std::size_t at = message.find("line 0 ");
  ASSERT_NE(at, std::string::npos);
  message[at + 5] = '9';
  expect_refused(message, acceptance, Reason::signature_bad);
}

TEST_F(Accept, MessageInsideOfAMessage) {
  const std::string inner = w.partner.gpg({"--encrypt", "-r", w.our_key}, w.text);
  // What is decrypted is the content, even if it is a message again: it is not opened twice.
  const World::Opened opened =
      w.open(w.partner.gpg(sealed_by(w.rsa_key, w.our_key), inner), w.strict());
  EXPECT_TRUE(opened.verdict.accepted());
  EXPECT_EQ(opened.content, inner);
}

TEST_F(Accept, WhatIsNoMessage) {
  for (const std::string& text : {std::string("name;amount\n1;2\n"), std::string(),
                                  std::string("\xc9tat;1"), w.partner.public_key(w.rsa_key),
                                  w.partner.gpg({"--detach-sign", "-u", w.rsa_key}, w.text)}) {
    expect_refused(text, w.lax(), Reason::not_pgp);
  }
}

TEST_F(Accept, ClockBehindIsTriedAgainLater) {
  Acceptance before = w.strict();
  before.now = std::chrono::floor<base::Seconds>(std::chrono::system_clock::now()) - base::one_day;
  const World::Opened opened = w.open(good(), before);
  EXPECT_EQ(code(opened.verdict.reason), "clock-conflict") << opened.verdict.detail;
  EXPECT_TRUE(opened.verdict.retryable());
}

TEST_F(Accept, OwnExpiredKey) {
  OwnKeyRequest request{OwnKeyType::curve25519, "Short lived", "short@example.com", {}};
  request.expires =
      std::chrono::floor<base::Seconds>(std::chrono::system_clock::now()) + 10 * base::one_day;
  const Key key = w.gateway.generate_own_key(request);
  EXPECT_EQ(key.expires, request.expires);
  w.partner.gpg({"--import"}, w.gateway.export_public_key(key.fingerprint).value());
  const std::string message = w.partner.gpg(sealed_by(w.rsa_key, key.fingerprint), w.text);
  expect_accepted(message, w.strict(), w.rsa_key);
  Acceptance later = w.strict();
  later.now = *request.expires + base::one_day;
  expect_refused(message, later, Reason::own_key_expired);
  EXPECT_TRUE(w.gateway.delete_key(key.fingerprint, true));
  expect_refused(message, w.strict(), Reason::not_for_us);
}

TEST_F(Accept, Detached) {
  const fs::path data = w.new_path();
  const fs::path signature = w.new_path();
  const auto check = [&](const std::string& content, const std::string& sig) {
    base::write_file_durably(data, content);
    base::write_file_durably(signature, sig);
    return w.gateway.verify_detached(data, signature, w.strict());
  };
  const std::string sig = w.partner.gpg({"--detach-sign", "-u", w.rsa_key}, w.text);
  const Verdict good_one = check(w.text, sig);
  EXPECT_TRUE(good_one.accepted()) << good_one.detail;
  EXPECT_EQ(good_one.signer(), w.rsa_key);
  const std::string armoured = w.partner.gpg({"--armor", "--detach-sign", "-u", w.rsa_key}, w.text);
  EXPECT_TRUE(check(w.text, armoured).accepted());
  EXPECT_EQ(check(w.text + "x", sig).reason, Reason::signature_bad);
  EXPECT_EQ(check("", sig).reason, Reason::signature_bad);
  EXPECT_EQ(check(w.text, sig.substr(0, sig.size() - 5)).reason, Reason::truncated);
  EXPECT_EQ(check(w.text, w.text).reason, Reason::not_pgp);
  EXPECT_EQ(check(w.text, good()).reason, Reason::not_pgp);
  EXPECT_EQ(check(w.text, w.stranger.gpg({"--detach-sign", "-u", w.stranger_key}, w.text)).reason,
            Reason::signature_unknown_key);
  EXPECT_EQ(check(w.text, w.partner.gpg({"--detach-sign", "-u", w.other_key}, w.text)).reason,
            Reason::signature_not_pinned);
  // The data cannot pass for its own signature: a signed message is no detached signature.
  EXPECT_EQ(check(w.text, w.partner.gpg({"--sign", "-u", w.rsa_key}, w.text)).reason,
            Reason::not_pgp);
}

}  // namespace
}  // namespace sallyport::pgp::test

// Keys of both sides: made, taken in, refused, given out, deleted.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file_io.h"
#include "world.h"

namespace sallyport::pgp::test {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

base::Instant today() {
  return std::chrono::floor<base::Seconds>(std::chrono::system_clock::now());
}

class KeyringTest : public ::testing::Test {
 protected:
  World& w = world();
};

TEST_F(KeyringTest, OwnKeysAreListedWithWhatTheyCan) {
  const Key curve = w.gateway.find_key(w.our_key).value();
  EXPECT_EQ(curve.algorithm, "Ed25519");
  ASSERT_THAT(curve.subkeys, SizeIs(2));
  EXPECT_EQ(curve.subkeys[1].algorithm, "Cv25519");
  EXPECT_EQ(curve.user_ids, std::vector<std::string>{"Gateway <gw@example.com>"});
  EXPECT_TRUE(curve.can_sign(today()));
  EXPECT_TRUE(curve.can_encrypt(today()));
  EXPECT_FALSE(curve.expires.has_value());
  EXPECT_EQ(curve.weakness, "");
  const Key rsa = w.gateway.find_key(w.our_rsa_key).value();
  EXPECT_EQ(rsa.algorithm, "RSA 3072");
  std::vector<std::string> own;
  for (const Key& key : w.gateway.list_own_keys()) {
    EXPECT_TRUE(key.has_secret);
    own.push_back(key.fingerprint);
  }
  EXPECT_THAT(own, Contains(w.our_key));
  EXPECT_THAT(own, Contains(w.our_rsa_key));
  EXPECT_THAT(own, Not(Contains(w.rsa_key)));
}

TEST_F(KeyringTest, PublicKeyGivenOutHasNoSecretPart) {
  const std::string text = w.gateway.export_public_key(w.our_key).value();
  EXPECT_TRUE(text.starts_with("-----BEGIN PGP PUBLIC KEY BLOCK-----\n"));
  const auto keys = w.gateway.inspect_keys(text);
  ASSERT_THAT(keys, SizeIs(1));
  EXPECT_EQ(keys[0].fingerprint, w.our_key);
  EXPECT_FALSE(w.gateway.export_public_key(std::string(40, 'A')).has_value());
  EXPECT_FALSE(w.gateway.export_public_key("gw@example.com").has_value());
}

TEST_F(KeyringTest, InspectDoesNotImport) {
  const auto keys = w.gateway.inspect_keys(w.stranger.public_key(w.stranger_key));
  ASSERT_THAT(keys, SizeIs(1));
  EXPECT_EQ(keys[0].fingerprint, w.stranger_key);
  EXPECT_FALSE(w.gateway.find_key(w.stranger_key).has_value());
  EXPECT_THAT(w.gateway.inspect_keys("no key"), SizeIs(0));
  EXPECT_THAT(w.gateway.inspect_keys(""), SizeIs(0));
}

TEST_F(KeyringTest, ExpiryAndSubkeysOfAPartnersKey) {
  const Key key = w.gateway.find_key(w.expiring_key).value();
  ASSERT_TRUE(key.expires.has_value());
  EXPECT_EQ(key.usable_until(), key.expires);
  EXPECT_TRUE(key.can_encrypt(today()));
  EXPECT_FALSE(key.can_encrypt(today() + 31 * base::one_day));
  EXPECT_FALSE(key.can_sign(today() + 31 * base::one_day));
}

TEST_F(KeyringTest, RenewalIsTakenInAndIsNotNew) {
  const std::string key = w.partner.make_key("Renewed <n@example.org>", "ed25519", "", "2d");
  const ImportResult first = w.gateway.import_public_key(w.partner.public_key(key));
  ASSERT_TRUE(first.key) << first.refusal;
  EXPECT_TRUE(first.is_new);
  w.partner.gpg({"--quick-set-expire", key, "90d"});
  // gpg's certificates have a resolution of one second; the renewal must be the later one.
  const ImportResult second =
      w.gateway.import_public_key(w.partner.public_key(key), today() + 3 * base::one_day);
  ASSERT_TRUE(second.key) << second.refusal;
  EXPECT_FALSE(second.is_new);
  EXPECT_GE(*second.key->expires, *first.key->expires);
  EXPECT_TRUE(w.gateway.delete_key(key));
  EXPECT_FALSE(w.gateway.find_key(key).has_value());
  EXPECT_FALSE(w.gateway.delete_key(key));
}

TEST_F(KeyringTest, RefusedWithAReason) {
  const auto refusal = [this](std::string_view data) {
    const ImportResult result = w.gateway.import_public_key(data);
    EXPECT_FALSE(result.key);
    return result.refusal;
  };
  const std::string key = w.stranger.public_key(w.stranger_key);
  EXPECT_THAT(refusal(""), HasSubstr("not an OpenPGP public key"));
  EXPECT_THAT(refusal("ssh-ed25519 AAAA"), HasSubstr("not an OpenPGP public key"));
  EXPECT_THAT(refusal(w.stranger.secret_key(w.stranger_key)), HasSubstr("secret key"));
  EXPECT_THAT(refusal(key + w.partner.public_key(w.rsa_key)), HasSubstr("several keys"));
  EXPECT_THAT(refusal(key.substr(0, key.size() - 10)), HasSubstr("incomplete"));
  EXPECT_THAT(refusal(key + "x"), HasSubstr("something after"));
  EXPECT_THAT(refusal(std::string(2 << 20, '\x99')), HasSubstr("larger"));
  const std::string weak = w.stranger.make_key("Weak <w@example.net>", "rsa1024", "");
  EXPECT_THAT(refusal(w.stranger.public_key(weak)), HasSubstr("shorter than 2048"));
  const std::string weak_subkey =
      w.stranger.make_key("Weak too <v@example.net>", "ed25519", "rsa1024");
  EXPECT_THAT(refusal(w.stranger.public_key(weak_subkey)), HasSubstr("shorter than 2048"));
  const std::string gone = w.stranger.make_key("Gone <x@example.net>", "ed25519", "", "1d");
  EXPECT_THAT(
      w.gateway.import_public_key(w.stranger.public_key(gone), today() + 2 * base::one_day).refusal,
      HasSubstr("expired"));
  EXPECT_FALSE(w.gateway.find_key(weak).has_value());
  EXPECT_FALSE(w.gateway.find_key(gone).has_value());
}

TEST_F(KeyringTest, OwnKeyMadeElsewhere) {
  const std::string key = w.stranger.make_key("Ours <ours@example.com>", "rsa2048", "rsa2048");
  const std::string message = w.stranger.gpg({"--encrypt", "-r", key}, w.text);
  EXPECT_EQ(w.open(message, w.lax()).verdict.reason, Reason::not_for_us);
  EXPECT_THAT(w.gateway.import_own_key(w.stranger.public_key(key)).refusal,
              HasSubstr("not an OpenPGP secret key"));
  const ImportResult taken = w.gateway.import_own_key(w.stranger.secret_key(key));
  ASSERT_TRUE(taken.key) << taken.refusal;
  EXPECT_TRUE(taken.key->has_secret);
  EXPECT_EQ(w.open(message, w.lax()).content, w.text);
  EXPECT_TRUE(w.gateway.delete_key(key, true));
  EXPECT_EQ(w.open(message, w.lax()).verdict.reason, Reason::not_for_us);
}

TEST_F(KeyringTest, OwnKeyWithAPassphraseIsSaidSo) {
  Party other(w.new_path());
  other.gpg({"--passphrase", "secret", "--quick-gen-key", "Locked <l@example.com>", "ed25519"});
  const std::string data =
      other.gpg({"--passphrase", "secret", "--export-secret-keys", "l@example.com"});
  const ImportResult result = w.gateway.import_own_key(data);
  EXPECT_FALSE(result.key);
  EXPECT_THAT(result.refusal, HasSubstr("passphrase"));
}

TEST_F(KeyringTest, NamesThatWouldChangeTheRequestToGpg) {
  for (const char* name : {"abc", "Gate\nway", "Gate <way>", "Gate\"way"}) {
    EXPECT_THROW(
        (void)w.gateway.generate_own_key({OwnKeyType::curve25519, name, "a@example.com", {}}),
        PgpError);
  }
  for (const char* email : {"", "a b@example.com", "a@example.com\n%no-protection"}) {
    EXPECT_THROW((void)w.gateway.generate_own_key({OwnKeyType::curve25519, "Gateway", email, {}}),
                 PgpError);
  }
}

}  // namespace
}  // namespace sallyport::pgp::test

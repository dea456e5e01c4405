// What a file is, by its bytes alone: crafted packets, every cut, and noise.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "pgp/content_scanner.h"

namespace sallyport::pgp {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

/// Inspects in pieces of `step` bytes, the first one as large as the scanner wants it.
Inspection inspect_text(std::string_view text, std::size_t step = std::string::npos) {
  ContentScanner scanner;
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(text.data());
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t count =
        std::min(at == 0 ? std::max<std::size_t>(step, 40) : step, text.size() - at);
    scanner.feed({bytes + at, count});
    at += count;
    const std::size_t skipped = std::min<std::uint64_t>(scanner.skippable(), text.size() - at);
    scanner.skip(skipped);
    at += skipped;
  }
  return scanner.finish();
}

std::string packet(int tag, std::string_view body) {
  std::string text(1, static_cast<char>(0xc0 | tag));
  text += '\xff';
  for (int shift = 24; shift >= 0; shift -= 8) text += static_cast<char>(body.size() >> shift);
  return text + std::string(body);
}

std::string session_key(std::string_view key_id_hex = "0123456789ABCDEF") {
  return packet(1, "\3" + base::from_hex(key_id_hex).value() + "\1" + std::string(20, 'k'));
}

std::string contents(std::size_t size = 100) {
  return packet(18, "\1" + std::string(size, 'c'));
}

std::string literal() {
  return packet(11, std::string("b\0\0\0\0\0", 6) + "text");
}
std::string one_pass() {
  return packet(4, std::string("\3\0\x0a\1", 4) + "KEYIDKEY" + "\1");
}
std::string signature() {
  return packet(2, std::string("\4\0\1\x0a", 4) + std::string(30, 's'));
}
std::string public_key() {
  return packet(6, std::string("\4\0\0\0\0\1", 6) + std::string(30, 'n'));
}

std::string armour(std::string_view data, const std::string& label = "MESSAGE") {
  std::string text = "-----BEGIN PGP " + label + "-----\nComment: x\n\n";
  const std::string body = base::to_base64(data);
  for (std::size_t at = 0; at < body.size(); at += 64) text += body.substr(at, 64) + "\n";
  return text + "=abcd\n-----END PGP " + label + "-----\n";
}

TEST(Scanner, EncryptedNamesItsRecipients) {
  const Inspection found =
      inspect_text(session_key() + session_key("FEDCBA9876543210") + contents());
  EXPECT_EQ(found.kind, Kind::encrypted);
  EXPECT_THAT(found.recipients, ElementsAre("0123456789ABCDEF", "FEDCBA9876543210"));
  EXPECT_TRUE(found.has_integrity);
  EXPECT_TRUE(found.is_complete);
  EXPECT_FALSE(found.has_extra_data);
  EXPECT_FALSE(found.is_malformed);
  EXPECT_FALSE(found.has_password);
  EXPECT_FALSE(found.armoured);
}

TEST(Scanner, PasswordAndOldContents) {
  const std::string password = packet(3, std::string("\4\x09\0\2", 4));
  const Inspection both =
      inspect_text(session_key() + password + packet(9, "12345678901234567890"));
  EXPECT_EQ(both.kind, Kind::encrypted);
  EXPECT_TRUE(both.has_password);
  EXPECT_FALSE(both.has_integrity);
  EXPECT_THAT(inspect_text(password + contents()).recipients, IsEmpty());
}

TEST(Scanner, NewerThanGpgIsSaidSo) {
  EXPECT_FALSE(inspect_text(session_key() + packet(18, "\2" + std::string(50, 'x'))).is_supported);
  EXPECT_FALSE(inspect_text(packet(1, "\6" + std::string(50, 'x')) + contents()).is_supported);
  EXPECT_TRUE(inspect_text(session_key() + contents()).is_supported);
}

TEST(Scanner, KindsOfPackets) {
  EXPECT_EQ(inspect_text(one_pass() + literal() + signature()).kind, Kind::signed_message);
  EXPECT_EQ(inspect_text(signature() + literal()).kind, Kind::signed_message);
  EXPECT_EQ(inspect_text(literal()).kind, Kind::signed_message);
  EXPECT_EQ(inspect_text(signature() + signature()).kind, Kind::detached_signature);
  EXPECT_EQ(inspect_text(public_key() + packet(13, "uid") + signature()).kind, Kind::public_key);
  EXPECT_EQ(inspect_text(packet(10, "PGP") + session_key() + contents()).kind, Kind::encrypted);
  EXPECT_EQ(inspect_text(session_key() + contents() + packet(21, "pad")).has_extra_data, false);
}

TEST(Scanner, PlainFilesThatLookAlmostRight) {
  const std::vector<std::string> plain = {
      "",
      "\n",
      "name;amount\n",
      "\xc9tat;montant\n" + std::string(200, 'x'),  // Latin-1, tag 9
      "\xcbl\x62\x01 and more text",                // a literal that does not end here
      "\xa3 100 for everybody",                     // tag 8, no method that exists
      "\x89PNG\r\n\x1a\n" + std::string(100, '\0'),
      "\xff\xd8\xff\xe0" + std::string(100, 'j'),
      "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + std::string(100, '\0'),
      "\xef\xbb\xbfname;amount\n",
      "\xc2\xa3 100\n",
      "PK\3\4" + std::string(100, 'z'),
      "see below\n" + armour(session_key() + contents()),
      "  -----BEGIN PGP MESSAGE-----\n\n",
      "-----BEGIN CERTIFICATE-----\n",
      std::string("\x85\x01", 2),
      std::string(1, '\x80'),
  };
  for (const std::string& text : plain)
    EXPECT_EQ(inspect_text(text).kind, Kind::plain) << text.substr(0, 20);
}

TEST(Scanner, WhatFollowsAMessage) {
  for (const std::string& tail : {std::string("x"), std::string("\n"), literal(), signature(),
                                  session_key(), std::string("\xd2")}) {
    const Inspection found = inspect_text(session_key() + contents() + tail);
    EXPECT_EQ(found.kind, Kind::encrypted);
    EXPECT_TRUE(found.has_extra_data);
  }
  EXPECT_TRUE(inspect_text(one_pass() + literal() + signature() + literal()).has_extra_data);
  EXPECT_TRUE(inspect_text(public_key() + literal()).has_extra_data);
}

TEST(Scanner, OrdersThatNoMessageHas) {
  EXPECT_TRUE(inspect_text(session_key() + literal()).is_malformed);
  EXPECT_TRUE(inspect_text(one_pass() + session_key() + contents()).is_malformed);
}

// Each of these ended the daemon, or was tried again for ever.
TEST(Scanner, EmptyPartsAreDamage) {
  for (const char* next : {"\xc1\0", "\x84\0", "\xc3\0", "\xd2\0", "\xc9\0", "\xd4\0", "\xc2\0"}) {
    for (const std::string& first : {session_key(), one_pass(), signature(), public_key()}) {
      const std::string text = first + std::string(next, 2);
      EXPECT_NO_THROW(static_cast<void>(inspect_text(text)));
      EXPECT_NO_THROW(static_cast<void>(inspect_text(text + contents())));
    }
    EXPECT_EQ(inspect_text(std::string(next, 2)).kind, Kind::plain);
  }
  EXPECT_TRUE(inspect_text(session_key() + std::string("\xc1\0", 2) + contents()).is_malformed);
  for (const char* mark : {"-----BEGIN PGP \n", "-----BEGIN PGP ", "-----BEGIN PGP  \r\n\r\nx\n"}) {
    const Inspection read = inspect_text(mark);
    EXPECT_TRUE(read.is_malformed || !read.is_complete || read.kind == Kind::plain) << mark;
  }
}

TEST(Scanner, EveryCutOfAMessageIsSeen) {
  const std::string encrypted = session_key() + contents();
  for (std::size_t size = 0; size < encrypted.size(); ++size) {
    const Inspection found = inspect_text(encrypted.substr(0, size));
    ASSERT_TRUE(found.kind == Kind::plain ? size < 17 : !found.is_complete) << size;
  }
  const std::string signed_one = one_pass() + literal() + signature();
  for (std::size_t size = 20; size < signed_one.size(); ++size)
    ASSERT_FALSE(inspect_text(signed_one.substr(0, size)).is_complete) << size;
}

TEST(Scanner, LengthsOfEveryForm) {
  const std::string body = "\1" + std::string(299, 'c');
  std::string partial = "\xd2";
  partial += "\xe7" + body.substr(0, 128);
  partial += "\xe7" + body.substr(128, 128);
  partial += static_cast<char>(44) + body.substr(256);
  std::string two_octets = "\xd2";
  two_octets += static_cast<char>(192 + ((300 - 192) >> 8));
  two_octets += static_cast<char>((300 - 192) & 0xff);
  for (const std::string& packets : {partial, two_octets + body}) {
    const std::string message = session_key() + packets;
    EXPECT_TRUE(inspect_text(message).is_complete);
    EXPECT_FALSE(inspect_text(message).has_extra_data);
    EXPECT_FALSE(inspect_text(message.substr(0, message.size() - 1)).is_complete);
    EXPECT_TRUE(inspect_text(message + "x").has_extra_data);
  }
  // Old format: two octets, and without a length at all.
  const std::string old_session_key = std::string("\x84\x1e", 2) + session_key().substr(6);
  EXPECT_TRUE(inspect_text(old_session_key + contents()).is_complete);
  const std::string endless = std::string("\xa3\1\0", 3) + std::string(50, 'z');
  EXPECT_EQ(inspect_text(endless).kind, Kind::signed_message);
  EXPECT_TRUE(inspect_text(endless).is_complete);
}

TEST(Scanner, Armour) {
  const std::string text = armour(session_key() + contents());
  const Inspection found = inspect_text("\r\n" + text + "\n \n");
  EXPECT_EQ(found.kind, Kind::encrypted);
  EXPECT_TRUE(found.armoured);
  EXPECT_TRUE(found.is_complete);
  EXPECT_FALSE(found.has_extra_data);
  EXPECT_THAT(found.recipients, ElementsAre("0123456789ABCDEF"));
  EXPECT_TRUE(inspect_text(text + "x").has_extra_data);
  EXPECT_TRUE(inspect_text(text + text).has_extra_data);
  EXPECT_TRUE(inspect_text(armour("garbage")).is_malformed);
  EXPECT_EQ(inspect_text(armour(signature(), "SIGNATURE")).kind, Kind::detached_signature);
  EXPECT_EQ(inspect_text(armour(public_key(), "PUBLIC KEY BLOCK")).kind, Kind::public_key);
  // The label does not say what it is: the packets do.
  EXPECT_EQ(inspect_text(armour(public_key())).kind, Kind::public_key);
  std::string bad = text;
  bad[bad.find("\n\n") + 10] = '!';
  EXPECT_TRUE(inspect_text(bad).is_malformed);
  const std::size_t end = text.find("-----END");
  for (std::size_t size = 30; size < end + 8; ++size) {
    const Inspection cut = inspect_text(text.substr(0, size));
    ASSERT_FALSE(cut.is_complete) << size;
    ASSERT_FALSE(cut.is_malformed) << size;
  }
  std::string dos;
  for (const char c : text) dos += c == '\n' ? std::string("\r\n") : std::string(1, c);
  EXPECT_TRUE(inspect_text(dos).is_complete);
  EXPECT_FALSE(inspect_text(dos).is_malformed);
}

TEST(Scanner, ClearSigned) {
  const std::string text = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nline\n- -dash\n";
  const std::string whole = text + armour(signature(), "SIGNATURE");
  EXPECT_EQ(inspect_text(whole).kind, Kind::clearsigned);
  EXPECT_TRUE(inspect_text(whole).is_complete);
  EXPECT_FALSE(inspect_text(whole).is_malformed);
  EXPECT_FALSE(inspect_text(text).is_complete);
  EXPECT_TRUE(inspect_text(text + "-forged\n" + armour(signature(), "SIGNATURE")).is_malformed);
  EXPECT_TRUE(inspect_text(text + armour(literal(), "SIGNATURE")).is_malformed);
  EXPECT_TRUE(inspect_text(whole + "more").has_extra_data);
}

bool same(const Inspection& a, const Inspection& b) {
  return a.kind == b.kind && a.armoured == b.armoured && a.recipients == b.recipients &&
         a.has_integrity == b.has_integrity && a.is_complete == b.is_complete &&
         a.has_extra_data == b.has_extra_data && a.is_malformed == b.is_malformed &&
         a.is_supported == b.is_supported;
}

TEST(Scanner, PiecesOfAnySizeGiveTheSame) {
  const std::string encrypted = session_key() + contents(5000);
  for (const std::string& text :
       {encrypted, armour(encrypted), encrypted + "x", one_pass() + literal() + signature(),
        encrypted.substr(0, 3000)}) {
    const Inspection whole = inspect_text(text);
    for (const std::size_t step : {1U, 2U, 3U, 7U, 64U, 1000U})
      EXPECT_TRUE(same(inspect_text(text, step), whole)) << step;
  }
}

TEST(Scanner, NoiseIsReportedOnWithoutHarm) {
  std::mt19937 random(7);  // NOLINT: the same noise every time
  const std::string encrypted =
      session_key() + contents(300) + one_pass() + literal() + signature();
  const std::string armoured = armour(encrypted);
  for (int round = 0; round < 20000; ++round) {
    std::string text = round % 2 == 0 ? encrypted : armoured;
    const int changes = static_cast<int>(random() % 4) + 1;
    for (int i = 0; i < changes; ++i) text[random() % text.size()] = static_cast<char>(random());
    text.resize(random() % text.size());
    const Inspection whole = inspect_text(text);
    ASSERT_LE(whole.recipients.size(), 100u);
    if (round % 10 == 0) {
      ASSERT_TRUE(same(inspect_text(text, 1), whole)) << base::to_hex(text);
    }
  }
}

}  // namespace
}  // namespace sallyport::pgp

// Messages that no honest program makes. Whatever they are, nothing is published but a content that
// is the whole of one message and that the policy accepts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <map>

#include "base/bytes.h"
#include "base/file_io.h"
#include "forge.h"

namespace sallyport::pgp::test {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using Checksum = Envelope::Checksum;

constexpr int tag_signature = 2;
constexpr int tag_one_pass = 4;
constexpr int tag_encrypted = 9;
constexpr int tag_marker = 10;
constexpr int tag_literal = 11;
constexpr int tag_protected = 18;

class Hostile : public ::testing::Test {
 protected:
  /// One-pass, literal and signature packets of an honest signature.
  [[nodiscard]] std::vector<Packet> signed_by(const std::string& key,
                                              const std::string& text) const {
    const Party& by = key == w.stranger_key ? w.stranger : w.partner;
    return split_packets(by.gpg({"--compress-algo", "none", "--sign", "-u", key}, text));
  }
  [[nodiscard]] const std::vector<Packet>& honest() const {
    static const std::vector<Packet> packets = signed_by(w.rsa_key, w.text);
    return packets;
  }
  [[nodiscard]] const Envelope& envelope() const {
    static const Envelope made(w, w.our_key);
    return made;
  }

  /// Refused with one of these reasons, by a strict policy and by one that takes anything.
  void expect_refused(const std::string& name, std::string_view message,
                      const std::vector<Reason>& reasons) {
    for (const bool strict : {true, false}) {
      SCOPED_TRACE(name + (strict ? ", strict" : ", lax"));
      const World::Opened opened = w.open(message, strict ? w.strict() : w.lax());
      EXPECT_THAT(codes(reasons), Contains(code(opened.verdict.reason))) << opened.verdict.detail;
      EXPECT_FALSE(opened.is_published);
    }
  }
  /// Of an unusual but lawful form: accepted, and what is published is the content.
  void expect_accepted(const std::string& name, std::string_view message,
                       const Acceptance& acceptance) {
    SCOPED_TRACE(name);
    const World::Opened opened = w.open(message, acceptance);
    EXPECT_EQ(code(opened.verdict.reason), "accepted") << opened.verdict.detail;
    EXPECT_EQ(opened.content, w.text);
    if (acceptance.signature_required) {
      EXPECT_EQ(opened.verdict.signer(), w.rsa_key);
    }
  }
  static std::vector<std::string_view> codes(const std::vector<Reason>& reasons) {
    std::vector<std::string_view> result;
    for (const Reason reason : reasons) result.push_back(code(reason));
    return result;
  }

  World& w = world();
};

TEST_F(Hostile, TheForgeMakesGoodMessages) {
  expect_accepted("signed", envelope().seal(join(honest())), w.strict());
  expect_accepted("by nobody", envelope().seal(literal(w.text)), w.lax());
  const Envelope rsa(w, w.our_rsa_key);
  expect_accepted("for the RSA key", rsa.seal(join(honest())), w.strict());
}

TEST_F(Hostile, UnusualFormsOfGoodMessages) {
  const std::string inner = join(honest());
  const std::string marker = packet(tag_marker, "PGP");
  const std::string key_packet = envelope().session_key_packet();
  expect_accepted("marker first", marker + envelope().seal(inner), w.strict());
  expect_accepted("marker inside", envelope().seal(marker + inner), w.strict());
  expect_accepted("in pieces",
                  key_packet + packet_in_pieces(tag_protected, envelope().protect(inner), 512),
                  w.strict());
  expect_accepted("in pieces inside",
                  envelope().seal(packet(tag_one_pass, honest()[0].body) +
                                  packet_in_pieces(tag_literal, honest()[1].body, 1024) +
                                  packet(tag_signature, honest()[2].body)),
                  w.strict());
  expect_accepted("signature first, of the old kind",
                  envelope().seal(packet(tag_signature, honest()[2].body) +
                                  packet(tag_literal, honest()[1].body)),
                  w.strict());
  expect_accepted("three containers", envelope().seal(container(container(container(inner)))),
                  w.strict());
  const std::string others = w.partner.gpg({"--encrypt", "-r", w.curve_key}, w.text);
  std::string many;
  for (int i = 0; i < 50; ++i) many += join({split_packets(others).at(0)});
  expect_accepted("fifty session keys of others", many + envelope().seal(inner), w.strict());
  // One of ours that fits, and belongs to another message: what it opens is noise, in which gpg now
  // and then takes something for a packet.
  const Envelope second(w, w.our_rsa_key);
  expect_refused("a session key of another message",
                 second.session_key_packet() + envelope().seal(inner),
                 {Reason::damaged, Reason::extra_data});
}

TEST_F(Hostile, ChecksumsThatAreNotRight) {
  const std::string inner = join(honest());
  expect_refused("wrong", envelope().seal(inner, Checksum::wrong), {Reason::damaged});
  expect_refused("missing", envelope().seal(inner, Checksum::missing), {Reason::damaged});
  expect_refused("cut off", envelope().seal(inner, Checksum::cut_off), {Reason::damaged});
  const std::string inside = envelope().protect(inner);
  expect_refused("declared as a packet without it",
                 envelope().session_key_packet() + packet(tag_encrypted, inside.substr(1)),
                 {Reason::no_integrity});
  expect_refused(
      "a whole message of the kind without it",
      envelope().session_key_packet() + packet(tag_encrypted, envelope().old_kind(inner)),
      {Reason::no_integrity});
}

TEST_F(Hostile, MoreThanOneContent) {
  const std::string good = join(honest());
  const std::string more = literal("pay 100 to me\n");
  const std::string other = join(signed_by(w.curve_key, "pay 100 to me\n"));
  const std::vector<Reason> reasons = {Reason::extra_data, Reason::malformed, Reason::damaged,
                                       Reason::signature_bad, Reason::signature_missing};
  expect_refused("after it", envelope().seal(good + more), reasons);
  expect_refused("before it", envelope().seal(more + good), reasons);
  expect_refused("two unsigned", envelope().seal(literal(w.text) + more), reasons);
  expect_refused("two signed", envelope().seal(good + other), reasons);
  expect_refused("two literals under one signature",
                 envelope().seal(packet(tag_one_pass, honest()[0].body) + literal(w.text) + more +
                                 packet(tag_signature, honest()[2].body)),
                 reasons);
  expect_refused("one in a container", envelope().seal(container(good) + container(more)), reasons);
  expect_refused(
      "after the checksum",
      envelope().session_key_packet() + packet(tag_protected, envelope().protect(good)) + more,
      {Reason::extra_data});
  expect_refused("two encrypted parts",
                 envelope().session_key_packet() + packet(tag_protected, envelope().protect(good)) +
                     packet(tag_protected, envelope().protect(more)),
                 {Reason::extra_data});
}

TEST_F(Hostile, NoContentAtAll) {
  const std::vector<Reason> reasons = {Reason::malformed,     Reason::damaged,
                                       Reason::extra_data,    Reason::truncated,
                                       Reason::signature_bad, Reason::signature_missing};
  expect_refused("nothing", envelope().seal(""), reasons);
  expect_refused("a marker", envelope().seal(packet(tag_marker, "PGP")), reasons);
  expect_refused("a one-pass packet", envelope().seal(packet(tag_one_pass, honest()[0].body)),
                 reasons);
  expect_refused("a signature", envelope().seal(packet(tag_signature, honest()[2].body)), reasons);
  expect_refused("a key", envelope().seal(w.partner.public_key(w.rsa_key)), reasons);
  expect_refused("garbage", envelope().seal(std::string(500, '\x5a')), reasons);
  expect_refused("an empty container", envelope().seal(container("")), reasons);
}

TEST_F(Hostile, SignaturesThatDoNotBelong) {
  const std::vector<Packet> other = signed_by(w.rsa_key, "another text\n");
  const std::string one_pass = packet(tag_one_pass, honest()[0].body);
  const std::string signature = packet(tag_signature, honest()[2].body);
  expect_refused("of another text",
                 envelope().seal(one_pass + literal(w.text) + packet(tag_signature, other[2].body)),
                 {Reason::signature_bad});
  // Announced, and not there: it is an unsigned one, whatever it says of itself.
  const std::string promised = envelope().seal(one_pass + literal(w.text));
  const World::Opened unsigned_one = w.open(promised, w.strict());
  EXPECT_EQ(unsigned_one.verdict.reason, Reason::signature_missing);
  EXPECT_FALSE(unsigned_one.is_published);
  // Two announced: the first to come belongs to the second announced.
  const std::vector<Packet> second = signed_by(w.curve_key, "another text\n");
  expect_refused("a good one and a bad one",
                 envelope().seal(one_pass + packet(tag_one_pass, second[0].body) + literal(w.text) +
                                 packet(tag_signature, second[2].body) + signature),
                 {Reason::signature_bad});
  const std::vector<Packet> unknown = signed_by(w.stranger_key, w.text);
  expect_refused(
      "a good one and a stranger's",
      envelope().seal(one_pass + packet(tag_one_pass, unknown[0].body) + literal(w.text) +
                      packet(tag_signature, unknown[2].body) + signature),
      {Reason::signature_unknown_key});
  const std::vector<Packet> foreign = signed_by(w.other_key, w.text);
  const World::Opened opened = w.open(envelope().seal(join(foreign)), w.strict());
  EXPECT_EQ(code(opened.verdict.reason), code(Reason::signature_not_pinned));
  EXPECT_FALSE(opened.is_published);
  // The signature's key id says the pinned key, its numbers are a stranger's.
  std::string claimed = unknown[2].body;
  const auto id_of = [](const std::string& fingerprint) {
    const auto bytes = base::from_hex(fingerprint.substr(24)).value();
    return std::string(bytes.begin(), bytes.end());
  };
  const std::size_t at = claimed.find(id_of(w.stranger_key));
  ASSERT_NE(at, std::string::npos);
  claimed.replace(at, 8, id_of(w.curve_key));
  expect_refused("of a borrowed name",
                 envelope().seal(packet(tag_signature, claimed) + literal(w.text)),
                 {Reason::signature_bad, Reason::signature_unknown_key});
}

TEST_F(Hostile, OneSignatureByOurOwnKeyIsNotThePartners) {
  const fs::path input = w.new_path();
  const fs::path sealed = w.new_path();
  base::write_file_durably(input, w.text);
  Sealing sealing;
  sealing.recipients = {w.our_key};
  sealing.signer = w.our_rsa_key;
  ASSERT_TRUE(w.gateway.encrypt_and_sign(input, sealed, sealing).ok());
  const World::Opened opened = w.open(base::read_file(sealed), w.strict());
  EXPECT_EQ(code(opened.verdict.reason), code(Reason::signature_not_pinned));
  EXPECT_FALSE(opened.is_published);
}

TEST_F(Hostile, MessagesInMessages) {
  const std::string good = join(honest());
  const std::vector<Reason> reasons = {Reason::extra_data, Reason::malformed, Reason::damaged};
  expect_refused("encrypted twice", envelope().seal(envelope().seal(good)), reasons);
  expect_refused("encrypted in a container", container(envelope().seal(good)),
                 {Reason::malformed, Reason::extra_data, Reason::not_encrypted});
  const Acceptance strict = w.strict();
  for (const int depth : {31, 33, 200, 5000}) {
    SCOPED_TRACE(depth);
    std::string deep = good;
    for (int i = 0; i < depth; ++i) deep = container(deep);
    const World::Opened opened = w.open(envelope().seal(deep), strict);
    if (opened.verdict.accepted()) {
      EXPECT_EQ(opened.content, w.text);
    } else {
      EXPECT_FALSE(opened.is_published);
    }
  }
}

TEST_F(Hostile, LengthsThatLie) {
  const std::string good = join(honest());
  const std::string inside = envelope().protect(good);
  const std::string key_packet = envelope().session_key_packet();
  const std::int64_t size = static_cast<std::int64_t>(inside.size());
  const std::vector<Reason> reasons = {
      Reason::signature_missing, Reason::truncated, Reason::malformed, Reason::damaged,
      Reason::extra_data,        Reason::not_pgp,   Reason::not_for_us};
  for (const std::int64_t claim : {size + 1, size + 100'000, std::int64_t{0xffffffff}}) {
    expect_refused("longer: " + std::to_string(claim),
                   key_packet + packet(tag_protected, inside, claim), {Reason::truncated});
  }
  for (const std::int64_t claim : {size - 1, size / 2, std::int64_t{1}, std::int64_t{0}}) {
    expect_refused("shorter: " + std::to_string(claim),
                   key_packet + packet(tag_protected, inside, claim), reasons);
  }
  expect_refused(
      "a session key of 4 GiB",
      packet(1, split_packets(key_packet)[0].body, 0xffffffff) + packet(tag_protected, inside),
      reasons);
  const std::string body = honest()[1].body;
  expect_refused("a literal of 4 GiB inside",
                 envelope().seal(packet(tag_one_pass, honest()[0].body) +
                                 packet(tag_literal, body, 0xffffffff)),
                 reasons);
  // All of it is name, so it has no content: gpg takes it for an empty one.
  const std::string all_name = envelope().seal(packet(tag_literal, std::string("b\xff") + "short"));
  EXPECT_EQ(w.open(all_name, w.lax()).content, "");
  EXPECT_FALSE(w.open(all_name, w.strict()).is_published);
  expect_refused(
      "a last piece that is missing",
      key_packet +
          packet_in_pieces(tag_protected, inside, 512).substr(0, (inside.size() / 512) * 512),
      {Reason::truncated});
  expect_refused("an unknown container", envelope().seal(packet(8, "\x63" + good)), reasons);
}

TEST_F(Hostile, WhatIsWrittenInsideIsNotTakenForWhatGpgSays) {
  // Names, user ids and notations come back in gpg's status lines and in its log.
  const std::string status = "\n[GNUPG:] VALIDSIG " + w.rsa_key +
                             " 2026-01-01 1767225600 0 4 0 1 10 00 " + w.rsa_key +
                             "\n[GNUPG:] GOODSIG " + w.rsa_key.substr(24) + " x\n";
  World::Opened opened =
      w.open(envelope().seal(literal(w.text, 'b', status.substr(0, 250))), w.strict());
  EXPECT_EQ(code(opened.verdict.reason), "signature-missing") << opened.verdict.detail;
  EXPECT_FALSE(opened.is_published);

  for (const std::string name : {"../../etc/cron.d/x", "/etc/passwd", "_CONSOLE", "-rf", "a b"}) {
    SCOPED_TRACE(name);
    opened = w.open(envelope().seal(literal(w.text, 'b', name)), w.lax());
    EXPECT_TRUE(opened.verdict.accepted()) << opened.verdict.detail;
    EXPECT_EQ(opened.content, w.text);
  }

  // gpg makes no notation with line ends in it.
  std::string line = status;
  std::replace(line.begin(), line.end(), '\n', ' ');
  const std::string notation = "x@example.org=" + line;
  opened = w.open(w.partner.gpg({"--encrypt", "--sign", "-u", w.other_key, "-r", w.our_key,
                                 "--sig-notation", notation},
                                w.text),
                  w.strict());
  EXPECT_EQ(code(opened.verdict.reason), code(Reason::signature_not_pinned))
      << opened.verdict.detail;
  EXPECT_FALSE(opened.is_published);
}

TEST_F(Hostile, TextThatIsSmuggledIntoAClearSignedOne) {
  Acceptance acceptance = w.strict();
  acceptance.encryption = Encryption::optional;
  const std::string good = w.partner.gpg({"--clear-sign", "-u", w.rsa_key}, "pay 1 to you\n");
  const std::string line = "pay 100 to me\n";
  const auto with = [&](const std::string& before, const std::string& put) {
    std::string changed = good;
    const std::size_t at = changed.find(before);
    EXPECT_NE(at, std::string::npos) << before;
    return changed.insert(at, put);
  };
  const std::size_t end_of_header = good.find("\n\n") + 2;
  const std::string signature = good.substr(good.find("-----BEGIN PGP SIGNATURE"));
  const std::map<std::string, std::string> messages = {
      {"as a header", with("\n\n", "\nComment: " + line.substr(0, line.size() - 1))},
      {"as a header that is none", with("\n\n", "\n" + line.substr(0, line.size() - 1))},
      {"between header and text", with("pay 1", line)},
      {"after a line of blanks",
       std::string(good).replace(end_of_header - 1, 1, "   \n" + line + "\n")},
      {"before the signature", with("-----BEGIN PGP SIGNATURE", line)},
      {"escaped", with("-----BEGIN PGP SIGNATURE", "- " + line)},
      {"after a signature's header",
       with("-----BEGIN PGP SIGNATURE", "-----BEGIN PGP SIGNATURE-----x\n" + line)},
      {"between two signatures", good + line + signature},
      {"in a second message",
       good + "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n" + line + signature},
      {"in front, in a message without end",
       "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n" + line + good},
      {"with a NUL", with("pay 1", std::string("pay 100\0", 8))},
      {"with a hash that is not its own",
       std::string(good).replace(good.find("SHA512"), 6, "SHA256")},
      {"with no hash named", std::string(good).replace(good.find("Hash: SHA512\n"), 13, "")},
      {"with no signature", good.substr(0, good.find("-----BEGIN PGP SIGNATURE"))},
      {"with an armoured message for a signature",
       with("pay 1", line).substr(0, line.size() + good.find("-----BEGIN PGP SIGNATURE")) +
           w.partner.gpg({"--armor", "--sign", "-u", w.rsa_key}, "pay 1 to you\n")},
  };
  for (const auto& [name, message] : messages) {
    const World::Opened opened = w.open(message, acceptance);
    EXPECT_FALSE(opened.is_published) << name << ": " << opened.content;
    EXPECT_FALSE(opened.verdict.accepted()) << name;
    EXPECT_FALSE(opened.verdict.retryable()) << name << ": " << code(opened.verdict.reason);
  }
}

TEST_F(Hostile, ArmourThatHidesSomething) {
  const std::string good =
      w.partner.gpg({"--armor", "--encrypt", "--sign", "-u", w.rsa_key, "-r", w.our_key}, w.text);
  const std::string end = "-----END PGP MESSAGE-----\n";
  const std::size_t body = good.find("\n\n") + 2;
  const auto expect_nothing = [&](const std::string& name, const std::string& message) {
    const World::Opened opened = w.open(message, w.strict());
    EXPECT_FALSE(opened.is_published) << name;
  };
  expect_nothing("wrong checksum", std::string(good).replace(good.rfind("\n=") + 2, 4, "AAAA"));
  expect_nothing("text after the end", good + "pay 100 to me\n");
  expect_nothing("a second one", good + good);
  expect_nothing("text before it", "pay 100 to me\n" + good);
  expect_nothing("a line that is no base64", std::string(good).insert(body, "pay 100 to me!\n"));
  expect_nothing("cut in its last line", good.substr(0, good.find(end) + 10));
  // gpg wants the checksum; without it, it reads on into the last line.
  const World::Opened bare = w.open(std::string(good).erase(good.rfind("\n="), 6), w.strict());
  EXPECT_TRUE(!bare.is_published || bare.content == w.text);
  // What armour may have.
  const std::vector<std::pair<std::string, std::string>> lawful = {
      {"a comment", std::string(good).insert(body - 1, "Comment: from us\n")},
      {"blank lines around it", "\n\n" + good + "\n\n"},
      {"DOS lines",
       [&] {
         std::string dos;
         for (const char c : good) dos += c == '\n' ? std::string("\r\n") : std::string(1, c);
         return dos;
       }()},
  };
  for (const auto& [name, message] : lawful) {
    SCOPED_TRACE(name);
    const World::Opened opened = w.open(message, w.strict());
    if (opened.is_published) {
      EXPECT_EQ(opened.content, w.text);
    } else {
      ADD_FAILURE() << code(opened.verdict.reason) << " " << opened.verdict.detail;
    }
  }
}

TEST_F(Hostile, EveryByteOfASmallMessageChanged) {
  const std::string message = w.partner.gpg(
      {"--encrypt", "--sign", "-u", w.curve_key, "-r", w.our_key, "--compress-algo", "none"},
      "small\n");
  for (std::size_t at = 0; at < message.size(); ++at) {
    std::string changed = message;
    changed[at] = static_cast<char>(changed[at] ^ (1 << at % 8));
    const World::Opened opened = w.open(changed, w.strict());
    if (!opened.is_published) continue;
    // A length in another form, say: the same message.
    ASSERT_EQ(opened.content, "small\n") << "byte " << at;
    ASSERT_EQ(opened.verdict.signer(), w.curve_key) << "byte " << at;
  }
}

TEST_F(Hostile, ManyOfEverythingEndsSoon) {
  const auto timed = [&](const std::string& name, const std::string& message) {
    SCOPED_TRACE(name);
    const auto started = std::chrono::steady_clock::now();
    const World::Opened opened = w.open(message, w.strict());
    EXPECT_LT(std::chrono::steady_clock::now() - started, std::chrono::seconds(20));
    if (opened.is_published) {
      EXPECT_EQ(opened.content, w.text);
    }
    return opened.verdict;
  };
  const std::string good = envelope().seal(join(honest()));
  std::string markers;
  for (int i = 0; i < 100'000; ++i) markers += packet(tag_marker, "PGP");
  timed("markers", markers + good);
  timed("markers inside", envelope().seal(markers + join(honest())));

  std::string one_pass;
  std::string signatures;
  for (int i = 0; i < 20'000; ++i) {
    one_pass += packet(tag_one_pass, honest()[0].body);
    signatures += packet(tag_signature, honest()[2].body);
  }
  timed("signatures", envelope().seal(one_pass + literal(w.text) + signatures));

  // For each hidden recipient gpg would try all our keys.
  const Envelope second(w, w.our_rsa_key);
  std::string hidden_packet = second.session_key_packet();
  const std::size_t id_at = hidden_packet.size() - split_packets(hidden_packet)[0].body.size() + 1;
  hidden_packet.replace(id_at, 8, 8, '\0');
  std::string hidden;
  for (int i = 0; i < 5000; ++i) hidden += hidden_packet;
  const Verdict verdict = timed("hidden recipients", hidden + good);
  // Unless it skips them, that is 5000 failures, and no message.
  EXPECT_EQ(verdict.reason, Reason::none) << verdict.detail;
}

}  // namespace
}  // namespace sallyport::pgp::test

// The rule of acceptance on facts, where real gpg cannot be made to say them.
#include "pgp/judge.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <set>

namespace sallyport::pgp {
namespace {

constexpr std::string_view good_status =
    "[GNUPG:] ENC_TO 1111111111111111 18 0\n"
    "[GNUPG:] DECRYPTION_KEY AAAA OURS u\n"
    "[GNUPG:] BEGIN_DECRYPTION\n"
    "[GNUPG:] DECRYPTION_INFO 2 9 0\n"
    "[GNUPG:] PLAINTEXT 62 1795358415 a\n"
    "[GNUPG:] NEWSIG\n"
    "[GNUPG:] GOODSIG 2222222222222222 Partner [GNUPG:] BADSIG\n"
    "[GNUPG:] VALIDSIG SUB 2026-11-22 1795358415 0 4 0 1 10 00 THEIRS\n"
    "[GNUPG:] DECRYPTION_OKAY\n"
    "[GNUPG:] GOODMDC\n"
    "[GNUPG:] END_DECRYPTION\n";

constexpr base::Instant now = base::from_unix(1795358500);

struct Case {
  std::string status{good_status};
  int exit_code = 0;
  int signal = 0;
  std::string log;
  std::vector<Key> own_keys;

  void replace(std::string_view from, std::string_view to) {
    const std::size_t at = status.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    status.replace(at, from.size(), to);
  }
  [[nodiscard]] Verdict judge() const {
    GpgRun run;
    run.status = parse_status(status);
    run.log = log;
    if (signal == 0) run.process.exit_code = exit_code;
    run.process.signal = signal;
    run.output_bytes = 10;
    Acceptance acceptance;
    acceptance.signature_required = true;
    acceptance.pinned = {"THEIRS"};
    Verdict verdict;
    verdict.inspection.kind = Kind::encrypted;
    verdict.recipients = {"1111111111111111"};
    verdict.reason = judge_run(run, 100);
    if (verdict.reason == Reason::none) judge_message(verdict, run, acceptance, own_keys, now);
    return verdict;
  }
  [[nodiscard]] std::string_view code() const { return pgp::code(judge().reason); }
};

TEST(Judge, AllIsWell) {
  const Verdict verdict = Case().judge();
  EXPECT_EQ(code(verdict.reason), "accepted");
  EXPECT_EQ(verdict.signer(), "THEIRS");
  EXPECT_EQ(verdict.decrypted_by, "OURS");
}

TEST(Judge, EachFactAloneRefuses) {
  struct Change {
    std::string_view from;
    std::string_view to;
    std::string_view code;
  };
  constexpr Change changes[] = {
      {"[GNUPG:] DECRYPTION_OKAY\n", "", "damaged"},
      {"[GNUPG:] GOODMDC\n", "", "damaged"},
      {"[GNUPG:] GOODMDC\n", "[GNUPG:] GOODMDC\n[GNUPG:] BADMDC\n", "damaged"},
      {"[GNUPG:] GOODMDC\n", "[GNUPG:] GOODMDC\n[GNUPG:] DECRYPTION_FAILED\n", "damaged"},
      {"DECRYPTION_INFO 2 9 0", "DECRYPTION_INFO 0 9 0", "no-integrity"},
      {"DECRYPTION_INFO 2 9 0", "DECRYPTION_INFO 2 3 0", "weak-algorithm"},
      {"DECRYPTION_INFO 2 9 0", "DECRYPTION_INFO 2 1 0", "weak-algorithm"},
      {"[GNUPG:] BEGIN_DECRYPTION\n", "[GNUPG:] BEGIN_DECRYPTION\n[GNUPG:] BEGIN_DECRYPTION\n",
       "extra-data"},
      {"[GNUPG:] PLAINTEXT 62 1795358415 a\n", "", "malformed"},
      {"[GNUPG:] PLAINTEXT 62 1795358415 a\n",
       "[GNUPG:] PLAINTEXT 62 1 a\n[GNUPG:] PLAINTEXT 62 1 a\n", "extra-data"},
      {"[GNUPG:] DECRYPTION_KEY AAAA OURS u\n", "", "not-for-us"},
      {"1 10 00 THEIRS", "1 2 00 THEIRS", "weak-algorithm"},
      {"1 10 00 THEIRS", "1 10 00 OTHERS", "signature-not-yours"},
      {"GOODSIG", "BADSIG", "signature-bad"},
      {"GOODSIG", "EXPSIG", "signature-expired"},
      {"GOODSIG", "EXPKEYSIG", "signature-key-expired"},
      {"GOODSIG", "REVKEYSIG", "signature-key-revoked"},
      {"GOODSIG", "SOMESIG", "signature-bad"},
      {"[GNUPG:] VALIDSIG", "[GNUPG:] INVALIDSIG", "signature-bad"},
      {"[GNUPG:] NEWSIG\n", "[GNUPG:] NEWSIG\n[GNUPG:] NEWSIG\n", "signature-bad"},
      {"[GNUPG:] NEWSIG\n", "[GNUPG:] NEWSIG\n[GNUPG:] ERRSIG 3 1 10 00 1 9 F\n[GNUPG:] NEWSIG\n",
       "signature-unknown-key"},
      {"[GNUPG:] END_DECRYPTION\n", "[GNUPG:] UNEXPECTED 0\n", "extra-data"},
      {"[GNUPG:] END_DECRYPTION\n", "[GNUPG:] NODATA 3\n", "extra-data"},
  };
  for (const Change& change : changes) {
    Case one;
    one.replace(change.from, change.to);
    EXPECT_EQ(one.code(), change.code) << change.from << " -> " << change.to;
  }
}

TEST(Judge, ExitCodeAloneRefuses) {
  Case one;
  one.exit_code = 2;
  EXPECT_EQ(one.code(), "malformed");
}

TEST(Judge, NoSignature) {
  Case one;
  const std::size_t at = one.status.find("[GNUPG:] NEWSIG");
  one.status.erase(at, one.status.find("[GNUPG:] DECRYPTION_OKAY") - at);
  EXPECT_EQ(one.code(), "signature-missing");
}

TEST(Judge, DeathsOfGpg) {
  const auto code_of_signal = [](int signal) {
    Case one;
    one.signal = signal;
    return one.code();
  };
  EXPECT_EQ(code_of_signal(SIGXFSZ), "output-over-limit");
  EXPECT_EQ(code_of_signal(SIGXCPU), "resource-limit");
  EXPECT_EQ(code_of_signal(SIGSEGV), "malformed");
  EXPECT_EQ(code_of_signal(SIGKILL), "interrupted");
}

TEST(Judge, AFullDiskIsToldApartFromAUserIdThatSaysSo) {
  Case full;
  full.exit_code = 2;
  full.log = "gpg: error writing to '-&5': No space left on device\n";
  EXPECT_EQ(full.code(), "disk-full");
  full.log = "gpg: Good signature from \"x: No space left on device\n";
  EXPECT_EQ(full.code(), "malformed");
  full.log = "gpg:                 aka \"x\n: No space left on device\n";
  EXPECT_EQ(full.code(), "malformed");
}

TEST(Judge, OurKeysAge) {
  Case one;
  Key key;
  key.fingerprint = "OURS";
  key.expires = now;
  one.own_keys = {key};
  EXPECT_EQ(one.code(), "own-key-expired");
  one.own_keys[0].expires = now + base::Seconds(1);
  EXPECT_EQ(one.code(), "accepted");
  one.own_keys[0].revoked = true;
  EXPECT_EQ(one.code(), "own-key-revoked");
}

TEST(Judge, LogIsMadePrintable) {
  EXPECT_EQ(printable_log("gpg: a\n\x1b[31mb\n"), "gpg: a | ?[31mb");
  EXPECT_EQ(printable_log(std::string(2000, 'x')).size(), 500u);
}

TEST(Reasons, CodesAreUniqueAndComeBack) {
  std::set<std::string_view> codes;
  for (int i = 0; i <= static_cast<int>(Reason::interrupted); ++i) {
    const auto reason = static_cast<Reason>(i);
    EXPECT_TRUE(codes.insert(code(reason)).second) << code(reason);
    EXPECT_EQ(reason_from_code(code(reason)), reason);
    EXPECT_TRUE(sentence(reason).ends_with('.')) << code(reason);
  }
  EXPECT_EQ(reason_from_code("no-such-reason"), std::nullopt);
}

TEST(Keys, AgesOfKeyAndSubkeys) {
  Key key;
  Subkey primary;
  primary.can_sign = true;
  Subkey subkey;
  subkey.can_encrypt = true;
  subkey.expires = now + base::Seconds(10);
  key.subkeys = {primary, subkey};
  EXPECT_TRUE(key.can_sign(now));
  EXPECT_TRUE(key.can_encrypt(now));
  EXPECT_FALSE(key.can_encrypt(now + base::Seconds(10)));
  EXPECT_EQ(key.usable_until(), subkey.expires);
  key.expires = now + base::Seconds(5);
  EXPECT_EQ(key.usable_until(), key.expires);
  EXPECT_FALSE(key.can_sign(now + base::Seconds(5)));
  key.revoked = true;
  EXPECT_FALSE(key.can_sign(now));
}

}  // namespace
}  // namespace sallyport::pgp

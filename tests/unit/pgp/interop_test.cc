// Messages and keys made by other implementations, and ours read by them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/file_io.h"
#include "world.h"

namespace sallyport::pgp::test {
namespace {

using ::testing::HasSubstr;

class Interop : public ::testing::Test {
 protected:
  Interop() : here(w.new_path()) {
    fs::create_directory(here);
    base::write_file_durably(here / "ours.asc", w.gateway.export_public_key(w.our_key).value());
    base::write_file_durably(here / "ours-rsa.asc",
                             w.gateway.export_public_key(w.our_rsa_key).value());
    base::write_file_durably(here / "text", w.text);
  }
  ~Interop() override { fs::remove_all(here); }

  std::string path(const std::string& name) const { return (here / name).string(); }
  /// Takes in the key and returns its fingerprint.
  std::string pin(const std::string& file) {
    const ImportResult result = w.gateway.import_public_key(base::read_file(here / file));
    EXPECT_TRUE(result.key) << result.refusal;
    return result.key ? result.key->fingerprint : "";
  }
  void expect_accepted(const std::string& file, const std::string& signer) {
    Acceptance acceptance = w.strict();
    acceptance.pinned = {signer};
    const World::Opened opened = w.open(base::read_file(here / file), acceptance);
    EXPECT_EQ(code(opened.verdict.reason), "accepted") << file << ": " << opened.verdict.detail;
    EXPECT_EQ(opened.content, w.text) << file;
    EXPECT_EQ(opened.verdict.signer(), signer);
  }
  void seal_for(const std::string& recipient, const std::string& file) {
    Sealing sealing;
    sealing.recipients = {recipient};
    sealing.signer = w.our_rsa_key;
    const Outcome outcome = w.gateway.encrypt_and_sign(here / "text", here / file, sealing);
    EXPECT_TRUE(outcome.ok()) << outcome.detail;
  }

  World& w = world();
  fs::path here;
};

TEST_F(Interop, Sequoia) {
  if (::access("/usr/bin/sq", X_OK) != 0) FAIL() << "sq is not installed: make deps";
  run({"/usr/bin/sq", "key", "generate", "--userid", "Sq <sq@example.org>", "--export",
       path("sq.key")});
  base::write_file_durably(here / "sq.cert",
                           run({"/usr/bin/sq", "key", "extract-cert", path("sq.key")}).captured[0]);
  const std::string signer = pin("sq.cert");
  for (const std::string ours : {"ours.asc", "ours-rsa.asc"}) {
    for (const std::string compression : {"none", "zip", "zlib", "bzip2"}) {
      const std::string out = "sq-" + ours + compression;
      run({"/usr/bin/sq", "encrypt", "--recipient-cert", path(ours), "--signer-key", path("sq.key"),
           "--compression", compression, "--output", path(out), path("text")});
      expect_accepted(out, signer);
    }
  }
  run({"/usr/bin/sq", "encrypt", "--binary", "--recipient-cert", path("ours.asc"), "--signer-key",
       path("sq.key"), "--output", path("sq.pgp"), path("text")});
  expect_accepted("sq.pgp", signer);
  seal_for(signer, "to-sq.pgp");
  EXPECT_EQ(run({"/usr/bin/sq", "decrypt", "--recipient-key", path("sq.key"), "--signer-cert",
                 path("ours-rsa.asc"), path("to-sq.pgp")})
                .captured[0],
            w.text);
}

TEST_F(Interop, Rnp) {
  if (::access("/usr/bin/rnp", X_OK) != 0) FAIL() << "rnp is not installed: make deps";
  const std::string home = path("rnp");
  fs::create_directory(home);
  base::write_file_durably(here / "pass", "secret\n");
  run({"/usr/bin/rnpkeys", "--homedir", home, "--password", "secret", "--userid", "rnp@example.org",
       "--generate-key", "--numbits", "2048"});
  base::write_file_durably(
      here / "rnp.cert",
      run({"/usr/bin/rnpkeys", "--homedir", home, "--export-key", "rnp@example.org"}).captured[0]);
  const std::string signer = pin("rnp.cert");
  run({"/usr/bin/rnpkeys", "--homedir", home, "--import-key", path("ours.asc")});
  run({"/usr/bin/rnpkeys", "--homedir", home, "--import-key", path("ours-rsa.asc")});
  for (const std::string compression : {"--zip", "--bzip"}) {
    const std::string out = "rnp" + compression;
    run({"/usr/bin/rnp", "--homedir", home, "--password", "secret", compression, "-z", "6",
         "--encrypt", "--sign", "-u", "rnp@example.org", "-r", "gw@example.com", "--output",
         path(out), path("text")});
    expect_accepted(out, signer);
  }
  run({"/usr/bin/rnp", "--homedir", home, "--password", "secret", "--armor", "-z", "0", "--encrypt",
       "--sign", "-u", "rnp@example.org", "-r", "gw@example.com", "--output", path("rnp.asc"),
       path("text")});
  expect_accepted("rnp.asc", signer);
  seal_for(signer, "to-rnp.pgp");
  run({"/usr/bin/rnp", "--homedir", home, "--password", "secret", "--decrypt", "--output",
       path("from-us"), path("to-rnp.pgp")});
  EXPECT_EQ(base::read_file(here / "from-us"), w.text);
}

constexpr const char* pgpy_script = R"(
import sys, warnings
warnings.simplefilter('ignore')
import pgpy
from pgpy.constants import *
here = sys.argv[1] + '/'
if sys.argv[2] == 'make':
    key = pgpy.PGPKey.new(PubKeyAlgorithm.RSAEncryptOrSign, 2048)
    uid = pgpy.PGPUID.new('Pgpy', email='pgpy@example.org')
    key.add_uid(uid, usage={KeyFlags.Sign, KeyFlags.EncryptCommunications},
                hashes=[HashAlgorithm.SHA256], ciphers=[SymmetricKeyAlgorithm.AES256],
                compression=[CompressionAlgorithm.ZLIB])
    open(here + 'pgpy.key', 'w').write(str(key))
    open(here + 'pgpy.cert', 'w').write(str(key.pubkey))
    text = open(here + 'text').read()
    for ours in ('ours.asc', 'ours-rsa.asc'):
        pub, _ = pgpy.PGPKey.from_file(here + ours)
        for name in ('Uncompressed', 'ZIP', 'ZLIB', 'BZ2'):
            message = pgpy.PGPMessage.new(text, compression=getattr(CompressionAlgorithm, name))
            message |= key.sign(message)
            sealed = pub.encrypt(message)
            open(here + 'pgpy-' + ours + name, 'w').write(str(sealed))
            open(here + 'pgpy-' + ours + name + '.bin', 'wb').write(bytes(sealed))
else:
    key, _ = pgpy.PGPKey.from_file(here + 'pgpy.key')
    ours, _ = pgpy.PGPKey.from_file(here + 'ours-rsa.asc')
    opened = key.decrypt(pgpy.PGPMessage.from_file(here + 'to-pgpy.pgp'))
    assert ours.verify(opened)
    sys.stdout.write(opened.message if isinstance(opened.message, str)
                     else opened.message.decode())
)";

TEST_F(Interop, Pgpy) {
  base::ProcessRequest probe;
  probe.argv = {"/usr/bin/python3", "-W", "ignore", "-c", "import pgpy"};
  if (!base::run_process(probe).succeeded()) FAIL() << "python3-pgpy is not installed: make deps";
  run({"/usr/bin/python3", "-c", pgpy_script, here, "make"});
  const std::string signer = pin("pgpy.cert");
  for (const std::string ours : {"ours.asc", "ours-rsa.asc"}) {
    for (const std::string name : {"Uncompressed", "ZIP", "ZLIB", "BZ2"}) {
      expect_accepted("pgpy-" + ours + name, signer);
      expect_accepted("pgpy-" + ours + name + ".bin", signer);
    }
  }
  seal_for(signer, "to-pgpy.pgp");
  EXPECT_EQ(run({"/usr/bin/python3", "-c", pgpy_script, here, "read"}).captured[0], w.text);
}

}  // namespace
}  // namespace sallyport::pgp::test

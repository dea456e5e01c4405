#include "world.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <atomic>

#include "base/file_io.h"
#include "base/log.h"

namespace sallyport::pgp::test {

TemporaryDirectory::TemporaryDirectory() {
  std::string name = "/tmp/sp-pgp-XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  path_ = name;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

base::ProcessResult run(const std::vector<std::string>& argv, std::string_view input) {
  base::ProcessRequest request;
  request.argv = argv;
  request.environment = {"PATH=/usr/bin:/bin", "LC_ALL=C", "HOME=/nonexistent"};
  request.captures = {{1, 1 << 28}, {2, 1 << 16}};
  request.input = input;
  request.deadline = std::chrono::seconds(60);
  base::ProcessResult result = base::run_process(request);
  if (!result.succeeded()) {
    std::string line;
    for (const std::string& word : argv) line += word + " ";
    throw std::runtime_error(line + "failed: " + result.captured[1]);
  }
  return result;
}

Party::Party(fs::path home) : home_(std::move(home)) {
  fs::create_directory(home_);
  fs::permissions(home_, fs::perms::owner_all);
}

Party::~Party() {
  try {
    run({"/usr/bin/gpgconf", "--homedir", home_, "--kill", "all"});
  } catch (const std::exception&) {  // it ends by itself when its home is gone
  }
}

std::string Party::gpg(std::vector<std::string> arguments, std::string_view input) const {
  std::vector<std::string> argv = {"/usr/bin/gpg",     "--homedir", home_,           "--batch",
                                   "--quiet",          "--no-tty",  "--trust-model", "always",
                                   "--pinentry-mode",  "loopback",  "--passphrase",  "",
                                   "--disable-dirmngr"};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return run(argv, input).captured[0];
}

std::string Party::make_key(const std::string& user_id, const std::string& primary,
                            const std::string& subkey, const std::string& expires) const {
  gpg({"--quick-gen-key", user_id, primary, "sign", expires});
  const std::string listing = gpg({"--with-colons", "--list-keys", "=" + user_id});
  const std::size_t at = listing.find("\nfpr:") + 5;
  const std::size_t from = listing.find_first_not_of(':', at);
  std::string fingerprint = listing.substr(from, 40);
  if (!subkey.empty()) gpg({"--quick-add-key", fingerprint, subkey, "encr", expires});
  return fingerprint;
}

std::string Party::public_key(const std::string& fingerprint) const {
  return gpg({"--export", fingerprint});
}

std::string Party::secret_key(const std::string& fingerprint) const {
  return gpg({"--export-secret-keys", fingerprint});
}

namespace {

EngineOptions options_for(const fs::path& home) {
  EngineOptions options;
  options.home = home;
  return options;
}

std::string import(Engine& engine, const std::string& key) {
  const ImportResult result = engine.import_public_key(key);
  if (!result.key) throw std::runtime_error("a key was refused: " + result.refusal);
  return result.key->fingerprint;
}

}  // namespace

World::World()
    : gateway(options_for(directory.path() / "gw")),
      partner(directory.path() / "pa"),
      stranger(directory.path() / "st") {
  base::init_log("unit_pgp", base::LogFormat::human, base::Severity::error);
  gateway.start();
  our_key = gateway.generate_own_key({OwnKeyType::curve25519, "Gateway", "gw@example.com", {}})
                .fingerprint;
  our_rsa_key =
      gateway.generate_own_key({OwnKeyType::rsa3072, "Gateway", "rsa@example.com", {}}).fingerprint;
  rsa_key = partner.make_key("Partner <p@example.org>", "rsa2048", "rsa2048");
  curve_key = partner.make_key("Curve <c@example.org>", "ed25519", "cv25519");
  other_key = partner.make_key("Other <o@example.net>", "ed25519", "");
  expiring_key = partner.make_key("Expiring <e@example.org>", "ed25519", "cv25519", "30d");
  revoked_key = partner.make_key("Revoked <r@example.org>", "ed25519", "cv25519");
  stranger_key = stranger.make_key("Stranger <s@example.net>", "ed25519", "");
  for (const std::string& key : {rsa_key, curve_key, other_key, expiring_key, revoked_key})
    import(gateway, partner.public_key(key));
  for (const std::string& key : {our_key, our_rsa_key}) {
    const std::string armoured = gateway.export_public_key(key).value();
    partner.gpg({"--import"}, armoured);
    stranger.gpg({"--import"}, armoured);
  }
  for (int i = 0; i < 200; ++i) text += "line " + std::to_string(i * 7919 % 1000) + " of a file\n";
}

World::~World() {
  gateway.stop();
}

Acceptance World::strict() const {
  Acceptance acceptance;
  acceptance.encryption = Encryption::required;
  acceptance.signature_required = true;
  acceptance.pinned = {rsa_key, curve_key, expiring_key, revoked_key};
  return acceptance;
}

Acceptance World::lax() const {
  return {};
}

fs::path World::new_path() {
  static std::atomic<int> count{0};
  return directory.path() / ("f" + std::to_string(count++));
}

World::Opened World::open(std::string_view message, const Acceptance& acceptance) {
  const fs::path input = new_path();
  const fs::path output = new_path();
  const base::UniqueFd file = base::open_file(input, O_WRONLY | O_CREAT | O_EXCL, 0600);
  base::write_all(file.get(), message, input.string());
  Opened opened;
  opened.verdict = gateway.decrypt_and_verify(input, output, acceptance);
  opened.is_published = fs::exists(output);
  if (opened.is_published) opened.content = base::read_file(output, 1 << 28);
  fs::remove(input);
  fs::remove(output);
  return opened;
}

World& world() {
  static World* const only = [] {
    class Environment : public ::testing::Environment {
     public:
      explicit Environment(World*& made) : world_(made) {}
      void TearDown() override {
        delete world_;
        world_ = nullptr;
      }

     private:
      World*& world_;
    };
    static World* made = new World;
    ::testing::AddGlobalTestEnvironment(new Environment(made));
    return made;
  }();
  return *only;
}

}  // namespace sallyport::pgp::test

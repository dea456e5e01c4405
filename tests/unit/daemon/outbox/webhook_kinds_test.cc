// What happens to keys, exposures, files and credentials reaches a real HTTP server through the
// same ledger as mails, with a signature that is checked here by its own means.
#include <gmock/gmock.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "daemon/files/announce.h"
#include "daemon/http/json.h"
#include "daemon/keys/key_service.h"
#include "daemon/keys/lifecycle_pass.h"
#include "outbox_fixture.h"
#include "tests/unit/daemon/keys/world.h"

namespace sallyport::daemon {
namespace {

using notify::Kind;

constexpr const char* secret = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

std::string base64(const unsigned char* data, std::size_t size) {
  std::string out(4 * ((size + 2) / 3) + 1, '\0');
  const int length =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), data, static_cast<int>(size));
  out.resize(static_cast<std::size_t>(length));
  return out;
}

std::string expected_signature(const std::string& signed_text) {
  std::array<unsigned char, 64> key{};
  const int padded = EVP_DecodeBlock(key.data(), reinterpret_cast<const unsigned char*>(secret),
                                     static_cast<int>(std::string_view(secret).size()));
  std::array<unsigned char, 32> mac{};
  unsigned size = 0;
  HMAC(EVP_sha256(), key.data(), padded, reinterpret_cast<const unsigned char*>(signed_text.data()),
       signed_text.size(), mac.data(), &size);
  return "v1," + base64(mac.data(), size);
}

class WebhookKinds : public testing::Test {
 protected:
  WebhookKinds()
      : hook_(test::source_root() / "tests/unit/notify/webhook_sink", {"--dir", hooks()}) {
    Config config = World::default_config();
    config.smtp.host = "localhost";
    config.smtp.port = mail_.port();
    config.smtp.security = "none";
    config.notify.from = "sallyport@gate1.example.com";
    const auto file = scratch_.path() / "secret";
    std::ofstream(file) << "whsec_" << secret << "\n";
    const auto entry = [&](const char* name, std::vector<std::string> kinds) {
      TableEntry webhook;
      webhook.values["name"] = std::string(name);
      webhook.values["url"] = "http://localhost:" + std::to_string(hook_.port()) + "/" + name;
      webhook.values["secret_file"] = file.string();
      if (!kinds.empty()) webhook.values["kinds"] = kinds;
      config.notify.webhooks.push_back(webhook);
    };
    entry("all", {});
    entry("exposures", {"exposure_flagged", "exposure_disabled"});
    world_.live.set(std::make_shared<const Config>(std::move(config)));
  }

  std::string hooks() {
    const auto path = scratch_.path() / "hooks";
    std::filesystem::create_directories(path);
    return path.string();
  }

  void send() {
    Outbox outbox(*world_.store, world_.live, world_.clock, world_.health, world_.activity);
    while (outbox.run_pass(world_.clock.now())) {
    }
  }

  /// "path type subject" of every request; each must be signed rightly.
  std::multiset<std::string> received() {
    std::multiset<std::string> result;
    for (const auto& file : std::filesystem::directory_iterator(hooks())) {
      const Json request = parse_json(test::file_content(file.path()));
      std::map<std::string, std::string> headers;
      for (const auto& [name, value] : *request["headers"].if_object()) {
        std::string lower = name;
        for (char& c : lower) c = static_cast<char>(std::tolower(c));
        headers[lower] = *value.if_string();
      }
      const std::string& body = *request["body"].if_string();
      EXPECT_EQ(headers["webhook-signature"],
                expected_signature(headers["webhook-id"] + "." + headers["webhook-timestamp"] +
                                   "." + body));
      const Json event = parse_json(body);
      EXPECT_EQ(*event["id"].if_string(), headers["webhook-id"]);
      EXPECT_EQ(*event["specversion"].if_string(), "1.0");
      result.insert(*request["path"].if_string() + " " + *event["type"].if_string() + " " +
                    *event["subject"].if_string());
    }
    return result;
  }

  test::ScratchDirectory scratch_;
  const test::MailServer mail_;
  const test::PythonServer hook_;
  World world_;
};

TEST_F(WebhookKinds, KeysExposuresFilesAndCredentialsSignedOverHttp) {
  // Keys by the very rules: one that expires, one that is reported as exposed.
  const std::string expiring = world_.custom("Orders").key.id;
  const std::string exposed = world_.custom_forever("Leaked").key.id;
  KeyReference reference;
  reference.id = exposed;
  lifecycle::ExposureReport report;
  report.reason = "Found in a public repository";
  EXPECT_EQ(world_.keys->report_exposure(World::root(), reference, report).outcome,
            lifecycle::ReportOutcome::flagged);
  send();
  for (int day = 0; day < 16; ++day) {
    world_.pass_until(world_.clock.now() + base::one_day);
    send();
  }

  store::Partner partner;
  partner.name = "globex";
  partner.emails = {"edi@globex.example.net"};
  const base::Instant now = world_.clock.now();
  world_.store->write([&](store::Unit& unit) {
    store::File file;
    file.id = "f1";
    file.name = "invoice.csv.pgp";
    file.object = "Invoices";
    FileNotice failed;
    failed.kind = Kind::file_failed;
    failed.cycle = now;
    announce(unit, *world_.live.get(), partner, file, failed, now);
    notify::Facts facts;
    facts.kind = Kind::credential_expiring;
    facts.offset = 2 * base::one_day;
    facts.happened_at = now;
    facts.deadline = now + facts.offset;
    facts.credential = notify::CredentialFacts{"ssh_key", "Laptop", "SHA256:abc", ""};
    announce_facts(unit, *world_.live.get(), partner, facts, "ssh_key", "s1", *facts.deadline,
                   true);
  });
  send();

  const std::multiset<std::string> got = received();
  const std::string key = "/all com.sallyport.key.";
  const std::string exposure = "/all com.sallyport.exposure.";
  for (const std::string& wanted :
       {key + "expiring " + expiring, key + "expired " + expiring, exposure + "flagged " + exposed,
        exposure + "disabled " + exposed, std::string("/all com.sallyport.file.failed f1"),
        "/exposures com.sallyport.exposure.flagged " + exposed,
        "/exposures com.sallyport.exposure.disabled " + exposed}) {
    EXPECT_GE(got.count(wanted), 1U) << wanted << " of\n" << testing::PrintToString(got);
  }
  EXPECT_TRUE(std::any_of(got.begin(), got.end(), [](const std::string& line) {
    return line.starts_with("/all com.sallyport.credential.expiring ");
  })) << testing::PrintToString(got);
  EXPECT_EQ(std::count_if(got.begin(), got.end(),
                          [](const std::string& line) { return line.starts_with("/exposures "); }),
            2)
      << testing::PrintToString(got);
  EXPECT_EQ(world_.store->read([](store::Unit& unit) {
    return store::count_notices(unit, store::NoticeState::pending) +
           store::count_notices(unit, store::NoticeState::failed);
  }),
            0);
}

}  // namespace
}  // namespace sallyport::daemon

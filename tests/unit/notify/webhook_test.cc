#include "notify/webhook.h"

#include <Poco/JSON/Object.h>
#include <Poco/JSON/Parser.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/bytes.h"
#include "tests/unit/notify/samples.h"
#include "tests/unit/notify/servers.h"

namespace sallyport::notify {
namespace {

using Poco::JSON::Object;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

/// The example of the Standard Webhooks specification.
constexpr const char* secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

Object::Ptr parse(const std::string& text) {
  return Poco::JSON::Parser().parse(text).extract<Object::Ptr>();
}

class HttpServer {
 public:
  explicit HttpServer(std::vector<std::string> arguments = {}) : server_(start(arguments)) {}
  [[nodiscard]] std::string url(const std::string& scheme = "http") const {
    return scheme + "://localhost:" + std::to_string(server_.port()) + "/hook?token=t";
  }
  [[nodiscard]] Object::Ptr request(int number) const {
    return parse(test::file_content(directory_.path() / (std::to_string(number) + ".json")));
  }
  [[nodiscard]] bool got_nothing() const { return std::filesystem::is_empty(directory_.path()); }

 private:
  test::PythonServer start(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--dir", directory_.path().string()});
    return {test::source_root() / "tests/unit/notify/webhook_sink", std::move(arguments)};
  }
  test::ScratchDirectory directory_;
  test::PythonServer server_;
};

WebhookSettings settings_for(const std::string& url) {
  WebhookSettings settings;
  settings.url = url;
  settings.secret = base::Secret(std::string(secret));
  if (url.starts_with("https")) settings.ca_file = (test::certificates() / "ca.pem").string();
  return settings;
}

CloudEvent sample_event() {
  return make_cloud_event(test::sample_facts(Kind::key_expiring),
                          "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W");
}

TEST(Webhook, SignatureOfThePublishedExample) {
  EXPECT_EQ(sign_webhook(base::Secret(std::string(secret)), "msg_p5jXN8AQM9LWM0D4loKWxJek",
                         base::from_unix(1614265330), R"({"test": 2432232314})"),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

TEST(Webhook, EventsAreCloudEvents) {
  const auto event = parse(to_json(sample_event()));
  EXPECT_EQ(event->getValue<std::string>("specversion"), "1.0");
  EXPECT_EQ(event->getValue<std::string>("type"), "com.sallyport.key.expiring");
  EXPECT_EQ(event->getValue<std::string>("source"), "//gate1.example.com/organizations/acme");
  EXPECT_EQ(event->getValue<std::string>("subject"), "k5bqv3z2n7m4x6c1w8p9r0t2ya");
  EXPECT_EQ(event->getValue<std::string>("time"), "2026-11-22T14:30:00Z");
  EXPECT_EQ(event->getObject("data")->getObject("key")->getValue<std::string>("name"), "Billing");
}

TEST(Webhook, ArrivesSigned) {
  const HttpServer server;
  WebhookSender sender(settings_for(server.url()));
  const Delivery delivery = sender.send(sample_event(), test::sample_now);
  ASSERT_TRUE(delivery.accepted()) << delivery.answer;
  EXPECT_EQ(delivery.code, 204);
  const auto request = server.request(1);
  const auto headers = request->getObject("headers");
  const auto body = request->getValue<std::string>("body");
  EXPECT_EQ(request->getValue<std::string>("path"), "/hook?token=t");
  EXPECT_EQ(headers->getValue<std::string>("webhook-id"), sample_event().id);
  EXPECT_EQ(headers->getValue<std::string>("webhook-timestamp"),
            std::to_string(base::to_unix(test::sample_now)));
  EXPECT_EQ(
      headers->getValue<std::string>("webhook-signature"),
      sign_webhook(base::Secret(std::string(secret)), sample_event().id, test::sample_now, body));
  EXPECT_THAT(headers->getValue<std::string>("Content-Type"),
              HasSubstr("application/cloudevents+json"));
}

TEST(Webhook, TlsIsVerified) {
  const HttpServer good(test::with_certificate("good", {}));
  WebhookSender sender(settings_for(good.url("https")));
  const Delivery delivery = sender.send(sample_event(), test::sample_now);
  EXPECT_TRUE(delivery.accepted()) << delivery.answer;
  for (const char* name : {"expired", "other_name", "foreign"}) {
    const HttpServer bad(test::with_certificate(name, {}));
    WebhookSender refusing(settings_for(bad.url("https")));
    const Delivery refused = refusing.send(sample_event(), test::sample_now);
    EXPECT_EQ(refused.outcome, Outcome::temporary_failure) << name;
    EXPECT_TRUE(refused.server_unavailable);
    EXPECT_THAT(refused.answer, HasSubstr("certificate")) << name;
    EXPECT_TRUE(bad.got_nothing());
  }
}

TEST(Webhook, AnswersAreValues) {
  struct Case {
    int status;
    Outcome outcome;
  };
  for (const Case& test :
       {Case{200, Outcome::accepted}, Case{202, Outcome::accepted},
        Case{500, Outcome::temporary_failure}, Case{503, Outcome::temporary_failure},
        Case{429, Outcome::temporary_failure}, Case{408, Outcome::temporary_failure},
        Case{400, Outcome::permanent_failure}, Case{410, Outcome::permanent_failure}}) {
    const HttpServer server({"--status", std::to_string(test.status)});
    WebhookSender sender(settings_for(server.url()));
    const Delivery delivery = sender.send(sample_event(), test::sample_now);
    EXPECT_EQ(delivery.outcome, test.outcome) << test.status;
    EXPECT_EQ(delivery.code, test.status);
    EXPECT_FALSE(delivery.server_unavailable);
    EXPECT_FALSE(base::has_control(delivery.answer)) << delivery.answer;
    EXPECT_THAT(delivery.answer, HasSubstr("an answer of two lines"));
  }
}

TEST(Webhook, RedirectsAreNotFollowed) {
  const HttpServer other;
  const HttpServer server({"--status", "307", "--location", other.url()});
  WebhookSender sender(settings_for(server.url()));
  EXPECT_EQ(sender.send(sample_event(), test::sample_now).outcome, Outcome::permanent_failure);
  EXPECT_TRUE(other.got_nothing());
}

TEST(Webhook, SlowAndAbsentServersAreTemporary) {
  const HttpServer server({"--delay", "30"});
  WebhookSettings settings = settings_for(server.url());
  settings.timeout = milliseconds{300};
  WebhookSender sender(std::move(settings));
  const auto begin = std::chrono::steady_clock::now();
  Delivery delivery = sender.send(sample_event(), test::sample_now);
  EXPECT_EQ(delivery.outcome, Outcome::temporary_failure);
  EXPECT_TRUE(delivery.server_unavailable);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, seconds{10});

  WebhookSender absent(settings_for("http://localhost:1/"));
  delivery = absent.send(sample_event(), test::sample_now);
  EXPECT_EQ(delivery.outcome, Outcome::temporary_failure);
  EXPECT_THAT(delivery.answer, HasSubstr("cannot reach the webhook at localhost:1"));
}

TEST(Webhook, SettingsThatCannotWorkAreRefused) {
  const auto refused = [](const std::string& url, const std::string& key) {
    WebhookSettings settings;
    settings.url = url;
    settings.secret = base::Secret(std::string(key));
    EXPECT_THROW(WebhookSender{std::move(settings)}, Error) << url;
  };
  refused("", secret);
  refused("ftp://example.com/", secret);
  refused("http://example.com/", secret);
  refused("http://127.example.com/", secret);  // a name like any other
  refused("https://user:pass@example.com/", secret);
  refused("https://", secret);
  refused("https://example.com/\r\nX: y", secret);
  refused("https://example.com/", "");
  refused("https://example.com/", "whsec_short");
  refused("https://example.com/", "whsec_not base64 at all but long enough to be one");
}

}  // namespace
}  // namespace sallyport::notify

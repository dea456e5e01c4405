// The mailer against a real SMTP server (tests/smtp_sink) that does what each test tells it to.
#include "notify/mailer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <thread>

#include "notify/texts.h"
#include "tests/unit/notify/samples.h"
#include "tests/unit/notify/servers.h"

namespace sallyport::notify {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::Not;

SmtpSettings settings_for(std::uint16_t port, TlsMode tls = TlsMode::none) {
  SmtpSettings settings;
  settings.host = "localhost";
  settings.port = port;
  settings.tls = tls;
  settings.helo_name = "gate1.example.com";
  settings.timeout = seconds{10};
  if (tls != TlsMode::none) settings.ca_file = (test::certificates() / "ca.pem").string();
  return settings;
}

OutgoingMail mail_to(const std::string& address, Kind kind = Kind::key_expiring) {
  const NoticeText words = render(test::sample_facts(kind), test::sample_now);
  OutgoingMail mail;
  mail.from = {"sallyport@example.com", "Sallyport"};
  mail.to = {address, ""};
  mail.subject = words.subject;
  mail.text = words.text;
  mail.html = words.html;
  mail.date = test::sample_now;
  mail.message_id = make_message_id(address, "gate1.example.com");
  return mail;
}

/// A listener that never accepts: connecting works, nothing is ever said.
class SilentServer {
 public:
  SilentServer() {
    descriptor_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    if (::bind(descriptor_, reinterpret_cast<sockaddr*>(&address), length) != 0 ||
        ::listen(descriptor_, 8) != 0 ||
        ::getsockname(descriptor_, reinterpret_cast<sockaddr*>(&address), &length) != 0)
      throw std::runtime_error("no silent server");
    port_ = ntohs(address.sin_port);
  }
  ~SilentServer() { ::close(descriptor_); }
  SilentServer(const SilentServer&) = delete;
  SilentServer& operator=(const SilentServer&) = delete;
  [[nodiscard]] std::uint16_t port() const { return port_; }

 private:
  int descriptor_ = -1;
  std::uint16_t port_ = 0;
};

TEST(Mailer, PlainMailArrivesWithItsEnvelope) {
  const test::MailServer server;
  Mailer mailer(settings_for(server.port()));
  const Delivery delivery = mailer.send(mail_to("admin@example.com"));
  ASSERT_TRUE(delivery.accepted()) << delivery.answer;
  EXPECT_EQ(delivery.code, 250);
  EXPECT_THAT(delivery.answer, HasSubstr("Kept as 1"));
  const std::string mail = server.mail(1);
  EXPECT_THAT(mail, HasSubstr("X-Envelope-From: sallyport@example.com\r\n"));
  EXPECT_THAT(mail, HasSubstr("X-Envelope-To: admin@example.com\r\n"));
  EXPECT_THAT(mail, HasSubstr("multipart/alternative"));
}

TEST(Mailer, OneConnectionServesABatch) {
  const test::MailServer server;
  Mailer mailer(settings_for(server.port()));
  for (int i = 0; i < 20; ++i)
    ASSERT_TRUE(mailer.send(mail_to("a" + std::to_string(i) + "@example.com")).accepted());
  EXPECT_EQ(server.count(), 20U);
  mailer.finish();
  EXPECT_TRUE(mailer.send(mail_to("after@example.com")).accepted()) << "connects again";
}

TEST(Mailer, AConnectionThatTheServerClosedBetweenMailsIsOpenedAgain) {
  const test::MailServer server({"--close-after-mail"});
  Mailer mailer(settings_for(server.port()));
  for (int i = 0; i < 5; ++i) {  // before or after the close: both must work
    const Delivery delivery = mailer.send(mail_to("a@example.com"));
    ASSERT_TRUE(delivery.accepted()) << delivery.answer;
  }
  EXPECT_EQ(server.count(), 5U);
}

TEST(Mailer, StarttlsEncryptsAndVerifies) {
  const test::MailServer server(test::with_certificate("good", {"--starttls"}));
  Mailer mailer(settings_for(server.port(), TlsMode::starttls));
  const Delivery delivery = mailer.send(mail_to("admin@example.com"));
  ASSERT_TRUE(delivery.accepted()) << delivery.answer;
  EXPECT_THAT(server.mail(1), HasSubstr("X-Envelope-Tls: yes"));
}

TEST(Mailer, ImplicitTlsEncryptsAndVerifies) {
  const test::MailServer server(test::with_certificate("good", {"--implicit-tls"}));
  Mailer mailer(settings_for(server.port(), TlsMode::implicit));
  for (int i = 0; i < 3; ++i) {
    const Delivery delivery = mailer.send(mail_to("admin@example.com"));
    ASSERT_TRUE(delivery.accepted()) << delivery.answer;
  }
  EXPECT_THAT(server.mail(3), HasSubstr("X-Envelope-Tls: yes"));
}

TEST(Mailer, AServerWithoutStarttlsGetsNothing) {
  const test::MailServer server;
  Mailer mailer(settings_for(server.port(), TlsMode::starttls));
  const Delivery delivery = mailer.send(mail_to("admin@example.com"));
  EXPECT_EQ(delivery.outcome, Outcome::temporary_failure);
  EXPECT_TRUE(delivery.server_unavailable);
  EXPECT_THAT(delivery.answer, HasSubstr("does not offer STARTTLS"));
  EXPECT_EQ(server.count(), 0U);
}

TEST(Mailer, BadCertificatesAreRefusedByName) {
  struct Case {
    const char* certificate;
    const char* sentence;
  };
  for (const Case& test :
       {Case{"expired", "expired"}, Case{"other_name", "is not for the name localhost"},
        Case{"foreign", "CA file"}}) {
    for (const TlsMode mode : {TlsMode::starttls, TlsMode::implicit}) {
      const test::MailServer server(test::with_certificate(
          test.certificate, {mode == TlsMode::starttls ? "--starttls" : "--implicit-tls"}));
      Mailer mailer(settings_for(server.port(), mode));
      const Delivery delivery = mailer.send(mail_to("admin@example.com"));
      EXPECT_EQ(delivery.outcome, Outcome::temporary_failure) << test.certificate;
      EXPECT_TRUE(delivery.server_unavailable);
      EXPECT_THAT(delivery.answer, HasSubstr(test.sentence)) << test.certificate;
      EXPECT_EQ(server.count(), 0U);
    }
  }
}

TEST(Mailer, LogsInWithEachMechanism) {
  for (const char* mechanism : {"PLAIN", "LOGIN", "CRAM-MD5"}) {
    const test::MailServer server(test::with_certificate(
        "good", {"--starttls", "--auth", "gate:s3cret pass", "--auth-only", mechanism}));
    SmtpSettings settings = settings_for(server.port(), TlsMode::starttls);
    settings.user = "gate";
    settings.password = base::Secret(std::string("s3cret pass"));
    Mailer mailer(std::move(settings));
    const Delivery delivery = mailer.send(mail_to("admin@example.com"));
    ASSERT_TRUE(delivery.accepted()) << mechanism << ": " << delivery.answer;
    EXPECT_THAT(server.mail(1), HasSubstr("X-Envelope-User: gate")) << mechanism;
  }
}

TEST(Mailer, AWrongPasswordByChallengeIsRefused) {
  const test::MailServer server({"--auth", "gate:right", "--auth-only", "CRAM-MD5"});
  SmtpSettings settings = settings_for(server.port());
  settings.user = "gate";
  settings.password = base::Secret(std::string("wrong"));
  Mailer mailer(std::move(settings));
  EXPECT_EQ(mailer.send(mail_to("admin@example.com")).code, 535);
}

TEST(Mailer, AWrongPasswordIsSaidWithoutIt) {
  const test::MailServer server({"--auth", "gate:right"});
  SmtpSettings settings = settings_for(server.port());
  settings.user = "gate";
  settings.password = base::Secret(std::string("wrong-password"));
  Mailer mailer(std::move(settings));
  const Delivery delivery = mailer.send(mail_to("admin@example.com"));
  EXPECT_EQ(delivery.outcome, Outcome::temporary_failure) << "mending it needs no new notice";
  EXPECT_EQ(delivery.code, 535);
  EXPECT_TRUE(delivery.server_unavailable);
  EXPECT_THAT(delivery.answer, HasSubstr("user name or password of 'gate'"));
  EXPECT_THAT(delivery.answer, Not(HasSubstr("wrong-password")));
  EXPECT_EQ(server.count(), 0U);
}

TEST(Mailer, RefusedRecipientsDoNotHoldUpOthers) {
  const test::MailServer server;
  Mailer mailer(settings_for(server.port()));
  const Delivery refused = mailer.send(mail_to("refused@example.com"));
  EXPECT_EQ(refused.outcome, Outcome::permanent_failure);
  EXPECT_EQ(refused.code, 550);
  EXPECT_FALSE(refused.server_unavailable);
  const Delivery deferred = mailer.send(mail_to("defer@example.com"));
  EXPECT_EQ(deferred.outcome, Outcome::temporary_failure);
  EXPECT_EQ(deferred.code, 451);
  EXPECT_FALSE(deferred.server_unavailable);
  EXPECT_TRUE(mailer.send(mail_to("admin@example.com")).accepted());
  EXPECT_EQ(server.count(), 1U);
}

TEST(Mailer, AnswersAfterTheDataAreValues) {
  const test::MailServer server({"--fail", "452:1"});
  Mailer mailer(settings_for(server.port()));
  const Delivery first = mailer.send(mail_to("admin@example.com"));
  EXPECT_EQ(first.outcome, Outcome::temporary_failure);
  EXPECT_EQ(first.code, 452);
  EXPECT_TRUE(mailer.send(mail_to("admin@example.com")).accepted()) << "the session goes on";

  const test::MailServer never({"--fail", "554"});
  Mailer other(settings_for(never.port()));
  const Delivery second = other.send(mail_to("admin@example.com"));
  EXPECT_EQ(second.outcome, Outcome::permanent_failure);
  EXPECT_EQ(second.code, 554);
}

TEST(Mailer, AConnectionLostBeforeTheAnswerIsTemporaryAndSaysThatItMayRepeat) {
  const test::MailServer server({"--close-before-250", "1"});
  Mailer mailer(settings_for(server.port()));
  const OutgoingMail mail = mail_to("admin@example.com");
  const Delivery lost = mailer.send(mail);
  EXPECT_EQ(lost.outcome, Outcome::temporary_failure);
  EXPECT_TRUE(lost.server_unavailable);
  EXPECT_THAT(lost.answer, HasSubstr("same Message-ID"));
  ASSERT_TRUE(mailer.send(mail).accepted());
  EXPECT_EQ(server.count(), 2U) << "never sent twice by one call";
  EXPECT_THAT(server.mail(1), HasSubstr(mail.message_id));
  EXPECT_THAT(server.mail(2), HasSubstr(mail.message_id));
}

TEST(Mailer, ALostConnectionOnAReusedSessionIsNotRepeatedOnceTheDataIsOut) {
  const test::MailServer server({"--close-before-250", "2"});
  Mailer mailer(settings_for(server.port()));
  ASSERT_TRUE(mailer.probe().accepted());
  EXPECT_FALSE(mailer.send(mail_to("admin@example.com")).accepted());
  EXPECT_EQ(server.count(), 1U);
}

TEST(Mailer, ASlowServerRunsIntoTheTimeout) {
  const test::MailServer server({"--delay", "30"});
  SmtpSettings settings = settings_for(server.port());
  settings.timeout = milliseconds{300};
  Mailer mailer(std::move(settings));
  const auto begin = std::chrono::steady_clock::now();
  const Delivery delivery = mailer.send(mail_to("admin@example.com"));
  EXPECT_EQ(delivery.outcome, Outcome::temporary_failure);
  EXPECT_TRUE(delivery.server_unavailable);
  EXPECT_THAT(delivery.answer, HasSubstr("did not answer within 0.3 s"));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, seconds{10});
}

TEST(Mailer, ASilentServerRunsIntoTheTimeout) {
  const SilentServer server;
  for (const TlsMode mode : {TlsMode::none, TlsMode::implicit}) {
    SmtpSettings settings = settings_for(server.port(), mode);
    settings.timeout = milliseconds{300};
    Mailer mailer(std::move(settings));
    const auto begin = std::chrono::steady_clock::now();
    const Delivery delivery = mailer.send(mail_to("admin@example.com"));
    EXPECT_EQ(delivery.outcome, Outcome::temporary_failure);
    EXPECT_THAT(delivery.answer, HasSubstr("did not answer within")) << delivery.answer;
    EXPECT_LT(std::chrono::steady_clock::now() - begin, seconds{10});
  }
}

/// Each byte restarts a time-out for silence: only a deadline for the whole ends this. It also pins
/// that a connection that ends within an answer of several lines ends the conversation.
TEST(Mailer, AServerThatDripsRunsIntoTheDeadline) {
  const test::MailServer server({"--drip", "0.05"});
  SmtpSettings settings = settings_for(server.port());
  settings.deadline = milliseconds{600};
  Mailer mailer(std::move(settings));
  const auto begin = std::chrono::steady_clock::now();
  const Delivery delivery = mailer.send(mail_to("admin@example.com"));
  EXPECT_EQ(delivery.outcome, Outcome::temporary_failure);
  EXPECT_THAT(delivery.answer, HasSubstr("took longer than 0.6 s")) << delivery.answer;
  EXPECT_LT(std::chrono::steady_clock::now() - begin, seconds{10});
}

TEST(Mailer, StopEndsAConversationAtOnce) {
  const SilentServer server;
  for (const TlsMode mode : {TlsMode::none, TlsMode::implicit}) {
    Mailer mailer(settings_for(server.port(), mode));
    const auto begin = std::chrono::steady_clock::now();
    std::thread stopper([&] { mailer.stop(); });
    const Delivery delivery = mailer.send(mail_to("admin@example.com"));
    stopper.join();
    EXPECT_EQ(delivery.outcome, Outcome::temporary_failure);
    EXPECT_THAT(delivery.answer, HasSubstr("stopping"));
    EXPECT_LT(std::chrono::steady_clock::now() - begin, seconds{8});
  }
}

TEST(Mailer, NobodyListening) {
  std::uint16_t port = 0;
  {
    const SilentServer gone;
    port = gone.port();
  }
  Mailer mailer(settings_for(port));
  const Delivery delivery = mailer.send(mail_to("admin@example.com"));
  EXPECT_EQ(delivery.outcome, Outcome::temporary_failure);
  EXPECT_TRUE(delivery.server_unavailable);
  EXPECT_THAT(delivery.answer, HasSubstr("cannot connect to the mail server localhost:"));
  EXPECT_THAT(mailer.probe().answer, HasSubstr("cannot connect"));
}

TEST(Mailer, AHostThatDoesNotExist) {
  SmtpSettings settings = settings_for(25);
  settings.host = "no-such-host.invalid";
  Mailer mailer(std::move(settings));
  EXPECT_THAT(mailer.send(mail_to("admin@example.com")).answer,
              HasSubstr("address of the mail server no-such-host.invalid"));
}

TEST(Mailer, HostileMailsAreRefusedBeforeAnythingIsSent) {
  const test::MailServer server;
  Mailer mailer(settings_for(server.port()));
  OutgoingMail mail = mail_to("admin@example.com");
  mail.to.address = "admin@example.com>\r\nRCPT TO:<victim@example.com";
  Delivery delivery = mailer.send(mail);
  EXPECT_EQ(delivery.outcome, Outcome::permanent_failure);
  EXPECT_EQ(delivery.code, 0);
  mail = mail_to(
      "b\xc3\xbc"
      "cher@example.com");
  delivery = mailer.send(mail);
  EXPECT_EQ(delivery.outcome, Outcome::permanent_failure);
  EXPECT_THAT(delivery.answer, HasSubstr("SMTPUTF8"));
  EXPECT_EQ(server.count(), 0U);
}

TEST(Mailer, SettingsThatCannotWorkAreRefused) {
  const auto refused = [](auto spoil) {
    SmtpSettings settings = settings_for(25);
    spoil(settings);
    EXPECT_THROW(Mailer{std::move(settings)}, Error);
  };
  refused([](SmtpSettings& s) { s.host.clear(); });
  refused([](SmtpSettings& s) { s.host = "mail\r\nexample"; });
  refused([](SmtpSettings& s) { s.helo_name = "a\nb"; });
  refused([](SmtpSettings& s) { s.host = "mail.example.com", s.user = "gate"; });
  refused([](SmtpSettings& s) { s.tls = TlsMode::implicit, s.ca_file = "/nonexistent/ca.pem"; });
  refused([](SmtpSettings& s) { s.tls = TlsMode::implicit, s.ca_file = "/etc/hostname"; });
}

TEST(TlsModes, AreReadByName) {
  EXPECT_EQ(parse_tls_mode("none"), TlsMode::none);
  EXPECT_EQ(parse_tls_mode("starttls"), TlsMode::starttls);
  EXPECT_EQ(parse_tls_mode("tls"), TlsMode::implicit);
  EXPECT_EQ(parse_tls_mode("ssl"), std::nullopt);
}

}  // namespace
}  // namespace sallyport::notify

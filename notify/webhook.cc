#include "notify/webhook.h"

#include <Poco/Exception.h>
#include <Poco/JSON/Object.h>
#include <Poco/JSON/Parser.h>
#include <Poco/Net/HTTPClientSession.h>
#include <Poco/Net/HTTPRequest.h>
#include <Poco/Net/HTTPResponse.h>
#include <Poco/Net/HTTPSClientSession.h>
#include <Poco/Net/NetException.h>
#include <Poco/Net/SSLException.h>
#include <Poco/URI.h>
#include <fmt/format.h>

#include <array>
#include <sstream>
#include <vector>

#include "base/bytes.h"
#include "notify/escape.h"
#include "notify/tls_client_impl.h"
#include "notify/watchdog.h"

namespace sallyport::notify {
namespace {

constexpr std::string_view secret_prefix = "whsec_";
constexpr std::size_t least_secret = 24;
constexpr std::size_t most_secret = 64;
constexpr std::size_t shown_answer = 300;

std::string secret_bytes(const base::Secret& secret) {
  std::string_view text = secret.reveal();
  if (text.starts_with(secret_prefix)) text.remove_prefix(secret_prefix.size());
  auto bytes = base::from_base64(text);
  if (!bytes || bytes->size() < least_secret || bytes->size() > most_secret)
    throw Error(
        fmt::format("the webhook secret is not 'whsec_' and the base64 of {} to {} bytes: "
                    "make one with \"echo whsec_$(openssl rand -base64 32)\"",
                    least_secret, most_secret));
  return std::move(*bytes);
}

/// An address: "127.example.com" is a name like any other.
bool is_loopback_v4(const std::string& host) {
  return host.starts_with("127.") && host.find_first_not_of("0123456789.") == std::string::npos;
}

bool is_loopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host == "[::1]" || is_loopback_v4(host);
}

Poco::Timespan timespan(std::chrono::milliseconds time) {
  return {0, time.count() * 1000};
}

/// 408, 425, 429 and 5xx may pass; other refusals and redirects will not by themselves.
bool is_temporary(int status) {
  return status >= 500 || status == 408 || status == 425 || status == 429;
}

}  // namespace

CloudEvent make_cloud_event(const Facts& facts, std::string_view id) {
  CloudEvent event;
  event.id = id;
  event.source =
      fmt::format("//{}/organizations/{}", facts.instance.empty() ? "sallyport" : facts.instance,
                  facts.organization);
  std::string kind(to_string(facts.kind));
  // "key_expiring" -> "key.expiring": the first word is the family.
  if (const auto mark = kind.find('_'); mark != std::string::npos) kind[mark] = '.';
  event.type = "com.sallyport." + kind;
  if (facts.key)
    event.subject = facts.key->id;
  else if (facts.file)
    event.subject = facts.file->id;
  else if (facts.credential)
    event.subject = facts.credential->fingerprint;
  event.time = facts.happened_at;
  event.data_json = to_json(facts);
  return event;
}

std::string to_json(const CloudEvent& event) {
  Poco::JSON::Object root(Poco::JSON_PRESERVE_KEY_ORDER);
  root.set("specversion", "1.0");
  root.set("id", event.id);
  root.set("source", event.source);
  root.set("type", event.type);
  if (!event.subject.empty()) root.set("subject", event.subject);
  root.set("time", base::format_iso(event.time));
  root.set("datacontenttype", "application/json");
  Poco::JSON::Parser parser;
  root.set("data", parser.parse(event.data_json));
  std::ostringstream out;
  root.stringify(out);
  return out.str();
}

std::string sign_webhook(const base::Secret& secret, std::string_view id, base::Instant timestamp,
                         std::string_view body) {
  std::string key = secret_bytes(secret);
  const base::Sha256 mac =
      base::hmac_sha256(key, fmt::format("{}.{}.{}", id, base::to_unix(timestamp), body));
  base::wipe(key);
  return "v1," + base::to_base64({reinterpret_cast<const char*>(mac.data()), mac.size()});
}

class WebhookSender::Impl {
 public:
  explicit Impl(WebhookSettings settings) : settings_(std::move(settings)) {
    if (!is_web_link(settings_.url))
      throw Error(fmt::format("the webhook URL '{}' is not an http or https URL",
                              clean_line(settings_.url, 100)));
    try {
      uri_ = Poco::URI(settings_.url);
    } catch (const Poco::Exception&) {
      throw Error(fmt::format("the webhook URL '{}' is malformed", clean_line(settings_.url, 100)));
    }
    if (uri_.getHost().empty() || !uri_.getUserInfo().empty())
      throw Error(fmt::format("the webhook URL to '{}' must have a host and no user or password",
                              clean_line(uri_.getHost(), 100)));
    secure_ = uri_.getScheme() == "https";
    if (!secure_ && !settings_.allow_http && !is_loopback(uri_.getHost()))
      throw Error(fmt::format("the webhook URL to {} is not https: events would travel unencrypted",
                              uri_.getHost()));
    (void)secret_bytes(settings_.secret);
    if (secure_) context_ = make_client_context(settings_.ca_file);
  }

  Delivery send(const CloudEvent& event, base::Instant now) {
    const SigpipeGuard guard;
    forget_refusal();
    watchdog_.arm(settings_.deadline);
    Delivery delivery;
    try {
      delivery = post(event, now);
    } catch (const Poco::Net::SSLException& e) {
      delivery = unavailable(tls_failure(uri_.getHost(), e.displayText()));
    } catch (const Poco::TimeoutException&) {
      delivery = unavailable(fmt::format("the webhook at {} did not answer in time", target()));
    } catch (const Poco::Exception& e) {
      delivery = unavailable(
          fmt::format("cannot reach the webhook at {}: {}", target(), clean_line(e.displayText())));
    }
    if (!delivery.accepted() && watchdog_.stopped())
      delivery = unavailable("interrupted: the program is stopping");
    else if (!delivery.accepted() && watchdog_.fired())
      delivery = unavailable(fmt::format("the webhook at {} did not answer in time", target()));
    watchdog_.watch(-1);
    watchdog_.disarm();
    session_.reset();
    return delivery;
  }

  void stop() { watchdog_.stop(); }
  void resume() { watchdog_.resume(); }

 private:
  static Delivery unavailable(std::string sentence) {
    return {Outcome::temporary_failure, 0, std::move(sentence), true};
  }

  /// Host and port only: paths of webhooks often carry a token.
  [[nodiscard]] std::string target() const {
    return fmt::format("{}:{}", uri_.getHost(), uri_.getPort());
  }

  void connect() {
    if (secure_)
      session_ =
          std::make_unique<Poco::Net::HTTPSClientSession>(uri_.getHost(), uri_.getPort(), context_);
    else
      session_ = std::make_unique<Poco::Net::HTTPClientSession>(uri_.getHost(), uri_.getPort());
    session_->setTimeout(timespan(settings_.timeout), timespan(settings_.timeout),
                         timespan(settings_.timeout));
    session_->setKeepAlive(false);
  }

  Delivery post(const CloudEvent& event, base::Instant now) {
    const std::string body = to_json(event);
    connect();
    std::string path = uri_.getPathAndQuery();
    if (path.empty()) path = "/";
    Poco::Net::HTTPRequest request(Poco::Net::HTTPRequest::HTTP_POST, path,
                                   Poco::Net::HTTPMessage::HTTP_1_1);
    request.setContentType("application/cloudevents+json; charset=utf-8");
    request.setContentLength64(static_cast<Poco::Int64>(body.size()));
    request.set("User-Agent", "Sallyport");
    request.set("webhook-id", event.id);
    request.set("webhook-timestamp", std::to_string(base::to_unix(now)));
    request.set("webhook-signature", sign_webhook(settings_.secret, event.id, now, body));
    std::ostream& out = session_->sendRequest(request);
    watchdog_.watch(session_->socket().impl()->sockfd());
    out << body << std::flush;
    Poco::Net::HTTPResponse response;
    std::istream& in = session_->receiveResponse(response);
    std::array<char, 1024> text{};
    in.read(text.data(), text.size());
    const int status = static_cast<int>(response.getStatus());
    Delivery delivery;
    delivery.code = status;
    delivery.answer = clean_line(
        fmt::format("{} {} {}", status, response.getReason(),
                    std::string_view(text.data(), static_cast<std::size_t>(in.gcount()))),
        shown_answer);
    if (status / 100 == 2)
      delivery.outcome = Outcome::accepted;
    else
      delivery.outcome =
          is_temporary(status) ? Outcome::temporary_failure : Outcome::permanent_failure;
    return delivery;
  }

  WebhookSettings settings_;
  Poco::URI uri_;
  bool secure_ = false;
  Poco::Net::Context::Ptr context_;
  Watchdog watchdog_;
  std::unique_ptr<Poco::Net::HTTPClientSession> session_;
};

WebhookSender::WebhookSender(WebhookSettings settings)
    : impl_(std::make_unique<Impl>(std::move(settings))) {}
WebhookSender::~WebhookSender() = default;
Delivery WebhookSender::send(const CloudEvent& event, base::Instant now) {
  return impl_->send(event, now);
}
void WebhookSender::stop() noexcept {
  impl_->stop();
}
void WebhookSender::resume() noexcept {
  impl_->resume();
}

}  // namespace sallyport::notify

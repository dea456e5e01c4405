// Sends lifecycle events to a webhook: CloudEvents 1.0 in structured JSON mode, signed per Standard
// Webhooks (webhook-id, webhook-timestamp, webhook-signature).
//
// sign_webhook and make_cloud_event are pure. A WebhookSender may be used by one thread at a time
// (stop() excepted), owns its settings, and blocks for at most `deadline`. What the other side
// answers is a value; settings that can never work throw Error from the constructor. Redirects are
// not followed: whoever answers must be whom the operator configured.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "base/instant.h"
#include "base/secret.h"
#include "notify/delivery.h"
#include "notify/error.h"
#include "notify/facts.h"

namespace sallyport::notify {

struct WebhookSettings {
  std::string url;  ///< https; http only to this machine, unless allow_http
  bool allow_http = false;
  std::string ca_file;  ///< PEM; empty: the system's authorities
  base::Secret secret;  ///< "whsec_" and base64 of 24 to 64 bytes
  std::chrono::milliseconds timeout{std::chrono::seconds{10}};
  std::chrono::milliseconds deadline{std::chrono::seconds{30}};
};

struct CloudEvent {
  std::string id;       ///< the same on every attempt; also webhook-id
  std::string source;   ///< "//gate1.example.com/organizations/acme"
  std::string type;     ///< "com.sallyport.key.expiring"
  std::string subject;  ///< id of the key, file or credential; may be empty
  base::Instant time{};
  std::string data_json;  ///< a JSON object
};

/// The event of a notice: type and subject from its facts, `id` from its identity.
[[nodiscard]] CloudEvent make_cloud_event(const Facts& facts, std::string_view id);
/// application/cloudevents+json
[[nodiscard]] std::string to_json(const CloudEvent& event);

/// "v1," and base64 of HMAC-SHA256 over "id.timestamp.body". `secret` with or without "whsec_".
/// Throws Error if it is not base64.
[[nodiscard]] std::string sign_webhook(const base::Secret& secret, std::string_view id,
                                       base::Instant timestamp, std::string_view body);

class WebhookSender {
 public:
  explicit WebhookSender(WebhookSettings settings);
  ~WebhookSender();
  WebhookSender(const WebhookSender&) = delete;
  WebhookSender& operator=(const WebhookSender&) = delete;

  /// One POST. `now` is the time of this attempt, for webhook-timestamp.
  [[nodiscard]] Delivery send(const CloudEvent& event, base::Instant now);
  /// From any thread: ends a send() under way, and every later one at once, until resume().
  void stop() noexcept;
  void resume() noexcept;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sallyport::notify

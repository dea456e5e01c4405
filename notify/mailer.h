// Hands mail to one SMTP server: plain, STARTTLS or implicit TLS, with AUTH where configured.
//
// A Mailer keeps its connection open between messages so that a batch costs one greeting; call
// finish() when the batch is done. One thread at a time may use a Mailer (stop() excepted);
// several Mailers are independent. It owns its connection and its settings.
// What a server or the network answers is a value (Delivery); only settings that can never work
// throw Error, from the constructor. Blocking: at most `timeout` for each exchange with the server,
// and `deadline` for a whole message.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/secret.h"
#include "notify/delivery.h"
#include "notify/error.h"
#include "notify/message.h"

namespace sallyport::notify {

enum class TlsMode {
  none,
  starttls,  ///< required: a server without it is not used
  implicit,
};

/// "none", "starttls", "tls" (or "implicit")
[[nodiscard]] std::optional<TlsMode> parse_tls_mode(std::string_view name);

struct SmtpSettings {
  std::string host;
  std::uint16_t port = 25;
  TlsMode tls = TlsMode::starttls;
  std::string ca_file;    ///< PEM; empty: the system's authorities
  std::string helo_name;  ///< empty: the machine's name
  std::string user;       ///< empty: no AUTH
  base::Secret password;
  std::chrono::milliseconds timeout{std::chrono::seconds{30}};
  std::chrono::milliseconds deadline{std::chrono::minutes{2}};
};

class Mailer {
 public:
  /// Reads ca_file. Throws Error for settings that cannot work: a password without TLS to another
  /// machine, an unreadable ca_file, no host.
  explicit Mailer(SmtpSettings settings);
  ~Mailer();
  Mailer(const Mailer&) = delete;
  Mailer& operator=(const Mailer&) = delete;

  /// One message to mail.to. The envelope sender is mail.from.
  [[nodiscard]] Delivery send(const OutgoingMail& mail);
  /// Says QUIT and closes; the next send() connects again. Never throws.
  void finish() noexcept;
  /// From any thread: ends a send() under way, and every later one at once, until resume().
  void stop() noexcept;
  void resume() noexcept;
  /// Connects, greets, starts TLS and logs in as send() would, and sends nothing: for a check of
  /// the configuration.
  [[nodiscard]] Delivery probe();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sallyport::notify

#include "notify/mailer.h"

#include <Poco/Exception.h>
#include <Poco/HMACEngine.h>
#include <Poco/MD5Engine.h>
#include <Poco/Net/DNS.h>
#include <Poco/Net/DialogSocket.h>
#include <Poco/Net/HostEntry.h>
#include <Poco/Net/NetException.h>
#include <Poco/Net/SSLException.h>
#include <Poco/Net/SecureStreamSocket.h>
#include <Poco/Timespan.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/bytes.h"
#include "notify/address.h"
#include "notify/escape.h"
#include "notify/tls_client_impl.h"
#include "notify/watchdog.h"

namespace sallyport::notify {
namespace {

/// A step of the conversation that did not go as it must; what() is for the operator.
struct ConversationError {
  Delivery delivery;
};

struct Reply {
  int code = 0;
  std::string text;  ///< one line, with the code

  [[nodiscard]] bool positive() const { return code / 100 == 2; }
  [[nodiscard]] bool intermediate() const { return code / 100 == 3; }
};

/// The dialogue of SMTP over Poco's sockets. Poco's SMTPClientSession is not used for it: it hides
/// the server's answers, which the ledger keeps, and its reader (1.11) never returns when a server
/// hangs up within an answer of several lines.
class Session {
 public:
  explicit Session(const Poco::Net::StreamSocket& stream) : socket_(stream) {}

  Poco::Net::DialogSocket& socket() { return socket_; }

  Reply read() {
    Reply reply;
    raw_.clear();
    for (std::size_t lines = 0; lines < most_lines; ++lines) {
      const std::optional<std::string> line = read_line();
      // Whatever is no answer of SMTP counts as a closed connection: nothing after it can be
      // trusted.
      if (!line || line->size() < 3 ||
          line->find_first_not_of("0123456789") != (line->size() == 3 ? std::string::npos : 3))
        return {};
      raw_ += *line + '\n';
      if (line->size() > 3 && (*line)[3] == '-') continue;
      reply.code = std::stoi(line->substr(0, 3));
      reply.text = clean_line(raw_, 300);
      return reply;
    }
    return {};
  }
  Reply command(const std::string& line) {
    socket_.sendMessage(line);
    return read();
  }
  /// The last answer as it came, with its lines.
  [[nodiscard]] const std::string& raw() const { return raw_; }

 private:
  static constexpr std::size_t most_lines = 200;
  static constexpr std::size_t longest_line = 4096;  // RFC 5321 asks for 512

  std::optional<std::string> read_line() {
    std::string line;
    while (line.size() < longest_line) {
      const int c = socket_.get();
      if (c < 0) return std::nullopt;
      if (c == '\n') {
        if (!line.empty() && line.back() == '\r') line.pop_back();
        return line;
      }
      line += static_cast<char>(c);
    }
    return std::nullopt;
  }

  Poco::Net::DialogSocket socket_;
  std::string raw_;
};

struct Capabilities {
  bool starttls = false;
  std::vector<std::string> auth;

  [[nodiscard]] bool offers(std::string_view mechanism) const {
    return std::find(auth.begin(), auth.end(), mechanism) != auth.end();
  }
};

std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return out;
}

Capabilities read_capabilities(std::string_view answer) {
  Capabilities found;
  while (!answer.empty()) {
    const auto end = answer.find('\n');
    std::string line = upper(answer.substr(0, end));
    answer.remove_prefix(end == std::string_view::npos ? answer.size() : end + 1);
    if (line.size() > 4 && line.find_first_not_of("0123456789") == 3) line.erase(0, 4);
    std::vector<std::string> words;
    std::string word;
    for (const char c : line + " ") {
      if (c > ' ' && c != '=') {
        word += c;
      } else if (!word.empty()) {
        words.push_back(std::exchange(word, {}));
      }
    }
    if (words.empty()) continue;
    if (words.front() == "STARTTLS") found.starttls = true;
    if (words.front() == "AUTH")
      found.auth.insert(found.auth.end(), words.begin() + 1, words.end());
  }
  return found;
}

/// An address: "127.example.com" is a name like any other.
bool is_loopback_v4(const std::string& host) {
  return host.starts_with("127.") && host.find_first_not_of("0123456789.") == std::string::npos;
}

bool is_loopback(const std::string& host) {
  return host == "localhost" || host == "::1" || is_loopback_v4(host);
}

std::string machine_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "localhost";
  const std::string found(name.data());
  return is_mail_address("x@" + found) ? found : "localhost";
}

Poco::Timespan timespan(std::chrono::milliseconds time) {
  return {0, time.count() * 1000};
}

/// RFC 2195: the answer to the challenge of "334 <base64>".
std::string cram_md5(std::string_view challenge_line, const std::string& user,
                     const std::string& password) {
  challenge_line.remove_prefix(std::min<std::size_t>(4, challenge_line.size()));
  while (!challenge_line.empty() && challenge_line.back() <= ' ') challenge_line.remove_suffix(1);
  const auto challenge = base::from_base64(challenge_line);
  if (!challenge) return "*";  // gives up: the server answers 501
  Poco::HMACEngine<Poco::MD5Engine> mac(password);
  mac.update(*challenge);
  return base::to_base64(user + ' ' + Poco::DigestEngine::digestToHex(mac.digest()));
}

/// SMTP data: a dot that begins a line is doubled (RFC 5321 4.5.2), and the end mark follows.
std::string as_data(std::string_view message) {
  std::string out;
  out.reserve(message.size() + 64);
  bool line_start = true;
  for (const char c : message) {
    if (line_start && c == '.') out += '.';
    out += c;
    line_start = c == '\n';
  }
  if (!line_start) out += "\r\n";
  return out + ".\r\n";
}

}  // namespace

std::optional<TlsMode> parse_tls_mode(std::string_view name) {
  if (name == "none") return TlsMode::none;
  if (name == "starttls") return TlsMode::starttls;
  if (name == "implicit" || name == "tls") return TlsMode::implicit;
  return std::nullopt;
}

class Mailer::Impl {
 public:
  explicit Impl(SmtpSettings settings) : settings_(std::move(settings)) {
    if (settings_.host.empty())
      throw Error("no mail server is configured: set the host of the SMTP server");
    if (base::has_control(settings_.host) || base::has_control(settings_.helo_name))
      throw Error("the mail server's host or the HELO name has a control character");
    if (!settings_.user.empty() && settings_.tls == TlsMode::none && !is_loopback(settings_.host))
      throw Error(
          fmt::format("the mail password would go to {} unencrypted: set the TLS mode to "
                      "starttls or implicit",
                      settings_.host));
    if (settings_.helo_name.empty()) settings_.helo_name = machine_name();
    if (settings_.tls != TlsMode::none) context_ = make_client_context(settings_.ca_file);
  }
  ~Impl() { finish(); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Delivery send(const OutgoingMail& mail) {
    std::string data;
    try {
      data = as_data(build_message(mail));
    } catch (const Error& e) {
      return {Outcome::permanent_failure, 0, clean_line(e.what(), 400), false};
    }
    const bool reused = session_ != nullptr;
    Delivery delivery = attempt([&] { return converse(mail, data); });
    // A server may close an idle connection at any time; that says nothing about the server.
    if (reused && !session_ && delivery.server_unavailable && !data_sent_ && !watchdog_.fired())
      delivery = attempt([&] { return converse(mail, data); });
    return delivery;
  }

  Delivery probe() {
    drop();
    Delivery delivery = attempt([&] {
      open();
      return Delivery{Outcome::accepted, 250, "the mail server is ready", false};
    });
    finish();
    return delivery;
  }

  void finish() noexcept {
    if (!session_) return;
    const SigpipeGuard guard;
    try {
      watchdog_.arm(std::chrono::seconds{2});
      session_->socket().setReceiveTimeout(Poco::Timespan(2, 0));
      (void)session_->command("QUIT");
    } catch (...) {  // the server is gone: what was accepted stays accepted
    }
    drop();
  }

  void stop() { watchdog_.stop(); }
  void resume() { watchdog_.resume(); }

 private:
  /// Runs one conversation under the deadline and turns whatever interrupts it into a Delivery.
  template <class Conversation>
  Delivery attempt(Conversation conversation) {
    const SigpipeGuard guard;
    forget_refusal();
    data_sent_ = false;
    watchdog_.arm(settings_.deadline);
    Delivery delivery;
    try {
      delivery = conversation();
    } catch (const ConversationError& e) {
      delivery = e.delivery;
    } catch (const Poco::Net::SSLException& e) {
      delivery = unavailable(tls_failure(settings_.host, e.displayText()));
    } catch (const Poco::TimeoutException&) {
      delivery = unavailable(fmt::format("the mail server {} did not answer within {}", server(),
                                         in_seconds(settings_.timeout)));
    } catch (const Poco::Net::DNSException& e) {
      delivery = unavailable(fmt::format("cannot find the address of the mail server {}: {}",
                                         settings_.host, clean_line(e.displayText())));
    } catch (const Poco::Exception& e) {
      delivery = unavailable(fmt::format("the connection to the mail server {} failed: {}",
                                         server(), clean_line(e.displayText())));
    }
    watchdog_.disarm();
    if (delivery.server_unavailable) {
      if (watchdog_.stopped())
        delivery.answer = "interrupted: the program is stopping";
      else if (watchdog_.fired())
        delivery.answer = fmt::format("the mail server {} took longer than {} for one message",
                                      server(), in_seconds(settings_.deadline));
      if (data_sent_)
        delivery.answer +=
            "; the message had been handed over, so it may arrive again under the same Message-ID";
      drop();
    }
    return delivery;
  }

  static std::string in_seconds(std::chrono::milliseconds time) {
    return fmt::format("{:g} s", static_cast<double>(time.count()) / 1000);
  }

  [[nodiscard]] std::string server() const {
    return fmt::format("{}:{}", settings_.host, settings_.port);
  }

  static Delivery unavailable(std::string sentence) {
    return {Outcome::temporary_failure, 0, std::move(sentence), true};
  }

  [[noreturn]] void refuse(std::string_view doing, const Reply& reply) const {
    if (reply.code < 100)
      throw ConversationError{unavailable(
          fmt::format("the mail server {} closed the connection or does not speak SMTP ({})",
                      server(), doing))};
    throw ConversationError{
        {Outcome::temporary_failure, reply.code,
         fmt::format("the mail server {} refused {}: {}", server(), doing, reply.text), true}};
  }

  void open() {
    if (session_) return;
    Poco::Net::StreamSocket stream = connect();
    if (settings_.tls == TlsMode::implicit) stream = encrypt(stream);
    session_ = std::make_unique<Session>(stream);
    const Reply greeting = session_->read();
    if (!greeting.positive()) refuse("the connection", greeting);
    Capabilities capabilities = greet();
    if (settings_.tls == TlsMode::starttls) {
      if (!capabilities.starttls)
        throw ConversationError{unavailable(fmt::format(
            "the mail server {} does not offer STARTTLS: nothing was sent. Choose implicit TLS or "
            "another port",
            server()))};
      const Reply reply = session_->command("STARTTLS");
      if (!reply.positive()) refuse("STARTTLS", reply);
      // Assigning the socket also drops what was buffered: an answer that somebody slipped in
      // before the handshake must not count as one that came after it.
      session_->socket() = encrypt(session_->socket());
      capabilities = greet();
    }
    if (!settings_.user.empty()) log_in(capabilities);
  }

  Poco::Net::StreamSocket connect() {
    const Poco::Net::HostEntry entry = Poco::Net::DNS::resolve(settings_.host);
    std::string problem = "it has no address";
    for (const Poco::Net::IPAddress& address : entry.addresses()) {
      try {
        Poco::Net::StreamSocket stream;
        stream.connect(Poco::Net::SocketAddress(address, settings_.port),
                       timespan(settings_.timeout));
        stream.setReceiveTimeout(timespan(settings_.timeout));
        stream.setSendTimeout(timespan(settings_.timeout));
        stream_ = stream;
        watchdog_.watch(stream.impl()->sockfd());
        return stream;
      } catch (const Poco::TimeoutException&) {
        problem = fmt::format("no answer within {}", in_seconds(settings_.timeout));
      } catch (const Poco::Exception& e) {
        problem = clean_line(e.displayText());
      }
      if (watchdog_.fired()) break;
    }
    throw ConversationError{
        unavailable(fmt::format("cannot connect to the mail server {}: {}. Check "
                                "host, port and firewall",
                                server(), problem))};
  }

  Poco::Net::StreamSocket encrypt(const Poco::Net::StreamSocket& stream) {
    Poco::Net::SecureStreamSocket secure =
        Poco::Net::SecureStreamSocket::attach(stream, settings_.host, context_);
    secure.setReceiveTimeout(timespan(settings_.timeout));
    secure.setSendTimeout(timespan(settings_.timeout));
    return secure;
  }

  Capabilities greet() {
    const Reply reply = session_->command("EHLO " + settings_.helo_name);
    if (reply.positive()) return read_capabilities(session_->raw());
    if (reply.code / 100 != 5) refuse("our greeting", reply);
    const Reply old = session_->command("HELO " + settings_.helo_name);
    if (!old.positive()) refuse("our greeting", old);
    return {};
  }

  void log_in(const Capabilities& capabilities) {
    std::string password(settings_.password.reveal());
    Reply reply;
    if (capabilities.offers("PLAIN")) {
      std::string blob = base::to_base64('\0' + settings_.user + '\0' + password);
      reply = session_->command("AUTH PLAIN " + blob);
      base::wipe(blob);
    } else if (capabilities.offers("LOGIN")) {
      reply = session_->command("AUTH LOGIN");
      if (reply.intermediate()) reply = session_->command(base::to_base64(settings_.user));
      if (reply.intermediate()) reply = session_->command(base::to_base64(password));
    } else if (capabilities.offers("CRAM-MD5")) {
      reply = session_->command("AUTH CRAM-MD5");
      if (reply.intermediate())
        reply = session_->command(cram_md5(session_->raw(), settings_.user, password));
    } else {
      base::wipe(password);
      throw ConversationError{unavailable(fmt::format(
          "the mail server {} offers none of AUTH PLAIN, LOGIN and CRAM-MD5{}", server(),
          settings_.tls == TlsMode::none ? " without TLS: set the TLS mode to starttls" : ""))};
    }
    base::wipe(password);
    if (reply.positive()) return;
    if (reply.code == 535)
      throw ConversationError{{Outcome::temporary_failure, reply.code,
                               fmt::format("the mail server {} did not accept the user name or "
                                           "password of '{}': {}",
                                           server(), clean_line(settings_.user, 80), reply.text),
                               true}};
    refuse("the login", reply);
  }

  /// An answer about this message or this recipient, not about the server.
  Delivery refused(const Reply& reply, const char* doing) {
    if (reply.code < 100 || reply.code == 421) refuse(doing, reply);
    (void)session_->command("RSET");
    return {reply.code / 100 == 5 ? Outcome::permanent_failure : Outcome::temporary_failure,
            reply.code, reply.text, false};
  }

  Delivery converse(const OutgoingMail& mail, const std::string& data) {
    open();
    Reply reply = session_->command(fmt::format("MAIL FROM:<{}>", mail.from.address));
    if (!reply.positive())
      refuse(fmt::format("mail from {}", clean_line(mail.from.address, 80)), reply);
    reply = session_->command(fmt::format("RCPT TO:<{}>", mail.to.address));
    if (!reply.positive()) return refused(reply, "the recipient");
    reply = session_->command("DATA");
    if (!reply.intermediate()) return refused(reply, "the message");
    send_all(data);
    data_sent_ = true;
    reply = session_->read();
    data_sent_ = reply.code < 100;  // with an answer there is no doubt what became of it
    if (!reply.positive()) return refused(reply, "the message");
    return {Outcome::accepted, reply.code, reply.text, false};
  }

  void send_all(std::string_view data) {
    while (!data.empty()) {
      constexpr std::size_t piece = 16 * 1024;
      const int sent =
          session_->socket().sendBytes(data.data(), static_cast<int>(std::min(data.size(), piece)));
      if (sent <= 0) refuse("the message", Reply{});
      data.remove_prefix(static_cast<std::size_t>(sent));
    }
  }

  void drop() noexcept {
    watchdog_.watch(-1);
    watchdog_.disarm();
    session_.reset();
    stream_.reset();
  }

  SmtpSettings settings_;
  Poco::Net::Context::Ptr context_;
  Watchdog watchdog_;
  std::unique_ptr<Session> session_;
  /// Keeps the descriptor open while the watchdog knows its number, whoever else gives it up.
  std::optional<Poco::Net::StreamSocket> stream_;
  bool data_sent_ = false;  ///< the end mark is out and no answer has come
};

Mailer::Mailer(SmtpSettings settings) : impl_(std::make_unique<Impl>(std::move(settings))) {}
Mailer::~Mailer() = default;
Delivery Mailer::send(const OutgoingMail& mail) {
  return impl_->send(mail);
}
Delivery Mailer::probe() {
  return impl_->probe();
}
void Mailer::finish() noexcept {
  impl_->finish();
}
void Mailer::stop() noexcept {
  impl_->stop();
}
void Mailer::resume() noexcept {
  impl_->resume();
}

}  // namespace sallyport::notify

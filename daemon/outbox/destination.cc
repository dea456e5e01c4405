#include "daemon/outbox/destination.h"

#include <fmt/format.h>

#include <mutex>

#include "base/error.h"
#include "base/secret.h"
#include "notify/escape.h"
#include "notify/facts.h"
#include "notify/mailer.h"
#include "notify/message.h"
#include "notify/texts.h"
#include "notify/webhook.h"

namespace sallyport::daemon {
namespace {

using notify::Delivery;
using notify::Outcome;

/// For so long after a failed connection the same answer is given without another try: a server
/// that swallows packets would otherwise cost its time-out for every batch.
constexpr base::Seconds away_for{30};

Delivery unusable(const std::string& sentence) {
  return {Outcome::temporary_failure, 0, notify::clean_line(sentence, 400), true};
}

Delivery no_facts() {
  return {Outcome::permanent_failure, 0,
          "the facts of this notice cannot be read: it was written by another version", false};
}

/// What a connection was made from; it is made again when that changes or when it stops working,
/// for a password or an authority may have been renewed in its file.
template <class Sender>
class Connection {
 public:
  template <class Make>
  Sender& get(const std::string& fingerprint, Make make) {
    if (sender_ && fingerprint_ == fingerprint) return *sender_;
    std::unique_ptr<Sender> fresh = make();
    const std::lock_guard lock(mutex_);
    sender_ = std::move(fresh);
    fingerprint_ = fingerprint;
    if (stopped_) sender_->stop();
    return *sender_;
  }
  void forget() {
    const std::lock_guard lock(mutex_);
    sender_.reset();
  }
  void stop() noexcept {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    if (sender_) sender_->stop();
  }
  Sender* if_there() { return sender_.get(); }

 private:
  std::mutex mutex_;
  std::unique_ptr<Sender> sender_;
  std::string fingerprint_;
  bool stopped_ = false;
};

std::string domain_of(const std::string& address) {
  const auto at = address.rfind('@');
  return at == std::string::npos ? "localhost" : address.substr(at + 1);
}

class MailDestination final : public Destination {
 public:
  void finish() noexcept override {
    if (notify::Mailer* mailer = connection_.if_there()) mailer->finish();
  }
  void stop() noexcept override { connection_.stop(); }
  [[nodiscard]] std::string condition() const override { return "mail.unreachable"; }

 protected:
  Delivery attempt(const Parcel& parcel, const Config& config, base::Instant now) override {
    const auto words = words_of(parcel, now);
    if (!words) return no_facts();
    try {
      const Delivery delivery = mailer(config).send(mail_of(parcel, *words, config, now));
      if (delivery.server_unavailable) connection_.forget();
      return delivery;
    } catch (const base::Error& e) {
      return unusable(e.what());
    }
  }

 private:
  notify::Mailer& mailer(const Config& config) {
    const Config::Smtp& smtp = config.smtp;
    const std::string fingerprint =
        fmt::format("{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}", smtp.host, smtp.port, smtp.security,
                    smtp.user, smtp.password_file, smtp.ca_file, smtp.helo, smtp.timeout.count());
    return connection_.get(fingerprint, [&] {
      notify::SmtpSettings settings;
      settings.host = smtp.host;
      settings.port = smtp.port;
      settings.tls = notify::parse_tls_mode(smtp.security).value_or(notify::TlsMode::starttls);
      settings.ca_file = smtp.ca_file;
      settings.helo_name = smtp.helo;
      settings.user = smtp.user;
      if (!smtp.user.empty()) settings.password = base::read_secret(smtp.password_file);
      settings.timeout = smtp.timeout;
      return std::make_unique<notify::Mailer>(std::move(settings));
    });
  }

  static std::optional<notify::NoticeText> words_of(const Parcel& parcel, base::Instant now) {
    if (!parcel.is_digest()) {
      const auto facts = notify::parse_facts(parcel.notices.front().facts);
      if (!facts) return std::nullopt;
      return notify::render(*facts, now);
    }
    std::vector<notify::DigestEntry> entries;
    for (const store::Notice& member : parcel.members) {
      const auto facts = notify::parse_facts(member.facts);
      if (!facts) return std::nullopt;
      entries.push_back({*facts, member.state != store::NoticeState::cancelled &&
                                     member.state != store::NoticeState::superseded});
    }
    return notify::render_digest(entries, now);
  }

  static notify::OutgoingMail mail_of(const Parcel& parcel, const notify::NoticeText& words,
                                      const Config& config, base::Instant now) {
    const store::Notice& notice = parcel.notices.front();
    const std::string domain = domain_of(config.notify.from);
    notify::OutgoingMail mail;
    mail.from = {config.notify.from, config.notify.from_name};
    mail.to = {notice.recipient, {}};
    mail.subject = words.subject;
    mail.text = words.text;
    mail.html = words.html;
    mail.date = now;
    mail.message_id = message_id_of(notice, config);
    mail.list_id = "notices." + domain;
    if (parcel.is_digest()) {
      mail.headers = {{"X-Sallyport-Kind", "digest"},
                      {"X-Sallyport-Members", std::to_string(parcel.members.size())},
                      {"X-Sallyport-Notice", notice.digest_id}};
      return mail;
    }
    mail.headers = {{"X-Sallyport-Kind", notice.kind},
                    {"X-Sallyport-Offset", std::to_string(notice.offset)},
                    {"X-Sallyport-Subject", notify::clean_line(notice.subject_id, 100)},
                    {"X-Sallyport-Notice", notice.id}};
    return mail;
  }

  Connection<notify::Mailer> connection_;
};

class WebhookDestination final : public Destination {
 public:
  explicit WebhookDestination(std::string name) : name_(std::move(name)) {}

  void stop() noexcept override { connection_.stop(); }
  [[nodiscard]] std::string condition() const override { return "webhook." + name_; }

 protected:
  Delivery attempt(const Parcel& parcel, const Config& config, base::Instant now) override {
    const store::Notice& notice = parcel.notices.front();  // digests are mails
    const auto facts = notify::parse_facts(notice.facts);
    if (!facts) return no_facts();
    const TableEntry* entry = nullptr;
    for (const TableEntry& webhook : config.notify.webhooks)
      if (webhook.text("name") == name_) entry = &webhook;
    if (entry == nullptr)
      return {
          Outcome::permanent_failure, 0,
          fmt::format("the webhook '{}' is not configured any more", notify::clean_line(name_, 80)),
          false};
    try {
      const Delivery delivery =
          sender(*entry).send(notify::make_cloud_event(*facts, notice.id), now);
      if (delivery.server_unavailable) connection_.forget();
      return delivery;
    } catch (const base::Error& e) {
      return unusable(fmt::format("webhook '{}': {}", name_, e.what()));
    }
  }

 private:
  notify::WebhookSender& sender(const TableEntry& entry) {
    const std::string url = entry.text("url");
    const std::string secret_file = entry.text("secret_file");
    return connection_.get(url + "\n" + secret_file, [&] {
      notify::WebhookSettings settings;
      settings.url = url;
      settings.secret = base::read_secret(secret_file);
      return std::make_unique<notify::WebhookSender>(std::move(settings));
    });
  }

  std::string name_;
  Connection<notify::WebhookSender> connection_;
};

}  // namespace

Delivery Destination::deliver(const Parcel& parcel, const Config& config, base::Instant now) {
  if (away_ && now >= away_->since && now < away_->since + away_for) return away_->delivery;
  Delivery delivery = attempt(parcel, config, now);
  away_.reset();
  if (delivery.server_unavailable) away_ = Away{delivery, now};
  return delivery;
}

std::string message_id_of(const store::Notice& notice, const Config& config) {
  return notify::make_message_id(notice.digest_id.empty() ? notice.id : notice.digest_id,
                                 domain_of(config.notify.from));
}

std::unique_ptr<Destination> make_mail_destination() {
  return std::make_unique<MailDestination>();
}

std::unique_ptr<Destination> make_webhook_destination(std::string name) {
  return std::make_unique<WebhookDestination>(std::move(name));
}

}  // namespace sallyport::daemon

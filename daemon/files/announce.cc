#include "daemon/files/announce.h"

#include <unistd.h>

#include <array>
#include <map>
#include <string>

#include "daemon/outbox/recipients.h"
#include "store/admins.h"
#include "store/notices.h"

namespace sallyport::daemon {
namespace {

std::string host_name() {
  std::array<char, 256> buffer{};
  if (::gethostname(buffer.data(), buffer.size() - 1) != 0) return "localhost";
  return buffer.data();
}

/// Each address once; who is an administrator and a contact too gets the administrators' text.
std::map<std::string, notify::Role> recipients(store::Unit& unit, const Config& config,
                                               const store::Partner& partner, bool to_contacts,
                                               bool to_administrators) {
  std::map<std::string, notify::Role> result;
  const bool wanted = to_administrators || partner.emails.empty();
  for (const auto& administrator : store::list_administrators(unit)) {
    if (wanted && administrator.active && !administrator.email.empty()) {
      result.emplace(administrator.email, notify::Role::administrator);
    }
  }
  if (to_contacts) {
    for (const auto& email : partner.emails) result.emplace(email, notify::Role::partner_contact);
  }
  if (result.empty() && !config.notify.fallback.empty()) {
    result.emplace(config.notify.fallback, notify::Role::fallback);
  }
  return result;
}

}  // namespace

void announce_facts(store::Unit& unit, const Config& config, const store::Partner& partner,
                    notify::Facts facts, const std::string& subject_type,
                    const std::string& subject_id, base::Instant cycle, bool to_contacts,
                    bool to_administrators) {
  facts.organization = config.organization;
  facts.instance = config.node.empty() ? host_name() : config.node;
  facts.partner = partner.name;
  facts.link = config.http.public_url;
  const auto write = [&](const std::string& recipient, store::Channel channel, notify::Role role) {
    facts.role = role;
    store::Notice row;
    row.subject_type = subject_type;
    row.subject_id = subject_id;
    row.kind = notify::to_string(facts.kind);
    row.cycle = base::to_unix(cycle);
    row.offset = facts.offset.count();
    row.recipient = recipient;
    row.channel = channel;
    row.role = notify::to_string(role);
    row.facts = notify::to_json(facts);
    row.created = row.due = row.next_attempt = facts.happened_at;
    row.id = store::notice_id(row);
    static_cast<void>(store::insert_notice(unit, row));  // it is there already: announced
  };
  for (const auto& [address, role] :
       recipients(unit, config, partner, to_contacts, to_administrators)) {
    write(address, store::Channel::mail, role);
  }
  for (const std::string& webhook : webhooks_for(config, facts.kind)) {
    write(webhook, store::Channel::webhook, notify::Role::webhook);
  }
}

void announce(store::Unit& unit, const Config& config, const store::Partner& partner,
              const store::File& file, const FileNotice& notice, base::Instant now) {
  notify::Facts facts;
  facts.kind = notice.kind;
  facts.offset = notice.offset;
  facts.happened_at = now;
  facts.deadline = notice.deadline;
  notify::FileFacts about;
  about.id = file.id;
  about.object = file.object;
  about.name = file.name;
  about.size = file.size;
  about.sha256 = file.sha256;
  about.reason_code = file.reason_code;
  about.reason = file.reason;
  about.duplicate_of = notice.duplicate_of;
  about.duplicate_received_at = notice.duplicate_received_at;
  about.downloaded_at = notice.downloaded_at;
  // An outgoing file has no such time before it is offered.
  about.received_at = file.received == base::Instant{} ? file.created : file.received;
  facts.file = std::move(about);
  announce_facts(unit, config, partner, std::move(facts), "file", file.id, notice.cycle,
                 notice.to_contacts, notice.to_administrators);
}

}  // namespace sallyport::daemon

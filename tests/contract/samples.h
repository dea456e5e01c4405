// Records with every field set, and text that breaks what can be broken.
#pragma once

#include <string>
#include <vector>

#include "store/activity.h"
#include "store/admins.h"
#include "store/files.h"
#include "store/keys.h"
#include "store/notices.h"
#include "store/partners.h"

namespace sallyport::store {

[[nodiscard]] inline Instant at(std::int64_t seconds) {
  return base::from_unix(seconds);
}

/// Each of these has to come back byte for byte.
[[nodiscard]] inline std::vector<std::string> hostile_texts() {
  using namespace std::string_literals;
  return {"'; DROP TABLE api_key; --",
          "\"`\\%_?:name{upsert id}",
          "trailing spaces  ",
          " ",
          "tab\tcr\rlf\nend",
          "nul\0inside"s,
          "\0"s,
          "\xF0\x9F\x94\x91 key, \xF0\x9F\x87\xA8\xF0\x9F\x87\xAD, \xF4\x8F\xBF\xBF",
          "\xC3\x9Cml\xC3\xA4ut \xE2\x82\xAC \xE4\xB8\xAD\xE6\x96\x87 \xD7\xA9",
          std::string(1000, 'x'),
          [] {
            std::string text;
            for (int i = 0; i < 1000; ++i) text += "\xF0\x9F\x98\x80";
            return text;
          }(),
          "<script>alert(1)</script> {\"json\": [1, null]}"};
}

[[nodiscard]] inline ApiKey full_key(const std::string& id = "key1") {
  ApiKey key;
  key.id = id;
  key.display_name = "Orders of " + id;
  key.description = "for the shop";
  key.template_id = "INTEGRATION";
  key.is_public = true;
  key.privileges = {{"SEARCH_API", "EXECUTE_QUERY", "", ""},
                    {"USAGE_ANALYTICS", "ANALYTICS_DATA", "EDIT", "t1"}};
  key.permissions_enabled = true;
  key.permissions = {{"invoice", "create"}, {"supplier", "*"}};
  key.allowed_ips = {"192.0.2.0/24", "2001:db8::/32"};
  key.denied_ips = {"192.0.2.7/32"};
  key.search_hub = "hub";
  key.catalog_id = "catalogue";
  key.additional_configuration = R"({"a":{"b":[1]}})";
  key.contact = Contact{"Ada", "Lovelace", "ada-" + id, id + "@example.com"};
  key.groups_can_edit = {"g1", "g2"};
  key.groups_can_view = {"g3"};
  key.duplicated_from = "key0";
  key.value_last4 = "1f3a";
  key.state = KeyState::disabled_for_inactivity;
  key.created_by = "admin@example.com";
  key.created = at(1'700'000'000);
  key.activated = at(1'700'000'001);
  key.extended = at(1'700'000'002);
  key.disabled = at(1'700'000'003);
  key.expires_at = at(1'800'000'000);
  Exposure exposure;
  exposure.severity = Severity::medium;
  exposure.reasons = {
      {"r1", Severity::low, ExposureSource::github, "in a repository", "https://example.org/x",
       true, true, at(1'700'000'004)},
      {"r2", Severity::medium, ExposureSource::api, "again", "", false, false, at(1'700'000'005)}};
  exposure.deadline = at(1'700'600'000);
  exposure.automated = true;
  exposure.created_by = "feed";
  exposure.created = at(1'700'000'004);
  key.exposure = exposure;
  key.expiry_progress = {at(1'800'000'000), 2};
  key.inactivity_progress = {at(1'700'000'001), 3};
  key.exposure_progress = {at(1'700'600'000), 1};
  key.inactivity_moved_to = at(1'731'600'000);
  key.next_due = at(1'700'500'000);
  key.version = 7;
  return key;
}

/// As little as a key can be.
[[nodiscard]] inline ApiKey small_key(const std::string& id) {
  ApiKey key;
  key.id = id;
  key.display_name = id;
  key.template_id = "CUSTOM";
  return key;
}

[[nodiscard]] inline base::Sha256 value_of(const std::string& id) {
  return base::sha256("value of " + id);
}

[[nodiscard]] inline Notice full_notice(const std::string& subject = "key1",
                                        std::int64_t offset = 604'800) {
  Notice notice;
  notice.subject_type = "api_key";
  notice.subject_id = subject;
  notice.kind = "expiry";
  notice.cycle = 1'800'000'000;
  notice.offset = offset;
  notice.recipient = "admin@example.com";
  notice.channel = Channel::mail;
  notice.role = "administrator";
  notice.facts = R"({"name":"Orders"})";
  notice.created = at(1'799'000'000);
  notice.due = at(1'799'000'001);
  notice.next_attempt = at(1'799'000'002);
  notice.attempts = 3;
  notice.answer = "451 later";
  notice.version = 2;
  notice.id = notice_id(notice);
  return notice;
}

[[nodiscard]] inline File full_file(const std::string& id = "file1") {
  File file;
  file.id = id;
  file.partner = "acme";
  file.direction = Direction::inbound;
  file.object = "Invoices";
  file.name = "sub/invoice.csv.pgp";
  file.spool_name = id + ".spool";
  file.size = 1ULL << 40;
  file.sha256 = std::string(64, 'a');
  file.state = FileState::received;
  file.created = at(1'700'000'000);
  file.received = at(1'700'000'001);
  file.sequence = 5;
  file.reason_code = "truncated";
  file.reason = "the file was cut short";
  file.delivered_as = "acme/Invoices/invoice.csv";
  file.published_as = "/Archive/Incoming/Invoices/invoice.csv.pgp";
  file.backup_at = "dir:acme/" + id;
  file.verdict = R"({"encrypted":true})";
  file.plain_sha256 = std::string(64, 'b');
  file.uploader = R"({"address":"192.0.2.1"})";
  file.attempts = 2;
  file.retry_since = at(1'700'000'100);
  file.next_due = at(1'700'000'200);
  file.claimed_by = "node1";
  file.claimed_until = at(1'700'000'300);
  file.version = 4;
  return file;
}

[[nodiscard]] inline Partner full_partner(const std::string& name = "acme") {
  Partner partner;
  partner.name = name;
  partner.active = false;
  partner.emails = {"edi@example.org", "ops@example.org"};
  partner.allowed_ips = {"198.51.100.0/24"};
  partner.password_hash = "$y$j9T$salt$hash";
  partner.auth = "key+password";
  partner.policies = R"({"trigger":"rename"})";
  partner.created = at(1'700'000'000);
  partner.version = 1;
  return partner;
}

[[nodiscard]] inline Activity full_activity(const std::string& id, const std::string& node = "n1",
                                            std::int64_t seconds = 1'700'000'000) {
  Activity activity;
  activity.node = node;
  activity.id = id;
  activity.at = at(seconds);
  activity.actor = "admin@example.com";
  activity.source = "192.0.2.1";
  activity.operation = "UPDATE";
  activity.resource_type = "API_KEY";
  activity.resource_id = "key1";
  activity.resource_name = "Orders";
  activity.result = "SUCCESS";
  activity.changes = R"({"description":["old","new"]})";
  return activity;
}

}  // namespace sallyport::store

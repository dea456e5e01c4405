// One set of facts that any kind of notice can be made from.
#pragma once

#include "notify/facts.h"

namespace sallyport::test {

inline constexpr base::Instant sample_now = base::from_unix(1795357800);  // 2026-11-22 14:30:00

inline notify::Facts sample_facts(notify::Kind kind) {
  using base::Seconds;
  const base::Instant now = sample_now;
  notify::Facts facts;
  facts.kind = kind;
  facts.offset = Seconds{7 * 86400};
  facts.happened_at = now;
  facts.deadline = now + facts.offset;
  facts.organization = "acme";
  facts.instance = "gate1.example.com";
  facts.partner = "globex";
  facts.key = notify::KeyFacts{};
  facts.key->id = "k5bqv3z2n7m4x6c1w8p9r0t2ya";
  facts.key->name = "Billing";
  facts.key->masked_value = "xx*****1f3a";
  facts.key->template_id = "ANONYMOUS_SEARCH";
  facts.key->privacy = "PRIVATE";
  facts.key->contact = "Ada Example";
  facts.key->created_by = "admin@example.com";
  facts.key->created_at = now - Seconds{86400 * 300};
  facts.key->last_used_at = now - Seconds{7200};
  facts.exposure = notify::ExposureFacts{};
  facts.exposure->severity = "HIGH";
  facts.exposure->suspicious_activity = true;
  facts.exposure->reported_by = "github";
  facts.exposure->reasons.push_back(
      {"Found in a public repository", "GITHUB", "https://git.example.org/a/b?x=1&y=2", now});
  facts.exposure->withdrawn_by = "admin@example.com";
  facts.exposure->withdrawn_reason = "It was the example of the manual";
  facts.credential = notify::CredentialFacts{"ssh_key", "Laptop 2026", "SHA256:abc", ""};
  facts.file = notify::FileFacts{};
  facts.file->id = "f3q7";
  facts.file->object = "Invoices";
  facts.file->name = "invoices.csv.pgp";
  facts.file->size = 1234567;
  facts.file->sha256 = std::string(64, 'a');
  facts.file->reason_code = "not_for_our_key";
  facts.file->reason = "The file is not encrypted to our key.";
  facts.file->duplicate_of = "f1aa";
  facts.file->received_at = now - Seconds{60};
  facts.expectation =
      notify::ExpectationFacts{"Invoices", "daily by 06:00 UTC", "no file had come"};
  facts.health = notify::HealthFacts{"mail.unreachable", "The mail server does not answer."};
  return facts;
}

}  // namespace sallyport::test

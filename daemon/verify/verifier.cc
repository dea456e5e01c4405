#include "daemon/verify/verifier.h"

#include <array>

#include "base/bytes.h"
#include "base/log.h"
#include "daemon/http/json.h"
#include "daemon/http/uri.h"
#include "daemon/verify/client_address.h"

namespace sallyport::daemon {

namespace {

constexpr std::string_view challenge = "WWW-Authenticate: Bearer realm=\"sallyport\"\r\n";

std::string_view query_of(std::string_view target) {
  const auto mark = target.find('?');
  return mark == std::string_view::npos ? std::string_view{} : target.substr(mark + 1);
}

/// The token of "Bearer TOKEN", scheme in any case; empty for any other scheme.
std::string_view bearer_token(std::string_view value) {
  constexpr std::string_view scheme = "bearer";
  if (value.size() <= scheme.size() || value[scheme.size()] != ' ' ||
      !same_header_name(value.substr(0, scheme.size()), scheme)) {
    return {};
  }
  value.remove_prefix(scheme.size());
  while (!value.empty() && value.front() == ' ') value.remove_prefix(1);
  return value;
}

void add_header(std::string& headers, std::string_view name, std::string_view ready_value) {
  headers.append(name).append(": ").append(ready_value).append("\r\n");
}

void add_text_header(std::string& headers, std::string_view name, std::string_view text) {
  headers.append(name).append(": ");
  append_header_encoded(headers, text);
  headers.append("\r\n");
}

std::string_view reason_of(AddressVerdict verdict) {
  switch (verdict) {
    case AddressVerdict::unknown:
      return "address-unknown";
    case AddressVerdict::denied:
      return "address-denied";
    case AddressVerdict::not_listed:
      return "address-not-allowed";
    case AddressVerdict::allowed:
      break;
  }
  return {};
}

}  // namespace

/// What the header says, as views into it.
struct Verifier::Presented {
  std::string_view key;
  bool two_keys = false;
  std::string_view gateway_token;
  std::array<std::string_view, 8> forwarded{};
  std::size_t forwarded_count = 0;
  bool too_many_forwarded = false;

  explicit Presented(std::span<const HeaderView> headers) {
    for (const HeaderView& field : headers) {
      switch (field.name.size()) {
        case 9:
          if (same_header_name(field.name, "x-api-key")) add_key(field.value);
          break;
        case 13:
          if (same_header_name(field.name, "authorization")) add_key(bearer_token(field.value));
          break;
        case 15:
          if (same_header_name(field.name, "x-coupa-api-key")) {
            add_key(field.value);
          } else if (same_header_name(field.name, "x-gateway-token")) {
            gateway_token = field.value;
          } else if (same_header_name(field.name, "x-forwarded-for")) {
            add_forwarded(field.value);
          }
          break;
        default:
          break;
      }
    }
  }

  void add_key(std::string_view value) {
    if (value.empty() || value == key) return;
    two_keys = two_keys || !key.empty();
    key = value;
  }
  void add_forwarded(std::string_view value) {
    if (forwarded_count == forwarded.size()) {
      too_many_forwarded = true;
    } else {
      forwarded[forwarded_count++] = value;
    }
  }
};

struct Verifier::Judgement {
  int status = 401;
  std::string_view reason;  ///< of a denial
  FoundKey key;
  base::Instant now{};
};

Verifier::Verifier(const VerificationTable& table, const GatewayTokens& tokens, UsageBuffer& usage,
                   const Freshness& freshness, const base::Clock& clock, VerifierPolicy policy)
    : table_(table), tokens_(tokens), usage_(usage), freshness_(freshness), clock_(clock) {
  use(std::move(policy));
}

void Verifier::use(VerifierPolicy policy) {
  auto kept = policies_.lock();
  kept->push_back(std::make_unique<const VerifierPolicy>(std::move(policy)));
  policy_ = kept->back().get();
}

bool Verifier::speaks_for_clients(const GatewayRequest& request) const {
  if (request.peer.listener == Listener::verify_socket) return true;
  const auto& trusted = policy_.load()->trusted_proxies;
  if (trusted.empty()) return false;
  const auto address = IpAddress::parse(request.peer.address);
  return address && in_any(trusted, *address);
}

bool Verifier::may_ask(const GatewayRequest& request, const Presented& presented) const {
  return request.peer.listener == Listener::verify_socket ||
         !request.peer.client_certificate.empty() || speaks_for_clients(request) ||
         tokens_.knows(presented.gateway_token, clock_.now());
}

Verifier::Judgement Verifier::judge(std::string_view value, const std::optional<IpAddress>& client,
                                    const std::optional<std::vector<Requirement>>& wanted) const {
  // An unknown key goes the whole way too, with facts that hold nothing.
  Judgement judgement;
  judgement.now = clock_.now();
  judgement.key = table_.find(base::sha256(value));
  const Standing standing = judgement.key.standing_at(judgement.now);
  const AddressVerdict address = judgement.key.profile->check(client);
  bool granted = wanted.has_value();
  if (wanted) {
    const auto& restricted = policy_.load()->restricted_domains;
    for (const Requirement& requirement : *wanted) {
      granted = judgement.key.profile->grants(requirement, restricted) && granted;
    }
  }
  if (freshness_.stale(clock_)) {
    judgement.reason = "stale";
  } else if (standing != Standing::good) {
    judgement.reason = standing_name(standing);
  } else if (address != AddressVerdict::allowed) {
    judgement.reason = reason_of(address);
  } else if (!granted) {
    judgement.status = 403;
    judgement.reason = wanted ? "missing-privilege" : "malformed-require";
  } else {
    judgement.status = 200;
  }
  return judgement;
}

int Verifier::answer(const GatewayRequest& request, std::string& headers,
                     std::string& body) noexcept {
  try {
    const Presented presented(request.headers);
    if (!may_ask(request, presented)) {
      headers.append(challenge);
      add_header(headers, "X-Deny-Reason", "not-a-gateway");
      return 401;
    }
    if (is_introspect_target(request.target)) {
      return introspect(request, presented, headers, body);
    }
    return verify(request, presented, headers);
  } catch (const std::exception& error) {
    base::log_error("verify.failed", {}, "a verification failed and was denied: {}", error.what());
    headers.clear();
    body.clear();
    return 401;
  }
}

int Verifier::verify(const GatewayRequest& request, const Presented& presented,
                     std::string& headers) {
  if (presented.key.empty() || presented.two_keys) {
    headers.append(challenge);
    add_header(headers, "X-Deny-Reason", presented.two_keys ? "two-keys" : "no-key");
    return 401;
  }
  std::optional<IpAddress> client;
  if (!speaks_for_clients(request)) {
    client = IpAddress::parse(request.peer.address);
  } else if (presented.forwarded_count > 0 && !presented.too_many_forwarded) {
    client = forwarded_client({presented.forwarded.data(), presented.forwarded_count},
                              policy_.load()->trusted_proxies);
  }

  const Judgement judgement =
      judge(presented.key, client, parse_requirements(query_of(request.target)));
  const FoundKey& key = judgement.key;
  if (key.known()) {
    usage_.record(request.io_thread, key.id, judgement.now, judgement.status == 200);
  }
  if (judgement.status == 401) {
    headers.append(challenge);
  } else {
    add_header(headers, "X-Key-Id", key.id);
    add_text_header(headers, "X-Key-Name", key.name);
    add_header(headers, "X-Key-Privileges", key.profile->privileges_header);
    if (key.profile->header_cut) add_header(headers, "X-Key-Privileges-Truncated", "true");
    // Empty, too: gateways that copy what they are given would else leave what the client sent.
    add_text_header(headers, "X-Key-Contact", key.contact);
  }
  if (judgement.status != 200) add_header(headers, "X-Deny-Reason", judgement.reason);
  return judgement.status;
}

int Verifier::introspect(const GatewayRequest& request, const Presented& presented,
                         std::string& headers, std::string& body) const {
  (void)presented;
  if (request.method != "POST") {
    add_header(headers, "Allow", "POST");
    return 405;
  }
  headers.append("Content-Type: application/json\r\nCache-Control: no-store\r\n");
  const auto form = parse_query(request.body);
  std::string_view token;
  std::string_view client_ip;
  if (form) {
    for (const auto& [name, value] : *form) {
      if (name == "token") token = value;
      if (name == "client_ip") client_ip = value;
    }
  }
  if (token.empty()) {
    body = R"({"error":"invalid_request","error_description":"send a form with 'token'"})";
    return 400;
  }
  const Judgement judgement =
      judge(token, IpAddress::parse(client_ip), parse_requirements(request.body));
  if (judgement.status != 200) {
    body = R"({"active":false})";
    return 200;
  }
  const FoundKey& key = judgement.key;
  Json answer = Json::object({{"active", true},
                              {"token_type", "api_key"},
                              {"sub", key.id},
                              {"client_id", key.id},
                              {"username", key.name}});
  std::string scope = key.profile->privileges_header;
  for (char& c : scope) {
    if (c == ',') c = ' ';
  }
  answer.set("scope", scope);
  if (const auto ends = key.ends()) answer.set("exp", base::to_unix(*ends));
  if (!key.contact.empty()) answer.set("contact", key.contact);
  body = answer.dump();
  return 200;
}

}  // namespace sallyport::daemon

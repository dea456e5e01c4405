#include "daemon/partners/partner_service.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/file_io.h"
#include "base/log.h"
#include "daemon/config/rows.h"
#include "daemon/http/router.h"
#include "daemon/net/ip.h"
#include "daemon/partners/credential_expiry.h"
#include "daemon/partners/directories.h"
#include "daemon/partners/login.h"
#include "daemon/partners/partner_refusals.h"
#include "daemon/partners/password.h"

namespace sallyport::daemon {
namespace {

constexpr std::size_t most_emails = 20;
constexpr std::size_t most_ranges = 1000;

std::vector<std::string> checked_emails(const std::vector<std::string>& emails) {
  if (emails.size() > most_emails) {
    refuse("TOO_MANY_EMAILS", fmt::format("A partner has at most {} addresses.", most_emails));
  }
  std::vector<std::string> result;
  for (const std::string& email : emails) {
    if (email.empty() || rows::mail_address(email)) {
      refuse("INVALID_EMAIL", fmt::format("'{}' is no mail address.", email.substr(0, 100)));
    }
    if (std::find(result.begin(), result.end(), email) == result.end()) result.push_back(email);
  }
  return result;
}

std::vector<std::string> checked_ranges(const std::vector<std::string>& texts) {
  if (texts.size() > most_ranges) {
    refuse("TOO_MANY_RANGES", fmt::format("A partner has at most {} ranges.", most_ranges));
  }
  std::vector<std::string> result;
  for (const std::string& text : texts) {
    const auto parsed = IpRange::parse(text);
    if (!parsed.range) refuse("INVALID_IP_RANGE", parsed.problem + ".");
    result.push_back(parsed.range->to_string());
  }
  return result;
}

Json difference(Json before, Json after) {
  return Json::object({{"old", std::move(before)}, {"new", std::move(after)}});
}

// A misspelt object would leave the files of the right one as they were, unprotected perhaps.
void refuse_new_unknown_objects(const Config& config, const store::Partner& partner,
                                const std::string& policies_before) {
  if (partner.policies.empty() || partner.policies == policies_before) return;
  const auto& known = policy_for(config, partner).objects;
  const Json before = parse_json(policies_before.empty() ? "{}" : policies_before);
  const Json after = parse_json(partner.policies);
  const auto* objects = after["per_object"].if_object();
  if (objects == nullptr) return;
  for (const auto& object : *objects) {
    if (std::find(known.begin(), known.end(), object.first) != known.end()) continue;
    if (before["per_object"].find(object.first) != nullptr) continue;  // was so before
    refuse("UNKNOWN_OBJECT", fmt::format("Partner {} has no object {}; it has {}.", partner.name,
                                         object.first, fmt::join(known, ", ")));
  }
}

// Writes what the input holds into the partner; returns what changed.
Json apply_input(const PartnerInput& input, store::Partner& partner) {
  Json changes = Json::object();
  if (input.emails) {
    auto emails = checked_emails(*input.emails);
    if (emails != partner.emails) {
      changes.set("emails", difference(Json::array_of(partner.emails), Json::array_of(emails)));
      partner.emails = std::move(emails);
    }
  }
  if (input.allowed_ips) {
    auto ranges = checked_ranges(*input.allowed_ips);
    if (ranges != partner.allowed_ips) {
      changes.set("allowedIps",
                  difference(Json::array_of(partner.allowed_ips), Json::array_of(ranges)));
      partner.allowed_ips = std::move(ranges);
    }
  }
  if (input.auth && *input.auth != partner.auth) {
    if (*input.auth != "any" && *input.auth != "key" && *input.auth != "password" &&
        *input.auth != "key+password") {
      refuse("INVALID_AUTH", "auth is one of any, key, password, key+password.");
    }
    changes.set("auth", difference(partner.auth, *input.auth));
    partner.auth = *input.auth;
  }
  if (input.policies && *input.policies != partner.policies) {
    if (const auto problem = check_policies(*input.policies, partner.policies)) {
      refuse("INVALID_POLICY", "The policies are not right: " + *problem + ".");
    }
    changes.set("policies", difference(partner.policies, *input.policies));
    partner.policies = *input.policies;
  }
  return changes;
}

PartnerView view_of(store::Unit& unit, store::Partner partner) {
  PartnerView view;
  view.ssh_keys = store::partner_ssh_keys(unit, partner.name);
  view.pgp_keys = store::partner_pgp_keys(unit, partner.name);
  view.partner = std::move(partner);
  return view;
}

}  // namespace

pgp::Engine& PartnerService::pgp() const {
  if (parts_.pgp == nullptr) {
    throw ProblemError(503, "GATEWAY_OFF", "The file gateway is switched off (gateway.enabled).");
  }
  return *parts_.pgp;
}

void PartnerService::tell_of_change() const noexcept {
  try {
    if (changed_) changed_();
  } catch (const std::exception& error) {
    // The change itself is kept; who was to be told looks for itself within a minute.
    base::log_error("partner.observer", {}, "A change of partners was not followed up: {}",
                    error.what());
  }
}

void PartnerService::log(store::Unit& unit, const Caller& caller, const std::string& operation,
                         const std::string& partner, Json changes) const {
  ActivityEntry entry;
  entry.actor = caller.actor();
  entry.source = caller.source;
  entry.operation = operation;
  entry.resource_type = "PARTNER";
  entry.resource_id = partner;
  entry.resource_name = partner;
  entry.changes = std::move(changes);
  parts_.activity.append(unit, entry);
}

PartnerView PartnerService::create(const Caller& caller, const std::string& name,
                                   const PartnerInput& input) {
  if (!is_partner_name(name)) {
    refuse("INVALID_NAME",
           "A partner's name has 1 to 32 characters: a-z, 0-9 and '-', not beginning with '-'.");
  }
  store::Partner partner;
  partner.name = name;
  partner.created = parts_.clock.now();
  Json changes = apply_input(input, partner);
  const auto config = parts_.config.get();
  // Before the row: a partner that is known can be logged in. Directories alone do no harm.
  if (config->gateway.enabled) {
    make_partner_directories(*config, name, policy_for(*config, partner));
  }
  try {
    PartnerView view = parts_.store.write([&](store::Unit& unit) {
      if (store::find_partner(unit, name)) {
        throw ProblemError(409, "PARTNER_EXISTS",
                           fmt::format("There is a partner '{}' already.", name));
      }
      store::insert_partner(unit, partner);
      log(unit, caller, "CREATE", name, changes);
      return view_of(unit, partner);
    });
    tell_of_change();
    return view;
  } catch (const store::Error& error) {
    if (error.kind() != store::Failure::duplicate) throw;
    throw ProblemError(409, "PARTNER_EXISTS",
                       fmt::format("There is a partner '{}' already.", name));
  }
}

PartnerView PartnerService::get(const std::string& name) {
  return parts_.store.read([&](store::Unit& unit) { return view_of(unit, need(unit, name)); });
}

std::vector<PartnerView> PartnerService::list() {
  return parts_.store.read([&](store::Unit& unit) {
    std::vector<PartnerView> views;
    for (store::Partner& partner : store::list_partners(unit)) {
      views.push_back(view_of(unit, std::move(partner)));
    }
    return views;
  });
}

PartnerView PartnerService::change(const Caller& caller, const std::string& name,
                                   const std::string& operation,
                                   const std::function<Json(store::Partner&)>& apply) {
  return parts_.store.write([&](store::Unit& unit) {
    store::Partner partner = need(unit, name);
    Json changes = apply(partner);
    if (changes.if_object() == nullptr || changes.if_object()->empty()) {
      return view_of(unit, std::move(partner));
    }
    if (!store::update_partner(unit, partner)) {
      throw ProblemError(409, "CONFLICT", "Somebody else changed the partner: try again.");
    }
    log(unit, caller, operation, name, std::move(changes));
    return view_of(unit, need(unit, name));
  });
}

PartnerView PartnerService::update(const Caller& caller, const std::string& name,
                                   const PartnerInput& input) {
  const auto config = parts_.config.get();
  PartnerView view = change(caller, name, "UPDATE", [&](store::Partner& partner) {
    const std::string before = partner.policies;
    Json changes = apply_input(input, partner);
    refuse_new_unknown_objects(*config, partner, before);
    return changes;
  });
  if (config->gateway.enabled) {
    make_partner_directories(*config, name, policy_for(*config, view.partner));
  }
  tell_of_change();
  if (sessions_ != nullptr) sessions_->review_sessions(name);
  return view;
}

PartnerView PartnerService::suspend(const Caller& caller, const std::string& name) {
  PartnerView view = change(caller, name, "SUSPEND", [](store::Partner& partner) {
    Json changes = Json::object();
    if (partner.active) changes.set("state", difference("ACTIVE", "SUSPENDED"));
    partner.active = false;
    return changes;
  });
  if (sessions_ != nullptr) {
    sessions_->end_sessions(name, "", "This account has been suspended.");
  }
  return view;
}

PartnerView PartnerService::resume(const Caller& caller, const std::string& name) {
  return change(caller, name, "RESUME", [](store::Partner& partner) {
    Json changes = Json::object();
    if (!partner.active) changes.set("state", difference("SUSPENDED", "ACTIVE"));
    partner.active = true;
    return changes;
  });
}

void PartnerService::set_password(const Caller& caller, const std::string& name,
                                  const base::Secret& password) {
  const auto config = parts_.config.get();
  const std::string_view text = password.reveal();
  if (!text.empty()) {
    if (base::utf8_length(text) < config->gateway.min_password || text.size() > 256 ||
        !base::is_utf8(text) || base::has_control(text)) {
      refuse("INVALID_PASSWORD",
             fmt::format("A password has {} to 256 characters and no control characters.",
                         config->gateway.min_password));
    }
    if (text.find(name) != text.npos) {
      refuse("INVALID_PASSWORD", "A password must not contain the partner's name.");
    }
  }
  const std::string hash = text.empty() ? "" : hash_password(password);
  static_cast<void>(change(caller, name, hash.empty() ? "REMOVE_PASSWORD" : "SET_PASSWORD",
                           [&](store::Partner& partner) {
                             Json changes = Json::object();
                             if (!hash.empty() || !partner.password_hash.empty()) {
                               changes.set("password", hash.empty() ? "removed" : "set");
                             }
                             partner.password_hash = hash;
                             return changes;
                           }));
  if (sessions_ != nullptr) sessions_->review_sessions(name);
}

void PartnerService::make_all_directories() {
  const auto config = parts_.config.get();
  base::make_directories(config->gateway.partners_root, 0700);
  const auto partners =
      parts_.store.read([](store::Unit& unit) { return store::list_partners(unit); });
  for (const store::Partner& partner : partners) {
    make_partner_directories(*config, partner.name, policy_for(*config, partner));
  }
}

}  // namespace sallyport::daemon

#include "daemon/keys/key_service.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/log.h"
#include "daemon/http/router.h"
#include "daemon/keys/change.h"
#include "daemon/keys/key_checks.h"
#include "daemon/keys/key_json.h"
#include "daemon/keys/privileges.h"
#include "store/admins.h"

namespace sallyport::daemon {

namespace {

using lifecycle::Event;
using lifecycle::Verdict;

constexpr std::size_t value_bytes = 20;  // 160 bits, 40 hex digits

struct NewValue {
  std::string text;
  base::Sha256 sha256{};
  std::string last4;
};

NewValue make_value() {
  NewValue out;
  out.text = base::to_hex(base::random_bytes(value_bytes));
  out.sha256 = base::sha256(out.text);
  out.last4 = out.text.substr(out.text.size() - 4);
  return out;
}

std::string_view past_tense(Event event) {
  switch (event) {
    case Event::activate:
      return "ENABLE";
    case Event::disable:
      return "DISABLE";
    case Event::revoke:
      return "REVOKE";
    case Event::regenerate:
      return "REGENERATE";
    case Event::duplicate:
      return "DUPLICATE";
    case Event::extend:
      return "EXTEND";
    case Event::edit:
      return "UPDATE";
    case Event::report_exposure:
      return "EXPOSE";
    case Event::withdraw_exposure:
      return "WITHDRAW_EXPOSURE";
    case Event::remove:
      return "DELETE";
  }
  return "";
}

bool valid_at(const store::KeyValue& value, base::Instant now) {
  return !value.valid_until || now < *value.valid_until;
}

Json old_and_new(Json before, Json after) {
  return Json::object({{"old", std::move(before)}, {"new", std::move(after)}});
}

/// Sets `field` and says so in `changes`, if it is given and differs.
template <class T>
void apply_field(T& field, const std::optional<T>& given, std::string_view name, Json& changes) {
  if (!given || *given == field) return;
  if constexpr (std::is_same_v<T, std::string>) {
    changes.set(name, old_and_new(field, *given));
  } else {
    changes.set(name, old_and_new(Json::array_of(field), Json::array_of(*given)));
  }
  field = *given;
}

}  // namespace

lifecycle::Policy lifecycle_policy(const Config& config) {
  const auto& keys = config.keys;
  lifecycle::Policy policy;
  policy.inactivity = keys.inactivity;
  policy.expiry_warnings = keys.expiry_warnings;
  policy.inactivity_warnings = keys.inactivity_warnings;
  policy.exposure_warnings = keys.exposure_warnings;
  for (auto* warnings :
       {&policy.expiry_warnings, &policy.inactivity_warnings, &policy.exposure_warnings}) {
    std::sort(warnings->begin(), warnings->end(), std::greater<>());
  }
  policy.exposure_critical = keys.exposure_critical;
  policy.exposure_high = keys.exposure_high;
  policy.exposure_medium = keys.exposure_medium;
  policy.exposure_low = keys.exposure_low;
  policy.exposure_warn = keys.exposure_warn;
  policy.max_overlap = keys.max_overlap;
  return policy;
}

KeyService::KeyService(const KeyServiceParts& parts) : parts_(parts) {}
KeyService::~KeyService() = default;

// ---- what follows a commit

void KeyService::set_pending(std::string_view id, bool pending) {
  std::size_t count = 0;
  {
    auto all = pending_.lock();
    if (pending) {
      all->insert_or_assign(std::string(id), true);
    } else if (const auto found = all->find(id); found != all->end()) {
      all->erase(found);
    } else {
      return;
    }
    count = all->size();
  }
  parts_.health.set("keys.inactivity_pending", count > 0,
                    std::to_string(count) +
                        " unused keys are past their deadline but stay usable, because no mail "
                        "server has accepted their last warning for 24 hours: see "
                        "`sallyportctl notices list` and mend the mail.");
}

void KeyService::finish(const Outcome& outcome) {
  finish_in_pass(outcome);
  parts_.waker.wake("lifecycle");
  if (outcome.mail) parts_.waker.wake("outbox");
}

void KeyService::finish_in_pass(const Outcome& outcome) {
  if (outcome.deleted) {
    parts_.observer.key_deleted(outcome.key.id);
  } else if (outcome.verification) {
    parts_.observer.key_changed(outcome.key, outcome.values);
  }
  set_pending(outcome.key.id, outcome.pending);
  if (outcome.lacks_administrators) {
    parts_.health.set("notify.no_administrator", *outcome.lacks_administrators,
                      "There is no active administrator to be told about keys; notices go to "
                      "notify.fallback if it is set. Add one with `sallyportctl admin create`.");
  }
}

void KeyService::record_refusal(const Caller& caller, Event event, std::string_view id,
                                const std::string& error_code) {
  try {
    parts_.store.write([&](store::Unit& unit) {
      ActivityEntry entry;
      entry.actor = caller.actor();
      entry.source = caller.source;
      entry.operation = past_tense(event);
      entry.resource_type = "API_KEY";
      entry.resource_id = id;
      entry.success = false;
      entry.changes = Json::object({{"errorCode", error_code}});
      parts_.activity.append(unit, entry);
    });
  } catch (const base::Error& error) {
    base::log_warning("activity.not_recorded", {{"key", id}},
                      "a refused {} of key {} could not be recorded: {}",
                      lifecycle::event_name(event), id, error.what());
  }
}

// ---- new keys

NewKey KeyService::create(const Caller& caller, const std::string& template_id,
                          const KeyInput& input) {
  const base::Instant now = parts_.clock.now();
  const auto config = parts_.config.get();
  const KeyTemplate* tmpl = parts_.templates.find(template_id);
  if (tmpl == nullptr) {
    throw ProblemError(400, "UNKNOWN_TEMPLATE",
                       "There is no template of keys with that id. Give apiKeyTemplateId one of "
                       "those that GET templates/apikeys lists.");
  }
  if (input.template_id && *input.template_id != template_id) {
    throw ProblemError(400, "INVALID_FIELD",
                       "apiKeyTemplateId differs between the query and the body.");
  }

  store::ApiKey key;
  key.id = base::random_id();
  key.display_name = checked_name(input.display_name.value_or(""));
  key.description = checked_description(input.description.value_or(""));
  key.template_id = tmpl->id;
  key.is_public = tmpl->is_public;
  key.privileges = checked_privileges(*tmpl, input);
  check_permissions(key, *tmpl, input);
  check_configuration(key, *tmpl, input);
  const bool allow_private = config->keys.allow_private_ips;
  if (input.allowed_ips) {
    key.allowed_ips = checked_ips("allowedIps", *input.allowed_ips, allow_private);
  }
  if (input.denied_ips) {
    key.denied_ips = checked_ips("deniedIps", *input.denied_ips, allow_private);
  }
  if (tmpl->contact) {
    key.contact = checked_contact(input.contact.value_or(store::Contact{}));
  } else if (input.contact) {
    throw ProblemError(400, "CONTACT_NOT_OFFERED",
                       "Keys of the template " + tmpl->id + " have no contact. Leave it out.");
  }
  key.groups_can_edit = input.groups_can_edit.value_or(std::vector<std::string>{});
  key.groups_can_view = input.groups_can_view.value_or(std::vector<std::string>{});
  key.created_by = caller.actor();
  key.created = key.activated = now;
  key.expires_at = checked_expiry(*tmpl, input, now);

  NewValue value = make_value();
  key.value_last4 = value.last4;
  const Outcome outcome = parts_.store.write([&](store::Unit& unit) {
    refuse_key_values(unit, "name", key.display_name);
    refuse_key_values(unit, "description", key.description);
    check_groups(unit, key.groups_can_edit);
    check_groups(unit, key.groups_can_view);
    require_held(caller, key.privileges);
    refuse_contact_clash(unit, key);
    NoticeWriter writer(unit, *config, now);
    Change change(*this, unit, writer, &caller, now);
    change.take(key);
    change.settle();
    change.insert(value.sha256);
    change.note("CREATE", Json::object({{"template", key.template_id},
                                        {"privileges", privileges_json(key.privileges)}}));
    return change.outcome();
  });
  finish(outcome);
  return {outcome.key, base::Secret(std::move(value.text))};
}

NewKey KeyService::duplicate(const Caller& caller, const std::string& id, const KeyInput& input) {
  const base::Instant now = parts_.clock.now();
  const auto config = parts_.config.get();
  const std::string new_id = base::random_id();
  NewValue value = make_value();
  const Outcome outcome = parts_.store.write([&](store::Unit& unit) {
    const auto source = store::find_key(unit, id);
    if (!source || !may_view(caller, *source)) throw_not_found();
    KeyInput fixed = input;
    fixed.id.reset();
    fixed.value.reset();
    fixed.lifetime = {};
    fixed.expiration_day.reset();
    fixed.expiration_millis.reset();
    fixed.expiration_null = false;
    refuse_fixed_changes(*source, fixed);

    store::ApiKey key;
    key.id = new_id;
    key.display_name = checked_name(input.display_name.value_or(source->display_name));
    key.description = checked_description(input.description.value_or(source->description));
    key.template_id = source->template_id;
    key.is_public = source->is_public;
    key.privileges = source->privileges;
    key.permissions_enabled = source->permissions_enabled;
    key.permissions = source->permissions;
    key.allowed_ips = source->allowed_ips;
    key.denied_ips = source->denied_ips;
    key.search_hub = source->search_hub;
    key.catalog_id = source->catalog_id;
    key.additional_configuration = source->additional_configuration;
    key.contact = source->contact;
    if (source->contact && input.contact) key.contact = checked_contact(*input.contact);
    key.groups_can_edit = source->groups_can_edit;
    key.groups_can_view = source->groups_can_view;
    key.duplicated_from = source->id;
    key.value_last4 = value.last4;
    key.created_by = caller.actor();
    key.created = key.activated = now;
    KeyTemplate gone;  // its template is no longer configured: as the source was
    gone.id = source->template_id;
    gone.expires = source->expires_at.has_value();
    const KeyTemplate* tmpl = parts_.templates.find(source->template_id);
    key.expires_at = checked_expiry(tmpl != nullptr ? *tmpl : gone, input, now);

    refuse_key_values(unit, "name", key.display_name);
    refuse_key_values(unit, "description", key.description);
    require_held(caller, key.privileges);
    refuse_contact_clash(unit, key);
    NoticeWriter writer(unit, *config, now);
    Change change(*this, unit, writer, &caller, now);
    change.take(std::move(key));
    change.settle();
    change.insert(value.sha256);
    change.note("DUPLICATE", Json::object({{"from", source->id}}));
    return change.outcome();
  });
  finish(outcome);
  return {outcome.key, base::Secret(std::move(value.text))};
}

NewKey KeyService::regenerate(const Caller& caller, const std::string& id, base::Seconds overlap) {
  const auto most = policy().max_overlap;
  if (overlap < base::Seconds{0} || overlap > most) {
    throw ProblemError(400, "INVALID_OVERLAP",
                       "The overlap in which the old value stays valid must be 0 to " +
                           base::format_duration(most) + ".");
  }
  NewValue value = make_value();
  const store::ApiKey key = change(caller, id, Event::regenerate, [&](Change& change) {
    require_held(caller, change.key().privileges);
    const base::Instant old_ends = change.now() + overlap;
    for (const auto& old : store::key_values(change.unit(), id)) {
      if (!valid_at(old, change.now())) continue;
      // The value in force until now may overlap; one that overlaps already is the oldest.
      store::set_value_end(change.unit(), old.sha256, old.valid_until ? change.now() : old_ends);
    }
    store::KeyValue fresh;
    fresh.sha256 = value.sha256;
    fresh.key_id = id;
    store::insert_key_value(change.unit(), fresh);
    change.key().value_last4 = value.last4;
    change.note("REGENERATE", Json::object({{"oldValueEnds", base::format_iso(old_ends)}}));
  });
  return {key, base::Secret(std::move(value.text))};
}

// ---- reading

store::ApiKey KeyService::get(const Caller& caller, const std::string& id) {
  auto key = parts_.store.read([&](store::Unit& unit) { return store::find_key(unit, id); });
  if (!key || !may_view(caller, *key)) throw_not_found();
  return std::move(*key);
}

std::map<std::string, std::string> KeyService::group_names() {
  std::map<std::string, std::string> out;
  for (const auto& group :
       parts_.store.read([](store::Unit& unit) { return store::list_groups(unit); })) {
    out.emplace(group.id, group.name);
  }
  return out;
}

std::vector<store::Privilege> KeyService::missing_privileges(const Caller& caller,
                                                             const KeyTemplate& tmpl) const {
  return missing(caller, tmpl.privileges);
}

// ---- changing

store::ApiKey KeyService::change(const Caller& caller, const std::string& id, Event event,
                                 const std::function<void(Change&)>& apply) {
  const base::Instant now = parts_.clock.now();
  const auto config = parts_.config.get();
  try {
    const Outcome outcome = parts_.store.write([&](store::Unit& unit) {
      NoticeWriter writer(unit, *config, now);
      Change change(*this, unit, writer, &caller, now);
      change.load(id);
      const auto guard = lifecycle::check(event, change.key(), change.policy(), now);
      if (guard.verdict == Verdict::refused) throw_refusal(guard);
      if (guard.verdict == Verdict::allowed) {
        change.must_verify();
        apply(change);
        change.settle();
      }
      change.store_or_retry();
      return change.outcome();
    });
    finish(outcome);
    return outcome.key;
  } catch (const ProblemError& error) {
    if (error.status() != 404) record_refusal(caller, event, id, error.error_code());
    throw;
  }
}

store::ApiKey KeyService::update(const Caller& caller, const std::string& id,
                                 const KeyInput& input) {
  const bool allow_private = parts_.config.get()->keys.allow_private_ips;
  return change(caller, id, Event::edit, [&](Change& change) {
    store::ApiKey& key = change.key();
    refuse_fixed_changes(key, input);
    if (input.enabled && *input.enabled != lifecycle::is_usable(key, change.now())) {
      throw ProblemError(409, "FIELD_CANNOT_BE_EDITED",
                         "enabled cannot be edited. Use PUT " + key.id + "/activate or /disable.");
    }
    Json changes = Json::object();
    // Lengths before values: every window of a text is looked up.
    if (input.display_name && *input.display_name != key.display_name) {
      const std::optional name = checked_name(*input.display_name);
      refuse_key_values(change.unit(), "name", *name);
      apply_field(key.display_name, name, "displayName", changes);
    }
    if (input.description && *input.description != key.description) {
      const std::optional description = checked_description(*input.description);
      refuse_key_values(change.unit(), "description", *description);
      apply_field(key.description, description, "description", changes);
    }
    if (input.allowed_ips && *input.allowed_ips != key.allowed_ips) {
      apply_field(key.allowed_ips,
                  std::optional(checked_ips("allowedIps", *input.allowed_ips, allow_private)),
                  "allowedIps", changes);
    }
    if (input.denied_ips && *input.denied_ips != key.denied_ips) {
      apply_field(key.denied_ips,
                  std::optional(checked_ips("deniedIps", *input.denied_ips, allow_private)),
                  "deniedIps", changes);
    }
    if (input.groups_can_edit) check_groups(change.unit(), *input.groups_can_edit);
    if (input.groups_can_view) check_groups(change.unit(), *input.groups_can_view);
    apply_field(key.groups_can_edit, input.groups_can_edit, "groupsThatCanEdit", changes);
    apply_field(key.groups_can_view, input.groups_can_view, "groupsThatCanView", changes);
    if (input.contact) {
      store::Contact contact = *input.contact;
      // The login is write-only, so a model that was read has none: it stays.
      if (!input.contact_login_given && key.contact) contact.login = key.contact->login;
      if (!key.contact) {
        throw ProblemError(
            400, "CONTACT_NOT_OFFERED",
            "Keys of the template " + key.template_id + " have no contact. Leave it out.");
      }
      contact = checked_contact(contact);
      if (contact != *key.contact) {
        Json before = contact_json(*key.contact);
        key.contact = std::move(contact);
        refuse_contact_clash(change.unit(), key);
        changes.set("contact", old_and_new(std::move(before), contact_json(*key.contact)));
      }
    }
    if (!changes.if_object()->empty()) change.note("UPDATE", std::move(changes));
  });
}

store::ApiKey KeyService::activate(const Caller& caller, const std::string& id) {
  return change(caller, id, Event::activate, [&](Change& change) {
    require_held(caller, change.key().privileges);
    lifecycle::activate(change.key(), change.now());
    change.note("ENABLE");
  });
}

store::ApiKey KeyService::disable(const Caller& caller, const std::string& id) {
  return change(caller, id, Event::disable, [&](Change& change) {
    change.writer().cancel_all(change.key());
    lifecycle::disable(change.key(), change.now());
    change.note("DISABLE");
  });
}

store::ApiKey KeyService::revoke(const Caller& caller, const std::string& id) {
  return change(caller, id, Event::revoke, [&](Change& change) {
    change.writer().cancel_all(change.key());
    lifecycle::revoke(change.key(), change.now());
    for (const auto& value : store::key_values(change.unit(), id)) {
      if (valid_at(value, change.now())) {
        store::set_value_end(change.unit(), value.sha256, change.now());
      }
    }
    change.note("REVOKE");
  });
}

store::ApiKey KeyService::extend(const Caller& caller, const std::string& id) {
  return change(caller, id, Event::extend, [&](Change& change) {
    lifecycle::extend(change.key(), change.now());
    change.note("EXTEND");
  });
}

}  // namespace sallyport::daemon

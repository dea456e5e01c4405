#include "daemon/keys/key_import.h"

#include <algorithm>
#include <set>

#include "base/bytes.h"
#include "daemon/http/router.h"
#include "daemon/keys/change.h"
#include "daemon/keys/key_checks.h"
#include "daemon/keys/privileges.h"

namespace sallyport::daemon {

namespace {

constexpr base::Seconds dry_run_length{60 * 86400};
constexpr std::size_t least_value = 16;
constexpr std::size_t most_value = 256;

[[noreturn]] void refuse(const std::string& detail) {
  throw ProblemError(400, "INVALID_FIELD", detail);
}

struct Imported {
  store::ApiKey key;
  base::Sha256 sha256{};
};

/// Unix milliseconds, "2027-05-15" or "2027-05-15T14:30:00Z".
std::optional<base::Instant> read_date(const JsonReader& reader, std::string_view name) {
  if (!reader.has(name) || reader.is_null(name)) return std::nullopt;
  const Json& value = reader.raw(name);
  if (const auto* millis = value.if_int(); millis != nullptr && *millis >= 0) {
    return base::from_unix(*millis / 1000);
  }
  if (const auto* text = value.if_string()) {
    if (const auto instant = base::parse_instant(*text)) return instant;
  }
  refuse(std::string(name) + " must be 2027-05-15, 2027-05-15T14:30:00Z or Unix milliseconds.");
}

/// Texts where CSV cannot hold objects: "OWNER/DOMAIN/TYPE", "object:action".
Json with_objects(const Json& entry) {
  Json out = entry;
  if (const auto* items = entry["privileges"].if_array()) {
    Json list = Json::array();
    for (const auto& item : *items) {
      const auto* text = item.if_string();
      if (text == nullptr) {
        list.push(item);
        continue;
      }
      const auto privilege = parse_privilege(*text);
      if (!privilege)
        refuse("\"" + *text + "\" is no privilege: write OWNER/DOMAIN[/TYPE][@TARGET].");
      list.push(privilege_json(*privilege));
    }
    out.set("privileges", std::move(list));
  }
  if (const auto* items = entry["permissions"].if_array()) {
    Json list = Json::array();
    for (const auto& item : *items) {
      const auto* text = item.if_string();
      if (text == nullptr) {
        list.push(item);
        continue;
      }
      const auto colon = text->find(':');
      if (colon == std::string::npos)
        refuse("\"" + *text + "\" is no permission: write object:action.");
      list.push(
          Json::object({{"object", text->substr(0, colon)}, {"action", text->substr(colon + 1)}}));
    }
    if (!items->empty()) out.set("permissionsEnabled", true);
    out.set("permissions", std::move(list));
  }
  if (const auto* hub = entry["searchHub"].if_string()) {
    out.set("additionalConfiguration",
            Json::object({{"search", Json::object({{"enforcedQueryPipelineConfiguration",
                                                    Json::object({{"searchHub", *hub}})}})}}));
  }
  return out;
}

void read_value(const JsonReader& reader, Imported& out) {
  const std::string value = reader.maybe_text("value").value_or("");
  const std::string hash = reader.maybe_text("sha256").value_or("");
  if (value.empty() == hash.empty()) refuse("Write either value or sha256 (and last4).");
  if (!value.empty()) {
    const bool printable =
        std::all_of(value.begin(), value.end(), [](char c) { return c > 0x20 && c < 0x7f; });
    if (value.size() < least_value || value.size() > most_value || !printable) {
      refuse("value must be 16 to 256 printable ASCII characters without spaces.");
    }
    out.sha256 = base::sha256(value);
    out.key.value_last4 = value.substr(value.size() - 4);
    return;
  }
  const auto raw = base::from_hex(hash);
  if (!raw || raw->size() != out.sha256.size()) refuse("sha256 must be 64 hex digits.");
  std::copy(raw->begin(), raw->end(), out.sha256.begin());
  out.key.value_last4 = reader.maybe_text("last4").value_or("????");
  if (out.key.value_last4.size() != 4) refuse("last4 must be the last 4 characters of the value.");
}

class Importer {
 public:
  Importer(KeyService& service, const Caller& caller)
      : service_(service),
        caller_(caller),
        now_(service.parts().clock.now()),
        config_(service.parts().config.get()) {}

  [[nodiscard]] Imported read(const Json& entry) const {
    const Json full = with_objects(entry);
    const JsonReader reader(full);
    KeyInput input = read_key_input(full);
    Imported out;
    store::ApiKey& key = out.key;
    const std::string id = input.template_id.value_or("CUSTOM");
    const KeyTemplate* tmpl = service_.parts().templates.find(id);
    if (tmpl == nullptr)
      refuse("There is no template of keys with the id \"" + id.substr(0, 64) + "\".");
    key.id = base::random_id();
    key.display_name = checked_name(input.display_name.value_or(""));
    key.description = checked_description(input.description.value_or(""));
    key.template_id = tmpl->id;
    key.is_public = tmpl->is_public;
    key.privileges = checked_privileges(*tmpl, input);
    require_held(caller_, key.privileges);
    check_permissions(key, *tmpl, input);
    check_configuration(key, *tmpl, input);
    const bool allow_private = config_->keys.allow_private_ips;
    key.allowed_ips = checked_ips(
        "allowedIps", input.allowed_ips.value_or(std::vector<std::string>{}), allow_private);
    key.denied_ips = checked_ips("deniedIps", input.denied_ips.value_or(std::vector<std::string>{}),
                                 allow_private);
    if (tmpl->contact) key.contact = checked_contact(input.contact.value_or(store::Contact{}));
    key.groups_can_edit = input.groups_can_edit.value_or(std::vector<std::string>{});
    key.groups_can_view = input.groups_can_view.value_or(std::vector<std::string>{});
    key.created_by = reader.maybe_text("createdBy").value_or(caller_.actor());
    read_value(reader, out);
    read_dates(reader, *tmpl, input, key);
    return out;
  }

  void write(store::Unit& unit, NoticeWriter& writer, const Imported& imported,
             std::vector<store::ApiKey>& keys) const {
    store::ApiKey key = imported.key;
    if (store::find_key_value(unit, imported.sha256)) {
      throw ProblemError(409, "VALUE_EXISTS", "A key with this value exists already.");
    }
    refuse_key_values(unit, "name", key.display_name);
    refuse_key_values(unit, "description", key.description);
    check_groups(unit, key.groups_can_edit);
    check_groups(unit, key.groups_can_view);
    refuse_contact_clash(unit, key);
    KeyService::insert_imported(service_, unit, writer, caller_, now_, key, imported.sha256);
    keys.push_back(key);
  }

 private:
  void read_dates(const JsonReader& reader, const KeyTemplate& tmpl, KeyInput& input,
                  store::ApiKey& key) const {
    key.created = std::min(read_date(reader, "createdDate").value_or(now_), now_);
    key.activated =
        std::clamp(read_date(reader, "activationDate").value_or(key.created), key.created, now_);
    key.last_used = read_date(reader, "lastUsedDate");
    if (key.last_used && *key.last_used > now_) key.last_used = now_;
    // What is taken over keeps its end; only what says a lifetime gets one from now.
    if (!input.lifetime.given && !input.expiration_day && !input.expiration_millis) {
      input.lifetime.given = true;
    }
    key.expires_at = checked_expiry(tmpl, input, now_);
    if (input.enabled && !*input.enabled) {
      key.state = store::KeyState::disabled;
      key.disabled = now_;
    }
  }

  KeyService& service_;
  const Caller& caller_;
  base::Instant now_;
  std::shared_ptr<const Config> config_;
};

/// Thrown to leave a unit of work without having changed anything.
struct DryRunEnded {};

}  // namespace

ImportAnswer import_keys(KeyService& service, const Caller& caller, const ImportRequest& request) {
  const base::Instant now = service.parts().clock.now();
  const auto config = service.parts().config.get();
  const Importer importer(service, caller);
  std::size_t at = 0;
  try {
    std::vector<Imported> read;
    for (at = 0; at < request.keys.size(); ++at) read.push_back(importer.read(request.keys[at]));
    ImportAnswer answer;
    try {
      service.parts().store.write([&](store::Unit& unit) {
        answer = {};
        NoticeWriter writer(unit, *config, now);
        for (at = 0; at < read.size(); ++at) importer.write(unit, writer, read[at], answer.keys);
        if (request.dry_run) throw DryRunEnded{};
      });
    } catch (const DryRunEnded&) {
      // The unit was rolled back, as it should.
    }
    if (!request.dry_run) service.announce_imported(answer.keys);
    // From the keys as they were read, so that what is mailed right away is listed too.
    std::vector<store::ApiKey> keys;
    for (const auto& each : read) keys.push_back(each.key);
    answer.next = LookAhead(service).simulate(keys, dry_run_length);
    return answer;
  } catch (const ProblemError& error) {
    throw ProblemError(error.status(), error.error_code(),
                       "Nothing was imported, because of key " +
                           std::to_string(request.first_row + static_cast<std::int64_t>(at)) +
                           ": " + error.what(),
                       error.members());
  }
}

}  // namespace sallyport::daemon

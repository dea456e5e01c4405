#include <Poco/JSON/Object.h>
#include <Poco/JSON/Parser.h>

#include <array>
#include <sstream>
#include <utility>

#include "notify/facts.h"

namespace sallyport::notify {
namespace {

using Poco::JSON::Array;
using Poco::JSON::Object;

constexpr std::array kind_names{
    std::pair{Kind::key_expiring, std::string_view("key_expiring")},
    std::pair{Kind::key_expired, std::string_view("key_expired")},
    std::pair{Kind::key_inactive, std::string_view("key_inactive")},
    std::pair{Kind::key_inactive_disabled, std::string_view("key_inactive_disabled")},
    std::pair{Kind::exposure_flagged, std::string_view("exposure_flagged")},
    std::pair{Kind::exposure_reported, std::string_view("exposure_reported")},
    std::pair{Kind::exposure_deadline, std::string_view("exposure_deadline")},
    std::pair{Kind::exposure_disabled, std::string_view("exposure_disabled")},
    std::pair{Kind::exposure_critical, std::string_view("exposure_critical")},
    std::pair{Kind::exposure_withdrawn, std::string_view("exposure_withdrawn")},
    std::pair{Kind::credential_expiring, std::string_view("credential_expiring")},
    std::pair{Kind::credential_expired, std::string_view("credential_expired")},
    std::pair{Kind::file_failed, std::string_view("file_failed")},
    std::pair{Kind::file_duplicate, std::string_view("file_duplicate")},
    std::pair{Kind::outbound_not_collected, std::string_view("outbound_not_collected")},
    std::pair{Kind::outbound_returned, std::string_view("outbound_returned")},
    std::pair{Kind::outbound_held, std::string_view("outbound_held")},
    std::pair{Kind::expectation_missed, std::string_view("expectation_missed")},
    std::pair{Kind::health_raised, std::string_view("health_raised")},
    std::pair{Kind::health_cleared, std::string_view("health_cleared")},
    std::pair{Kind::test_message, std::string_view("test_message")},
};

constexpr std::array role_names{
    std::pair{Role::administrator, std::string_view("administrator")},
    std::pair{Role::key_contact, std::string_view("key_contact")},
    std::pair{Role::security_contact, std::string_view("security_contact")},
    std::pair{Role::partner_contact, std::string_view("partner_contact")},
    std::pair{Role::fallback, std::string_view("fallback")},
    std::pair{Role::webhook, std::string_view("webhook")},
};

template <class Names, class Value>
std::string_view name_of(const Names& names, Value value) {
  for (const auto& entry : names)
    if (entry.first == value) return entry.second;
  return {};
}

template <class Value, class Names>
std::optional<Value> value_of(const Names& names, std::string_view name) {
  for (const auto& entry : names)
    if (entry.second == name) return entry.first;
  return std::nullopt;
}

/// The members of every struct are listed once and visited by both the writer and the reader.
template <class Visitor, class K>
void visit_key(Visitor& v, K& key) {
  v.text("id", key.id);
  v.text("name", key.name);
  v.text("masked_value", key.masked_value);
  v.text("template_id", key.template_id);
  v.text("privacy", key.privacy);
  v.text("contact", key.contact);
  v.text("created_by", key.created_by);
  v.instant("created_at", key.created_at);
  v.instant("activated_at", key.activated_at);
  v.instant("last_used_at", key.last_used_at);
}

template <class Visitor, class R>
void visit_reason(Visitor& v, R& reason) {
  v.text("reason", reason.reason);
  v.text("source", reason.source);
  v.text("url", reason.url);
  v.instant("reported_at", reason.reported_at);
}

template <class Visitor, class E>
void visit_exposure(Visitor& v, E& exposure) {
  v.text("severity", exposure.severity);
  v.flag("suspicious_activity", exposure.suspicious_activity);
  v.flag("automated", exposure.automated);
  v.text("reported_by", exposure.reported_by);
  v.text("withdrawn_by", exposure.withdrawn_by);
  v.text("withdrawn_reason", exposure.withdrawn_reason);
}

template <class Visitor, class C>
void visit_credential(Visitor& v, C& credential) {
  v.text("type", credential.type);
  v.text("label", credential.label);
  v.text("fingerprint", credential.fingerprint);
  v.text("owner", credential.owner);
}

template <class Visitor, class F>
void visit_file(Visitor& v, F& file) {
  v.text("id", file.id);
  v.text("object", file.object);
  v.text("name", file.name);
  v.number("size", file.size);
  v.text("sha256", file.sha256);
  v.text("reason_code", file.reason_code);
  v.text("reason", file.reason);
  v.text("duplicate_of", file.duplicate_of);
  v.instant("received_at", file.received_at);
  v.instant("duplicate_received_at", file.duplicate_received_at);
  v.instant("downloaded_at", file.downloaded_at);
}

template <class Visitor, class E>
void visit_expectation(Visitor& v, E& expectation) {
  v.text("object", expectation.object);
  v.text("rule", expectation.rule);
  v.text("finding", expectation.finding);
}

template <class Visitor, class H>
void visit_health(Visitor& v, H& health) {
  v.text("condition", health.condition);
  v.text("sentence", health.sentence);
}

struct Writer {
  Object& object;

  void text(const char* name, const std::string& value) {
    if (!value.empty()) object.set(name, value);
  }
  void instant(const char* name, const std::optional<base::Instant>& value) {
    if (value) object.set(name, static_cast<Poco::Int64>(base::to_unix(*value)));
  }
  void flag(const char* name, bool value) {
    if (value) object.set(name, true);
  }
  void number(const char* name, std::uint64_t value) {
    if (value != 0) object.set(name, static_cast<Poco::UInt64>(value));
  }
};

struct Reader {
  const Object& object;

  void text(const char* name, std::string& value) {
    if (object.has(name)) value = object.getValue<std::string>(name);
  }
  void instant(const char* name, std::optional<base::Instant>& value) {
    if (object.has(name)) value = base::from_unix(object.getValue<Poco::Int64>(name));
  }
  void flag(const char* name, bool& value) {
    if (object.has(name)) value = object.getValue<bool>(name);
  }
  void number(const char* name, std::uint64_t& value) {
    if (object.has(name)) value = object.getValue<Poco::UInt64>(name);
  }
};

template <class T, class Visit>
void write_part(Object& parent, const char* name, const std::optional<T>& part, Visit visit) {
  if (!part) return;
  Object::Ptr object = new Object(Poco::JSON_PRESERVE_KEY_ORDER);
  Writer writer{*object};
  visit(writer, *part);
  parent.set(name, object);
}

template <class T, class Visit>
void read_part(const Object& parent, const char* name, std::optional<T>& part, Visit visit) {
  const Object::Ptr object = parent.getObject(name);
  if (!object) return;
  Reader reader{*object};
  visit(reader, part.emplace());
}

void write_reasons(Object& exposure, const std::vector<ReportReason>& reasons) {
  Array::Ptr list = new Array;
  for (const ReportReason& reason : reasons) {
    Object::Ptr object = new Object(Poco::JSON_PRESERVE_KEY_ORDER);
    Writer writer{*object};
    visit_reason(writer, reason);
    list->add(object);
  }
  exposure.set("reasons", list);
}

void read_reasons(const Object& exposure, std::vector<ReportReason>& reasons) {
  const Array::Ptr list = exposure.getArray("reasons");
  if (!list) return;
  for (unsigned int i = 0; i < list->size(); ++i) {
    const Object::Ptr object = list->getObject(i);
    if (!object) continue;
    Reader reader{*object};
    visit_reason(reader, reasons.emplace_back());
  }
}

Facts read_facts(const Object& root, Kind kind, Role role) {
  Facts facts;
  facts.kind = kind;
  facts.role = role;
  Reader reader{root};
  if (root.has("offset_seconds"))
    facts.offset = base::Seconds{root.getValue<Poco::Int64>("offset_seconds")};
  if (root.has("happened_at"))
    facts.happened_at = base::from_unix(root.getValue<Poco::Int64>("happened_at"));
  reader.instant("deadline", facts.deadline);
  reader.text("organization", facts.organization);
  reader.text("instance", facts.instance);
  reader.text("partner", facts.partner);
  reader.text("link", facts.link);
  read_part(root, "key", facts.key, [](auto& v, auto& x) { visit_key(v, x); });
  read_part(root, "exposure", facts.exposure, [](auto& v, auto& x) {
    visit_exposure(v, x);
    read_reasons(v.object, x.reasons);
  });
  read_part(root, "credential", facts.credential, [](auto& v, auto& x) { visit_credential(v, x); });
  read_part(root, "file", facts.file, [](auto& v, auto& x) { visit_file(v, x); });
  read_part(root, "expectation", facts.expectation,
            [](auto& v, auto& x) { visit_expectation(v, x); });
  read_part(root, "health", facts.health, [](auto& v, auto& x) { visit_health(v, x); });
  return facts;
}

}  // namespace

std::string_view to_string(Kind kind) {
  return name_of(kind_names, kind);
}
std::optional<Kind> parse_kind(std::string_view name) {
  return value_of<Kind>(kind_names, name);
}
std::string_view to_string(Role role) {
  return name_of(role_names, role);
}
std::optional<Role> parse_role(std::string_view name) {
  return value_of<Role>(role_names, name);
}

const std::vector<Kind>& all_kinds() {
  static const std::vector<Kind> kinds = [] {
    std::vector<Kind> list;
    for (const auto& entry : kind_names) list.push_back(entry.first);
    return list;
  }();
  return kinds;
}

std::string to_json(const Facts& facts) {
  Object root(Poco::JSON_PRESERVE_KEY_ORDER);
  Writer writer{root};
  root.set("kind", std::string(to_string(facts.kind)));
  root.set("role", std::string(to_string(facts.role)));
  root.set("offset_seconds", static_cast<Poco::Int64>(facts.offset.count()));
  root.set("happened_at", static_cast<Poco::Int64>(base::to_unix(facts.happened_at)));
  writer.instant("deadline", facts.deadline);
  writer.text("organization", facts.organization);
  writer.text("instance", facts.instance);
  writer.text("partner", facts.partner);
  writer.text("link", facts.link);
  write_part(root, "key", facts.key, [](auto& v, const auto& x) { visit_key(v, x); });
  write_part(root, "exposure", facts.exposure, [](auto& v, const auto& x) {
    visit_exposure(v, x);
    write_reasons(v.object, x.reasons);
  });
  write_part(root, "credential", facts.credential,
             [](auto& v, const auto& x) { visit_credential(v, x); });
  write_part(root, "file", facts.file, [](auto& v, const auto& x) { visit_file(v, x); });
  write_part(root, "expectation", facts.expectation,
             [](auto& v, const auto& x) { visit_expectation(v, x); });
  write_part(root, "health", facts.health, [](auto& v, const auto& x) { visit_health(v, x); });
  std::ostringstream out;
  root.stringify(out);
  return out.str();
}

std::optional<Facts> parse_facts(std::string_view json) {
  try {
    Poco::JSON::Parser parser;
    parser.setDepth(16);
    const auto value = parser.parse(std::string(json));
    if (value.type() != typeid(Object::Ptr)) return std::nullopt;
    const auto root = value.extract<Object::Ptr>();
    const auto kind = parse_kind(root->optValue<std::string>("kind", ""));
    const auto role = parse_role(root->optValue<std::string>("role", ""));
    if (!kind || !role) return std::nullopt;
    return read_facts(*root, *kind, *role);
  } catch (const Poco::Exception&) {
    return std::nullopt;
  }
}

}  // namespace sallyport::notify

// Lists and nested records as JSON text. Poco::JSON stays in this file.
#include <Poco/Exception.h>
#include <Poco/JSON/Array.h>
#include <Poco/JSON/Object.h>
#include <Poco/JSON/Parser.h>

#include <sstream>

#include "store/codec.h"

namespace sallyport::store {
namespace {

using Poco::JSON::Array;
using Poco::JSON::Object;

template <class Json>
std::string text_of(const Json& json) {
  std::ostringstream stream;
  json.stringify(stream);
  return stream.str();
}

/// Runs `read` on the parsed text; whatever is wrong with it is a damaged row.
template <class Read>
void parse(const std::string& json, Read&& read) {
  try {
    Poco::JSON::Parser parser;
    read(parser.parse(json));
  } catch (const Poco::Exception& error) {
    throw Error(Failure::broken, error.code(), "a list in the database is damaged JSON");
  }
}

template <class Item>
void parse_objects(const std::string& json, std::vector<Item>& list,
                   void (*read)(const Object&, Item&)) {
  list.clear();
  if (json.empty()) return;
  parse(json, [&](const Poco::Dynamic::Var& value) {
    const auto array = value.extract<Array::Ptr>();
    for (std::size_t i = 0; i < array->size(); ++i) {
      const Object::Ptr object = array->getObject(static_cast<unsigned>(i));
      if (!object) throw Poco::DataFormatException();
      read(*object, list.emplace_back());
    }
  });
}

/// Poco takes nothing but UTF-8.
std::string clean(const std::string& text) {
  std::string copy;
  return std::string(valid_utf8(text, copy));
}

std::string member(const Object& object, const std::string& name) {
  return object.optValue<std::string>(name, {});
}

Array privilege_array(const std::vector<Privilege>& list) {
  Array array;
  for (const Privilege& privilege : list) {
    Object object;
    object.set("owner", clean(privilege.owner));
    object.set("targetDomain", clean(privilege.target_domain));
    if (!privilege.type.empty()) object.set("type", clean(privilege.type));
    if (!privilege.target_id.empty()) object.set("targetId", clean(privilege.target_id));
    array.add(object);
  }
  return array;
}

void read_privilege(const Object& object, Privilege& privilege) {
  privilege = {member(object, "owner"), member(object, "targetDomain"), member(object, "type"),
               member(object, "targetId")};
}

void read_permission(const Object& object, Permission& permission) {
  permission = {member(object, "object"), member(object, "action")};
}

Object reason_object(const ExposureReason& reason) {
  Object object;
  object.set("id", clean(reason.id));
  object.set("severity", std::string(name_of(reason.severity)));
  object.set("source", std::string(name_of(reason.source)));
  object.set("reason", clean(reason.reason));
  object.set("url", clean(reason.url));
  object.set("suspicious", reason.suspicious_activity);
  object.set("applied", reason.applied);
  object.set("created", Poco::Int64{base::to_unix(reason.created)});
  return object;
}

void read_reason(const Object& object, ExposureReason& reason) {
  reason.id = member(object, "id");
  from_name(member(object, "severity"), reason.severity);
  from_name(member(object, "source"), reason.source);
  reason.reason = member(object, "reason");
  reason.url = member(object, "url");
  reason.suspicious_activity = object.optValue("suspicious", false);
  reason.applied = object.optValue("applied", true);
  reason.created = base::from_unix(object.getValue<Poco::Int64>("created"));
}

void read_exposure(const Object& object, Exposure& exposure) {
  from_name(member(object, "severity"), exposure.severity);
  if (object.has("deadline")) {
    exposure.deadline = base::from_unix(object.getValue<Poco::Int64>("deadline"));
  }
  exposure.automated = object.optValue("automated", false);
  exposure.created_by = member(object, "createdBy");
  exposure.created = base::from_unix(object.getValue<Poco::Int64>("created"));
  exposure.withdrawn = object.optValue("withdrawn", false);
  exposure.withdrawn_reason = member(object, "withdrawnReason");
  const Array::Ptr reasons = object.getArray("reasons");
  if (!reasons) throw Poco::DataFormatException();
  for (std::size_t i = 0; i < reasons->size(); ++i) {
    const Object::Ptr reason = reasons->getObject(static_cast<unsigned>(i));
    if (!reason) throw Poco::DataFormatException();
    read_reason(*reason, exposure.reasons.emplace_back());
  }
}

}  // namespace

std::string to_json(const std::vector<std::string>& list) {
  if (list.empty()) return {};
  Array array;
  for (const std::string& item : list) array.add(clean(item));
  return text_of(array);
}

std::string to_json(const std::vector<Privilege>& list) {
  return list.empty() ? std::string() : text_of(privilege_array(list));
}

std::string to_json(const std::vector<Permission>& list) {
  if (list.empty()) return {};
  Array array;
  for (const Permission& permission : list) {
    Object object;
    object.set("object", clean(permission.object));
    object.set("action", clean(permission.action));
    array.add(object);
  }
  return text_of(array);
}

std::string to_json(const std::optional<Exposure>& exposure) {
  if (!exposure) return {};
  Array reasons;
  for (const ExposureReason& reason : exposure->reasons) reasons.add(reason_object(reason));
  Object object;
  object.set("severity", std::string(name_of(exposure->severity)));
  if (exposure->deadline) object.set("deadline", Poco::Int64{base::to_unix(*exposure->deadline)});
  object.set("automated", exposure->automated);
  object.set("createdBy", clean(exposure->created_by));
  object.set("created", Poco::Int64{base::to_unix(exposure->created)});
  object.set("withdrawn", exposure->withdrawn);
  object.set("withdrawnReason", clean(exposure->withdrawn_reason));
  object.set("reasons", reasons);
  return text_of(object);
}

void from_json(const std::string& json, std::vector<std::string>& list) {
  list.clear();
  if (json.empty()) return;
  parse(json, [&](const Poco::Dynamic::Var& value) {
    for (const auto& item : *value.extract<Array::Ptr>())
      list.push_back(item.convert<std::string>());
  });
}

void from_json(const std::string& json, std::vector<Privilege>& list) {
  parse_objects(json, list, read_privilege);
}

void from_json(const std::string& json, std::vector<Permission>& list) {
  parse_objects(json, list, read_permission);
}

void from_json(const std::string& json, std::optional<Exposure>& exposure) {
  exposure.reset();
  if (json.empty()) return;
  parse(json, [&](const Poco::Dynamic::Var& value) {
    read_exposure(*value.extract<Object::Ptr>(), exposure.emplace());
  });
}

std::vector<Privilege> parse_privileges(std::string_view json) {
  std::vector<Privilege> list;
  from_json(std::string(json), list);
  return list;
}

std::vector<Permission> parse_permissions(std::string_view json) {
  std::vector<Permission> list;
  from_json(std::string(json), list);
  return list;
}

std::vector<std::string> parse_strings(std::string_view json) {
  std::vector<std::string> list;
  from_json(std::string(json), list);
  return list;
}

}  // namespace sallyport::store

#include <fmt/format.h>

#include "daemon/http/json.h"
#include "daemon/http/router.h"

namespace sallyport::daemon {

JsonReader::JsonReader(Json value, std::string where)
    : value_(std::move(value)), where_(std::move(where)) {
  if (value_.if_object() == nullptr) {
    throw ProblemError(400, "INVALID_BODY",
                       where_.empty() ? "The body must be a JSON object."
                                      : fmt::format("'{}' must be a JSON object.", where_));
  }
}

std::string JsonReader::path(std::string_view name) const {
  return where_.empty() ? std::string(name) : fmt::format("{}.{}", where_, name);
}

void JsonReader::refuse(std::string_view name, std::string_view expected) const {
  throw ProblemError(400, "INVALID_FIELD", fmt::format("'{}' must be {}.", path(name), expected),
                     Json::object({{"field", path(name)}}));
}

bool JsonReader::has(std::string_view name) const {
  return value_.find(name) != nullptr;
}

bool JsonReader::is_null(std::string_view name) const {
  const Json* found = value_.find(name);
  return found != nullptr && found->is_null();
}

const Json& JsonReader::raw(std::string_view name) const {
  return value_[name];
}

std::string JsonReader::text(std::string_view name) const {
  auto value = maybe_text(name);
  if (!value) refuse(name, "given, a string");
  return std::move(*value);
}

std::int64_t JsonReader::number(std::string_view name) const {
  const auto value = maybe_number(name);
  if (!value) refuse(name, "given, a whole number");
  return *value;
}

bool JsonReader::flag(std::string_view name) const {
  const auto value = maybe_flag(name);
  if (!value) refuse(name, "given, true or false");
  return *value;
}

std::optional<std::string> JsonReader::maybe_text(std::string_view name) const {
  const Json& value = raw(name);
  if (value.is_null()) return std::nullopt;
  if (value.if_string() == nullptr) refuse(name, "a string");
  return *value.if_string();
}

std::optional<std::int64_t> JsonReader::maybe_number(std::string_view name) const {
  const Json& value = raw(name);
  if (value.is_null()) return std::nullopt;
  if (value.if_int() == nullptr) refuse(name, "a whole number");
  return *value.if_int();
}

std::optional<bool> JsonReader::maybe_flag(std::string_view name) const {
  const Json& value = raw(name);
  if (value.is_null()) return std::nullopt;
  if (value.if_bool() == nullptr) refuse(name, "true or false");
  return *value.if_bool();
}

std::optional<std::vector<std::string>> JsonReader::maybe_texts(std::string_view name) const {
  const Json& value = raw(name);
  if (value.is_null()) return std::nullopt;
  const Json::Array* items = value.if_array();
  if (items == nullptr) refuse(name, "an array of strings");
  std::vector<std::string> texts;
  for (const Json& item : *items) {
    if (item.if_string() == nullptr) refuse(name, "an array of strings");
    texts.push_back(*item.if_string());
  }
  return texts;
}

std::optional<JsonReader> JsonReader::maybe_object(std::string_view name) const {
  const Json& value = raw(name);
  if (value.is_null()) return std::nullopt;
  return JsonReader(value, path(name));
}

std::optional<std::vector<JsonReader>> JsonReader::maybe_objects(std::string_view name) const {
  const Json& value = raw(name);
  if (value.is_null()) return std::nullopt;
  const Json::Array* items = value.if_array();
  if (items == nullptr) refuse(name, "an array of objects");
  std::vector<JsonReader> readers;
  for (const Json& item : *items) {
    readers.emplace_back(item, fmt::format("{}[{}]", path(name), readers.size()));
  }
  return readers;
}

}  // namespace sallyport::daemon

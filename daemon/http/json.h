// JSON as a value, a strict parser and a reader of objects with errors that name the field.
//
// Strict: one value and nothing after it, well-formed UTF-8, no duplicate names (two programs that
// read the same text must see the same thing), bounded depth. Members keep their order.
//
//   Json answer = Json::object({{"id", key.id}, {"enabled", true}});
//   answer.set("tags", Json::array({"a", "b"}));
//
//   JsonReader reader(request.json());               // 400 ProblemError if it is no object
//   std::string name = reader.text("displayName");   // 400 if missing or no string
//   std::optional<bool> on = reader.maybe_flag("permissionsEnabled");
//
// Values own everything in them. Nothing is shared: safe from any thread as any plain value.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"

namespace sallyport::daemon {

class Json {
 public:
  using Array = std::vector<Json>;
  using Member = std::pair<std::string, Json>;
  using Object = std::vector<Member>;

  Json() = default;  ///< null
  Json(std::nullptr_t) {}
  Json(std::same_as<bool> auto value) : value_(value) {}
  Json(double value) : value_(value) {}
  template <std::integral T>
  requires(!std::same_as<T, bool>) Json(T value) : value_(static_cast<std::int64_t>(value)) {}
  Json(const char* text) : value_(std::string(text)) {}
  Json(std::string_view text) : value_(std::string(text)) {}
  Json(std::string text) : value_(std::move(text)) {}
  Json(Array items) : value_(std::move(items)) {}
  Json(Object members) : value_(std::move(members)) {}
  /// nullopt is null.
  template <class T>
  Json(const std::optional<T>& value) {
    if (value) *this = Json(*value);
  }

  [[nodiscard]] static Json object(std::initializer_list<Member> members = {});
  [[nodiscard]] static Json array(std::initializer_list<Json> items = {});
  template <class Range>
  [[nodiscard]] static Json array_of(const Range& items) {
    Array result;
    for (const auto& item : items) result.emplace_back(item);
    return Json(std::move(result));
  }

  [[nodiscard]] bool is_null() const { return std::holds_alternative<std::monostate>(value_); }
  // Each is nullptr if the value is something else.
  [[nodiscard]] const bool* if_bool() const { return std::get_if<bool>(&value_); }
  [[nodiscard]] const std::int64_t* if_int() const { return std::get_if<std::int64_t>(&value_); }
  [[nodiscard]] const double* if_double() const { return std::get_if<double>(&value_); }
  [[nodiscard]] const std::string* if_string() const { return std::get_if<std::string>(&value_); }
  [[nodiscard]] const Array* if_array() const { return std::get_if<Array>(&value_); }
  [[nodiscard]] const Object* if_object() const { return std::get_if<Object>(&value_); }

  /// The member of an object; nullptr if there is none or this is no object.
  [[nodiscard]] const Json* find(std::string_view name) const;
  /// As find(), but a null value where there is none: for reading what we wrote ourselves.
  [[nodiscard]] const Json& operator[](std::string_view name) const;
  /// Sets or replaces a member; a null becomes an object first.
  Json& set(std::string_view name, Json value);
  /// As set(), unless the value is null.
  Json& set_if(std::string_view name, Json value);
  /// Appends to an array; a null becomes an array first.
  Json& push(Json value);

  [[nodiscard]] std::string dump() const;
  /// With two spaces a level, for people.
  [[nodiscard]] std::string pretty() const;

  friend bool operator==(const Json&, const Json&) = default;

 private:
  void write(std::string& out, int indent, int level) const;
  std::variant<std::monostate, bool, std::int64_t, double, std::string, Array, Object> value_;
};

/// A text that is no acceptable JSON: "at byte 17: ..."
class JsonError : public base::Error {
 public:
  using base::Error::Error;
};

inline constexpr unsigned json_max_depth = 32;
[[nodiscard]] Json parse_json(std::string_view text, unsigned max_depth = json_max_depth);

/// Reads members of an object; every failure is a 400 ProblemError (errorCode INVALID_FIELD) whose
/// detail names the field, also within nested objects ("contact.email").
class JsonReader {
 public:
  explicit JsonReader(Json value, std::string where = "");

  [[nodiscard]] bool has(std::string_view name) const;         ///< present, null too
  [[nodiscard]] bool is_null(std::string_view name) const;     ///< present and null
  [[nodiscard]] const Json& raw(std::string_view name) const;  ///< null if absent

  // The member must be there and of that type.
  [[nodiscard]] std::string text(std::string_view name) const;
  [[nodiscard]] std::int64_t number(std::string_view name) const;
  [[nodiscard]] bool flag(std::string_view name) const;

  // nullopt if absent or null; a wrong type is refused.
  [[nodiscard]] std::optional<std::string> maybe_text(std::string_view name) const;
  [[nodiscard]] std::optional<std::int64_t> maybe_number(std::string_view name) const;
  [[nodiscard]] std::optional<bool> maybe_flag(std::string_view name) const;
  [[nodiscard]] std::optional<std::vector<std::string>> maybe_texts(std::string_view name) const;
  [[nodiscard]] std::optional<JsonReader> maybe_object(std::string_view name) const;
  [[nodiscard]] std::optional<std::vector<JsonReader>> maybe_objects(std::string_view name) const;

  [[nodiscard]] const Json& value() const { return value_; }

 private:
  [[nodiscard]] std::string path(std::string_view name) const;
  [[noreturn]] void refuse(std::string_view name, std::string_view expected) const;
  Json value_;
  std::string where_;
};

}  // namespace sallyport::daemon

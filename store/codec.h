// Inside the store only: how values become parameters and columns become values. Times are Unix
// seconds, enums their names, lists and nested records JSON ("" when empty).
//
// Pure but for the statement it is given. A column that cannot be what it should be throws
// Error{broken}.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "store/admins.h"
#include "store/files.h"
#include "store/keys.h"
#include "store/notices.h"
#include "store/unit.h"

namespace sallyport::store {

// JSON (store/json.cc).
[[nodiscard]] std::string to_json(const std::vector<std::string>& list);
[[nodiscard]] std::string to_json(const std::vector<Privilege>& list);
[[nodiscard]] std::string to_json(const std::vector<Permission>& list);
[[nodiscard]] std::string to_json(const std::optional<Exposure>& exposure);
void from_json(const std::string& json, std::vector<std::string>& list);
void from_json(const std::string& json, std::vector<Privilege>& list);
void from_json(const std::string& json, std::vector<Permission>& list);
void from_json(const std::string& json, std::optional<Exposure>& exposure);

// Names of enums (store/names.cc).
[[nodiscard]] std::string_view name_of(KeyState value);
[[nodiscard]] std::string_view name_of(Severity value);
[[nodiscard]] std::string_view name_of(ExposureSource value);
[[nodiscard]] std::string_view name_of(NoticeState value);
[[nodiscard]] std::string_view name_of(Channel value);
[[nodiscard]] std::string_view name_of(Direction value);
[[nodiscard]] std::string_view name_of(FileState value);
[[nodiscard]] std::string_view name_of(TokenKind value);
void from_name(std::string_view name, KeyState& value);
void from_name(std::string_view name, Severity& value);
void from_name(std::string_view name, ExposureSource& value);
void from_name(std::string_view name, NoticeState& value);
void from_name(std::string_view name, Channel& value);
void from_name(std::string_view name, Direction& value);
void from_name(std::string_view name, FileState& value);
void from_name(std::string_view name, TokenKind& value);

class Query {
 public:
  Query(Unit& unit, Sql statement) : prepared_(unit.prepare(statement)) {}
  Query(Unit& unit, Sql statement, std::span<const With> clauses)
      : prepared_(unit.prepare(statement, clauses)) {}
  ~Query() { prepared_.reset(); }
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;

  template <class... Values>
  Query& bind(const Values&... values) {
    (put(values), ...);
    return *this;
  }
  /// A list of With{clause, values.size()}: as many parameters as its width.
  Query& bind_list(const std::vector<std::string>& values) {
    for (std::size_t i = 0; i < list_width(values.size()); ++i) {
      put(values[i < values.size() ? i : values.size() - 1]);
    }
    return *this;
  }
  std::int64_t run() { return prepared_.run(); }
  [[nodiscard]] bool next() {
    column_ = 0;
    return prepared_.next();
  }
  template <class... Values>
  void read(Values&... values) {
    (get(values), ...);
  }

 private:
  void put(std::string_view value) { prepared_.bind_text(++parameter_, value); }
  void put(const std::string& value) { put(std::string_view(value)); }
  void put(const char* value) { put(std::string_view(value)); }
  void put(bool value) { put(std::int64_t{value ? 1 : 0}); }
  void put(std::int64_t value) { prepared_.bind_integer(++parameter_, value); }
  void put(std::int32_t value) { put(std::int64_t{value}); }
  void put(std::uint32_t value) { put(std::int64_t{value}); }
  void put(std::uint64_t value) { put(static_cast<std::int64_t>(value)); }
  void put(base::Instant value) { put(std::int64_t{base::to_unix(value)}); }
  void put(const base::Sha256& value);
  void put(const std::optional<Contact>& contact);
  void put(const std::optional<Exposure>& exposure);
  void put(const TimerProgress& progress) { bind(progress.cycle, progress.handled); }
  void put(const std::optional<base::Instant>& value) {
    value ? put(*value) : prepared_.bind_null(++parameter_);
  }
  template <class T>
  void put(const std::vector<T>& list) {
    put(to_json(list));
  }
  template <class T>
  requires std::is_enum_v<T>
  void put(T value) { put(name_of(value)); }

  void get(std::string& value) { value = prepared_.text(column_++); }
  void get(bool& value) { value = prepared_.integer(column_++) != 0; }
  void get(std::int64_t& value) { value = prepared_.integer(column_++); }
  void get(std::int32_t& value) { value = static_cast<std::int32_t>(prepared_.integer(column_++)); }
  void get(std::uint64_t& value) {
    value = static_cast<std::uint64_t>(prepared_.integer(column_++));
  }
  void get(base::Instant& value) { value = base::from_unix(prepared_.integer(column_++)); }
  void get(base::Sha256& value);
  void get(std::optional<Contact>& contact);
  void get(std::optional<Exposure>& exposure);
  void get(TimerProgress& progress) { read(progress.cycle, progress.handled); }
  void get(std::optional<base::Instant>& value) {
    value.reset();
    if (!prepared_.is_null(column_)) value = base::from_unix(prepared_.integer(column_));
    ++column_;
  }
  template <class T>
  void get(std::vector<T>& list) {
    from_json(prepared_.text(column_++), list);
  }
  template <class T>
  requires std::is_enum_v<T>
  void get(T& value) { from_name(prepared_.text(column_++), value); }

  Prepared& prepared_;
  unsigned parameter_ = 0;
  unsigned column_ = 0;
};

/// The rows of a query as records; `read_record(query, record)` reads one.
template <class Record, class Read>
[[nodiscard]] std::vector<Record> all_of(Query& query, Read&& read_record) {
  std::vector<Record> records;
  while (query.next()) read_record(query, records.emplace_back());
  return records;
}

template <class Record, class Read>
[[nodiscard]] std::optional<Record> first_of(Query& query, Read&& read_record) {
  if (!query.next()) return std::nullopt;
  std::optional<Record> record(std::in_place);
  read_record(query, *record);
  return record;
}

/// A query that gives one time, or nothing.
[[nodiscard]] std::optional<base::Instant> one_instant(Unit& unit, Sql statement);

}  // namespace sallyport::store

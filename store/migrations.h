// Inside the store only: brings a database to the schema that this program knows.
//
// Migrations are numbered and only ever added to. Each can be run again after it was cut short: on
// SQLite all of them are one transaction, on MySQL (where a change of schema commits by itself)
// what is there already counts as done, and a named lock keeps two daemons that start together
// apart. Throws Error{schema_newer}, with nothing changed, when a newer Sallyport was here.
#pragma once

#include <span>
#include <string_view>

#include "store/sql.h"

namespace sallyport::store {

struct Migration {
  int number;
  std::string_view name;
  std::span<const std::string_view> statements;
};

/// In order of number: 1, 2, 3, ...
[[nodiscard]] std::span<const Migration> migrations();

void migrate(Connection& connection, const Options& options);

}  // namespace sallyport::store

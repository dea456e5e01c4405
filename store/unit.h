// Inside the store only: a unit of work, and the queries of which it consists.
//
//   Query query(unit, Sql::find_notice);
//   query.bind(id);
//   if (query.next()) query.read(notice.id, notice.kind);
//
// bind() fills the next parameters and read() the next columns, left to right, by the overloads in
// store/codec.h. A Query belongs to the Unit; two at a time of the same statement would be one.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/instant.h"
#include "store/catalogue.h"
#include "store/sql.h"

namespace sallyport::store {

class Unit {
 public:
  Unit(Connection& connection, Dialect dialect) : connection_(connection), dialect_(dialect) {}
  Unit(const Unit&) = delete;
  Unit& operator=(const Unit&) = delete;

  [[nodiscard]] Prepared& prepare(Sql statement) {
    return connection_.prepare(sql_text(statement, dialect_));
  }
  [[nodiscard]] Prepared& prepare(Sql statement, std::span<const With> clauses) {
    return connection_.prepare(sql_text(statement, clauses, dialect_));
  }

  /// Rows that everybody writes are written last, so that others wait for them no longer than a
  /// commit takes. The store calls this before COMMIT.
  void finish();

  struct ChainHead {
    std::int64_t sequence = 0;
    base::Sha256 hash{};
  };
  struct PendingChange {
    std::string key_id;
    base::Instant at{};
  };
  std::map<std::string, ChainHead, std::less<>> chain_heads;  ///< by node; locked in this unit
  std::vector<PendingChange> key_changes;

 private:
  Connection& connection_;
  Dialect dialect_;
};

}  // namespace sallyport::store

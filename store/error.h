// What a store operation can end with when it does not succeed. Thrown; caught where a unit of work
// is retried (Store::write) and at the boundaries (request, scheduler pass, main).
#pragma once

#include <string>

#include "base/error.h"

namespace sallyport::store {

enum class Failure {
  unavailable,  ///< no connection, or it was lost: retry the whole unit of work later
  conflict,   ///< deadlock, lost certification (Galera) or lock wait: retry the whole unit at once
  duplicate,  ///< a unique key exists already: the caller's idempotence decides
  refused,    ///< wrong credentials, no such database, no permission, TLS not trusted
  full,       ///< disk or tablespace full: retry later
  schema_newer,  ///< the database was written by a newer Sallyport: refuse to touch it
  broken         ///< anything else: a defect or a damaged database
};

class Error : public base::Error {
 public:
  Error(Failure kind, int code, const std::string& sentence)
      : base::Error(sentence), kind_(kind), code_(code) {}
  [[nodiscard]] Failure kind() const noexcept { return kind_; }
  /// The library's own code (SQLite extended result code, MySQL error number).
  [[nodiscard]] int code() const noexcept { return code_; }

 private:
  Failure kind_;
  int code_;
};

}  // namespace sallyport::store

// Inside the store only: one connection to a database and its prepared statements, whatever the
// driver. Everything above (units, queries, migrations) speaks to these two classes.
//
// Ownership: a Connection owns its statements; a Prepared stays valid as long as its connection.
// Threads: one at a time a connection. Failures: everything throws store::Error, reset() and
// rollback() excepted; after a lost connection usable() is false and the connection is to be
// dropped. Messages hold statement texts, never bound values.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "store/store.h"

namespace sallyport::store {

/// Parameters count from 1, columns from 0. Bind all parameters, then call run() or next().
class Prepared {
 public:
  virtual ~Prepared() = default;

  virtual void bind_null(unsigned parameter) = 0;
  virtual void bind_integer(unsigned parameter, std::int64_t value) = 0;
  virtual void bind_text(unsigned parameter, std::string_view value) = 0;
  virtual void bind_bytes(unsigned parameter, std::string_view value) = 0;

  /// Runs a statement that gives no rows; how many rows it inserted, deleted or matched.
  virtual std::int64_t run() = 0;
  /// Runs a query when called first; false after the last row.
  [[nodiscard]] virtual bool next() = 0;
  [[nodiscard]] virtual bool is_null(unsigned column) = 0;
  [[nodiscard]] virtual std::int64_t integer(unsigned column) = 0;
  [[nodiscard]] virtual std::string text(unsigned column) = 0;

  /// Ready to be bound and run again.
  virtual void reset() noexcept = 0;
};

/// More statements than this are forgotten when the next unit begins: filters make many texts.
inline constexpr std::size_t most_prepared = 400;

class Connection {
 public:
  virtual ~Connection() = default;

  /// Kept for the next time that the same text is asked for.
  [[nodiscard]] virtual Prepared& prepare(const std::string& text) = 0;
  /// One statement without parameters or rows.
  virtual void execute(const std::string& text) = 0;

  virtual void begin(bool writes) = 0;
  virtual void commit() = 0;
  /// Ends a transaction, if one is open; a connection that cannot do that is no longer usable.
  virtual void rollback() noexcept = 0;
  [[nodiscard]] virtual bool usable() const noexcept = 0;
};

/// `writes` false: a connection that can only read.
[[nodiscard]] std::unique_ptr<Connection> connect_sqlite(const Options& options, bool writes);
[[nodiscard]] std::unique_ptr<Connection> connect_mysql(const Options& options);

/// "SELECT a, b FROM ..." cut to a length that suits a log line.
[[nodiscard]] std::string shortened(std::string_view text);
/// The text itself, or a copy with U+FFFD for every byte that is not part of well-formed UTF-8.
[[nodiscard]] std::string_view valid_utf8(std::string_view text, std::string& copy);

}  // namespace sallyport::store

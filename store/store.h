// The store: a pool of connections to SQLite (the embedded default) or MySQL/MariaDB/Galera, and
// the unit of work, the only way to read or change anything.
//
//   store.write([&](Unit& unit) { ... insert_notice(unit, notice); update_key(unit, key); });
//
// A unit of work is one transaction: committed when the function returns, rolled back when it
// throws. On a conflict (a deadlock, a lost certification of Galera, a lock that is not given up)
// the whole function is run again, five to fifteen times within 3 s; therefore it must be
// idempotent by its keys and must not do anything else than store work. Units do not nest. A lost
// connection is thrown as Error{unavailable} after one reconnect and one retry where nothing can
// have been committed.
//
// Text is kept byte for byte, NUL and trailing spaces too; what is not UTF-8 is kept with U+FFFD in
// the place of each bad byte, for a MySQL server takes nothing else.
//
// Threads: Store is safe from any thread; a Unit belongs to the call it is passed to.
// What can be done in a unit stands beside its records: store/keys.h, notices.h, files.h,
// partners.h, admins.h, activity.h, cluster.h.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "base/secret.h"
#include "store/error.h"

namespace sallyport::store {

class Unit;

enum class Dialect { sqlite, mysql };

struct Options {
  Dialect dialect = Dialect::sqlite;
  std::string sqlite_path;  ///< file; its directory must exist and be writable
  std::string host = "localhost";
  std::uint16_t port = 3306;
  std::string unix_socket;  ///< MySQL over this socket instead of host:port, if not empty
  std::string user;
  base::Secret password;
  std::string database;
  std::string tls_ca;  ///< verify authority and name; mandatory for a host that is not loopback
  unsigned connections = 4;      ///< most connections at once
  unsigned lock_wait_ms = 2000;  ///< how long to wait for a lock before it counts as a conflict
};

class Store {
 public:
  virtual ~Store() = default;

  template <class Work>
  auto write(Work&& work) {
    return run_typed(true, std::forward<Work>(work));
  }
  /// A consistent snapshot; nothing may be changed.
  template <class Work>
  auto read(Work&& work) {
    return run_typed(false, std::forward<Work>(work));
  }

  [[nodiscard]] virtual Dialect dialect() const = 0;
  /// One round trip: throws Error when the store does not answer.
  virtual void ping() = 0;

 protected:
  virtual void run(bool writes, const std::function<void(Unit&)>& work) = 0;

 private:
  template <class Work>
  auto run_typed(bool writes, Work&& work) {
    using Result = std::invoke_result_t<Work, Unit&>;
    if constexpr (std::is_void_v<Result>) {
      run(writes, [&](Unit& unit) { work(unit); });
    } else {
      std::optional<Result> result;
      run(writes, [&](Unit& unit) { result.emplace(work(unit)); });
      return std::move(*result);
    }
  }
};

/// From now on this thread's units of work let those of other threads go first, where they would
/// wait for each other: nobody waits for what it does. It gets its turn all the same.
void work_in_background() noexcept;

/// Opens and migrates (numbered, re-runnable migrations; a newer schema is refused untouched).
/// Throws Error that says what to do.
[[nodiscard]] std::unique_ptr<Store> open_store(Options options);

}  // namespace sallyport::store

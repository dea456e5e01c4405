// What is wrong at the moment, for `sallyportctl status`, the service manager's status line and the
// log: a named condition with one sentence for an operator.
//
// Thread-safe. A condition is logged when it is raised, when its sentence changes and when it is
// cleared, not each time it is raised again. Nothing here fails.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/locked.h"

namespace sallyport::daemon {

struct HealthCondition {
  std::string name;  ///< stable: "store.unavailable", "notices.failed", "backup.unreachable"
  std::string sentence;
  base::Instant since{};
};

class Health {
 public:
  explicit Health(const base::Clock& clock) : clock_(clock) {}

  void raise(std::string_view name, std::string_view sentence);
  /// Nothing happens if it was not raised.
  void clear(std::string_view name);
  /// raise() if `wrong`, else clear().
  void set(std::string_view name, bool wrong, std::string_view sentence) {
    wrong ? raise(name, sentence) : clear(name);
  }
  [[nodiscard]] std::vector<HealthCondition> list();
  [[nodiscard]] bool good() { return list().empty(); }

  /// Called, without any lock held, after each change; set once before threads start.
  void on_change(std::function<void()> callback) { changed_ = std::move(callback); }

 private:
  const base::Clock& clock_;
  base::Locked<std::map<std::string, HealthCondition, std::less<>>> conditions_;
  std::function<void()> changed_;
};

}  // namespace sallyport::daemon

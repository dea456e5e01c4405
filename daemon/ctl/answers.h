// Reading the daemon's answers for tables and facts. What is missing or of another type is empty
// text, 0 or an empty list: a table that lacks a cell is better than none.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/instant.h"
#include "daemon/http/json.h"

namespace sallyport::daemon::ctl {

/// A text as it is, null as "", anything else as JSON.
[[nodiscard]] std::string text_of(const Json& value);
[[nodiscard]] inline std::string text_of(const Json& object, std::string_view name) {
  return text_of(object[name]);
}
[[nodiscard]] std::int64_t number_of(const Json& value);
[[nodiscard]] bool is_true(const Json& value);
[[nodiscard]] const Json::Array& items_of(const Json& list);
/// Texts, and the displayName of objects, with commas between them.
[[nodiscard]] std::string joined(const Json& list, std::string_view when_empty = "");

/// "512 B", "1.5 MiB".
[[nodiscard]] std::string size_text(std::int64_t bytes);
/// Unix milliseconds, as keys have them.
[[nodiscard]] std::optional<base::Instant> instant_of(const Json& milliseconds);
/// The same as people read it.
[[nodiscard]] std::string when(const Json& milliseconds);
/// "2026-11-22T14:30:00Z", as files and notices have it, as people read it.
[[nodiscard]] std::string time_text(const std::string& iso);
/// The same for what may never be: null is "never".
[[nodiscard]] std::string time_or_never(const Json& iso);

}  // namespace sallyport::daemon::ctl

// Files as JSON and CSV, for the routes. Pure.
#pragma once

#include <string>
#include <vector>

#include "daemon/http/json.h"
#include "store/files.h"

namespace sallyport::daemon {

[[nodiscard]] std::string_view to_string(store::Direction direction);
[[nodiscard]] Json to_json(const store::File& file);
/// With its history.
[[nodiscard]] Json to_json(const store::File& file, const std::vector<store::FileStep>& steps,
                           const std::vector<store::FileTask>& tasks);

[[nodiscard]] std::string csv_header();
[[nodiscard]] std::string csv_row(const store::File& file);

}  // namespace sallyport::daemon

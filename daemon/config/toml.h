// Reads TOML into plain values with their lines. The only place that knows the TOML library.
#pragma once

#include <string>
#include <string_view>

#include "daemon/config/options.h"

namespace sallyport::daemon {

/// Throws ConfigError "FILE:LINE: ..." for text that is no TOML.
[[nodiscard]] RawTable read_toml(std::string_view text, const std::string& name);

}  // namespace sallyport::daemon

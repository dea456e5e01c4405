// What the service manager is told (sd_notify). Without one every call does nothing.
// Thread-safe.
#pragma once

#include <chrono>
#include <optional>
#include <string>

namespace sallyport::daemon {

void tell_ready(const std::string& status);
void tell_status(const std::string& status);
void tell_reloading();
void tell_stopping();
void tell_alive();
/// How often tell_alive() is wanted; nullopt: not at all.
[[nodiscard]] std::optional<std::chrono::milliseconds> watchdog_interval();
/// True when a service manager started this process.
[[nodiscard]] bool is_managed();

}  // namespace sallyport::daemon

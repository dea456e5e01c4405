#include "daemon/app/notify_manager.h"

#include <fmt/format.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include <algorithm>
#include <cstdlib>

namespace sallyport::daemon {
namespace {

// A status is one line of an environment-like text.
std::string one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

}  // namespace

void tell_ready(const std::string& status) {
  ::sd_notify(0, fmt::format("READY=1\nSTATUS={}", one_line(status)).c_str());
}

void tell_status(const std::string& status) {
  ::sd_notify(0, ("STATUS=" + one_line(status)).c_str());
}

void tell_reloading() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  const auto microseconds = static_cast<std::int64_t>(now.tv_sec) * 1'000'000 + now.tv_nsec / 1000;
  ::sd_notify(0, fmt::format("RELOADING=1\nMONOTONIC_USEC={}", microseconds).c_str());
}

void tell_stopping() {
  ::sd_notify(0, "STOPPING=1\nSTATUS=Stopping");
}

void tell_alive() {
  ::sd_notify(0, "WATCHDOG=1");
}

std::optional<std::chrono::milliseconds> watchdog_interval() {
  std::uint64_t microseconds = 0;
  if (::sd_watchdog_enabled(0, &microseconds) <= 0) return std::nullopt;
  // Three chances before it bites.
  return std::chrono::milliseconds{std::max<std::uint64_t>(microseconds / 3000, 100)};
}

bool is_managed() {
  return std::getenv("NOTIFY_SOCKET") != nullptr || std::getenv("INVOCATION_ID") != nullptr;
}

}  // namespace sallyport::daemon

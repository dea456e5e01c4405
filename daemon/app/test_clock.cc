#include "daemon/app/test_clock.h"

#include <charconv>
#include <string>

#include "base/log.h"
#include "store/cluster.h"

namespace sallyport::daemon {
namespace {

constexpr std::string_view setting = "test_clock.offset";

}  // namespace

void TestClock::restore() {
  const auto text =
      store_.read([](store::Unit& unit) { return store::get_setting(unit, setting); });
  if (!text) return;
  std::int64_t seconds = 0;
  std::from_chars(text->data(), text->data() + text->size(), seconds);
  const base::Seconds by = base::Seconds{seconds} - clock_.offset();
  watch_.step(by, [&] { clock_.advance(by); });
  base::log_notice("clock.test", {{"offset", seconds}}, "The test clock is {} s ahead", seconds);
}

bool TestClock::advance(base::Seconds by, Scheduler& scheduler,
                        std::chrono::steady_clock::time_point deadline) {
  // Remembered first: after a crash in between the instance is where it was told to be.
  const auto offset = (clock_.offset() + by).count();
  store_.write(
      [&](store::Unit& unit) { store::put_setting(unit, setting, std::to_string(offset)); });
  watch_.step(by, [&] { clock_.advance(by); });
  base::log_notice("clock.test", {{"offset", offset}}, "The test clock was moved by {} s",
                   by.count());
  return scheduler.drain(deadline);
}

}  // namespace sallyport::daemon

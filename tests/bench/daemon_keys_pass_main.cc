// What a pass over keys costs when nothing is due, for keys_pass_bench.
//
//   daemon_keys_pass make sqlite FILE                          one key, due in a year
//   daemon_keys_pass make mysql SOCKET USER PASSWORDFILE DATABASE
//   daemon_keys_pass time ROUNDS <as above>                    prints the median in microseconds of
//                                                              asking when and finding nothing
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/file_io.h"
#include "daemon/keys/lifecycle_pass.h"
#include "store/keys.h"

namespace {

using namespace sallyport;

class DeafObserver final : public daemon::KeyObserver {
 public:
  void key_changed(const store::ApiKey& /*key*/,
                   const std::vector<store::KeyValue>& /*values*/) noexcept override {}
  void key_deleted(std::string_view /*id*/) noexcept override {}
};

std::unique_ptr<store::Store> open(const std::vector<std::string>& args) {
  store::Options options;
  if (args.size() == 2 && args[0] == "sqlite") {
    options.sqlite_path = args[1];
  } else if (args.size() == 5 && args[0] == "mysql") {
    options.dialect = store::Dialect::mysql;
    options.unix_socket = args[1];
    options.user = args[2];
    options.password = base::read_secret(args[3]);
    options.database = args[4];
  } else {
    throw base::Error("usage: see the first lines of daemon_keys_pass_main.cc");
  }
  return store::open_store(std::move(options));
}

void make(store::Store& store, base::Instant now) {
  store::ApiKey key;
  key.id = base::random_id();
  key.display_name = "benchmark key";
  key.template_id = "ANONYMOUS_SEARCH";
  key.created_by = "bench@example.com";
  key.created = key.activated = now;
  key.next_due = now + base::Seconds{365 * 86400};
  store.write([&](store::Unit& unit) { store::insert_key(unit, key, base::sha256(key.id)); });
}

double time_passes(store::Store& store, base::Instant now, int rounds) {
  const base::ManualClock clock(now);
  const daemon::LiveConfig live(daemon::Config{});
  const daemon::KeyTemplates templates = daemon::load_templates("");
  const daemon::ActivityLog activity("bench", clock);
  daemon::Health health(clock);
  daemon::NoWaker waker;
  DeafObserver observer;
  const daemon::TrustedClock guard;
  daemon::KeyService keys(
      {store, live, clock, templates, activity, health, waker, observer, guard});
  daemon::LifecyclePass pass(keys, {});
  std::vector<double> micros;
  for (int i = 0; i < rounds; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    const auto due = pass.earliest();
    const bool more = pass.run_pass(now);
    const auto end = std::chrono::steady_clock::now();
    if (!due || *due <= now || more) throw base::Error("something is due");
    micros.push_back(std::chrono::duration<double, std::micro>(end - begin).count());
  }
  std::nth_element(micros.begin(), micros.begin() + rounds / 2, micros.end());
  return micros[static_cast<std::size_t>(rounds) / 2];
}

}  // namespace

int main(int argc, char** argv) {
  try {
    std::vector<std::string> args(argv + 1, argv + argc);
    const auto now = std::chrono::floor<base::Seconds>(std::chrono::system_clock::now());
    const bool timing = args.size() > 1 && args[0] == "time";
    int rounds = 0;
    if (timing) std::from_chars(args[1].data(), args[1].data() + args[1].size(), rounds);
    args.erase(args.begin(), args.begin() + (timing ? 2 : std::min<std::ptrdiff_t>(1, argc - 1)));
    const auto store = open(args);
    if (timing) {
      fmt::print("{:.1f}\n", time_passes(*store, now, std::max(1, rounds)));
    } else {
      make(*store, now);
    }
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "daemon_keys_pass: {}\n", error.what());
    return 1;
  }
}

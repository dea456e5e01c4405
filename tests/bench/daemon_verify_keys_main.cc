// Keys by the million for verify_bench: fills a store, and times the table that verification reads.
//
//   daemon_verify_keys fill DB COUNT DUE AT   COUNT new keys with 20-character names in the SQLite
//                                             file DB; the first DUE of them expire at the Unix
//                                             time AT. Prints the values of the last 1000.
//   daemon_verify_keys table DB               loads DB into a table; prints as NAME VALUE lines the
//                                             seconds, PSS per key, and how long a change and a
//                                             look-up take
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "daemon/verify/table.h"
#include "store/keys.h"
#include "store/store.h"

namespace {

using namespace sallyport;
using Clock = std::chrono::steady_clock;

constexpr int keys_per_unit = 50'000;
constexpr int shown_values = 1000;
constexpr int timed_changes = 2000;

std::string value_of(int number) {
  return base::to_hex(base::sha256(fmt::format("bench key {}", number))).substr(0, 40);
}

/// In the order of the numbers, so that filling appends to the tables; reading a table in the order
/// of its key is the same with random ones.
std::string id_of(int number) {
  static constexpr char digits[] = "234567abcdefghijklmnopqrstuvwxyz";
  const base::Sha256 hash = base::sha256(fmt::format("id {}", number));
  std::string id;
  for (int shift = 25; shift >= 0; shift -= 5)
    id += digits[(static_cast<unsigned>(number) >> static_cast<unsigned>(shift)) & 31U];
  for (std::size_t i = 0; id.size() < 26; ++i) id += digits[hash[i] & 31U];
  return id;
}

store::ApiKey key_of(int number, int due, base::Instant now, base::Instant at) {
  store::ApiKey key;
  key.id = id_of(number);
  key.display_name = fmt::format("benchmark key {:06}", number % 1'000'000);
  key.template_id = number < due ? "CUSTOM" : "ANONYMOUS_SEARCH";
  key.privileges = {{"SEARCH_API", "EXECUTE_QUERY", "", ""},
                    {"USAGE_ANALYTICS", "ANALYTICS_DATA", "EDIT", ""}};
  key.value_last4 = value_of(number).substr(36);
  key.created_by = "bench@example.com";
  key.created = now;
  key.activated = now;
  if (number < due) {
    key.expires_at = at;
    key.next_due = at;
    // Its two warnings have gone out.
    key.expiry_progress = {at, 2};
  } else {
    key.next_due = now + std::chrono::days(300);
  }
  return key;
}

std::unique_ptr<store::Store> open(const char* path) {
  store::Options options;
  options.sqlite_path = path;
  return store::open_store(std::move(options));
}

int fill(const char* path, int count, int due, base::Instant at) {
  const auto store = open(path);
  const base::Instant now = base::SystemClock().now();
  for (int start = 0; start < count; start += keys_per_unit) {
    store->write([&](store::Unit& unit) {
      for (int i = start; i < std::min(count, start + keys_per_unit); ++i) {
        store::insert_key(unit, key_of(i, due, now, at), base::sha256(value_of(i)));
      }
    });
  }
  for (int i = std::max(0, count - shown_values); i < count; ++i) std::puts(value_of(i).c_str());
  return 0;
}

double pss_bytes() {
  std::ifstream rollup("/proc/self/smaps_rollup");
  for (std::string word; rollup >> word;) {
    if (word == "Pss:") {
      double kilobytes = 0;
      rollup >> kilobytes;
      return kilobytes * 1024;
    }
  }
  throw std::runtime_error("/proc/self/smaps_rollup does not tell the memory");
}

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

int time_table(const char* path) {
  const auto store = open(path);
  const base::SystemClock clock;
  daemon::VerificationTable table({}, clock);
  // One page first: the store's own caches are no memory of the table.
  static_cast<void>(store->read(
      [](store::Unit& unit) { return store::list_verify_rows(unit, nullptr, 10'000).size(); }));
  const double before = pss_bytes();
  const auto started = Clock::now();
  table.load(*store);
  std::printf("load_seconds %.3f\n", seconds_since(started));
  std::printf("keys %zu\n", table.size());
  if (table.size() == 0) return 1;
  std::printf("pss_per_key %.1f\n", (pss_bytes() - before) / static_cast<double>(table.size()));

  std::mt19937 random(7);
  std::uniform_int_distribution<int> any(0, static_cast<int>(table.size()) - 1);
  std::vector<double> changes;
  for (int i = 0; i < timed_changes; ++i) {
    const int number = any(random);
    auto key = store->read([&](store::Unit& unit) { return store::find_key(unit, id_of(number)); });
    if (!key) return 1;
    key->state = store::KeyState::revoked;
    ++key->version;
    const store::KeyValue value{base::sha256(value_of(number)), key->id, {}};
    const auto start = Clock::now();
    table.key_changed(*key, {value});
    changes.push_back(seconds_since(start));
    if (table.find(value.sha256).standing_at(clock.now()) != daemon::Standing::revoked) {
      std::fprintf(stderr, "a change was not in force when it had been made\n");
      return 1;
    }
  }
  std::sort(changes.begin(), changes.end());
  std::printf("change_median_us %.1f\n", changes[changes.size() / 2] * 1e6);
  std::printf("change_p99_us %.1f\n", changes[changes.size() * 99 / 100] * 1e6);
  std::printf("change_max_us %.1f\n", changes.back() * 1e6);

  constexpr int lookups = 1'000'000;
  std::vector<base::Sha256> wanted;
  for (int i = 0; i < 10'000; ++i) wanted.push_back(base::sha256(value_of(any(random))));
  std::size_t known = 0;
  const auto start = Clock::now();
  for (int i = 0; i < lookups; ++i)
    known += table.find(wanted[static_cast<std::size_t>(i) % wanted.size()]).known() ? 1 : 0;
  std::printf("lookup_us %.3f\n", seconds_since(start) / lookups * 1e6);
  return known == lookups ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  try {
    if (words.size() == 5 && words[0] == "fill") {
      return fill(argv[2], std::stoi(words[2]), std::stoi(words[3]),
                  base::from_unix(std::stoll(words[4])));
    }
    if (words.size() == 2 && words[0] == "table") return time_table(argv[2]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "daemon_verify_keys: %s\n", error.what());
    return 1;
  }
  std::fprintf(stderr, "usage: daemon_verify_keys fill DB COUNT DUE AT | table DB\n");
  return 2;
}

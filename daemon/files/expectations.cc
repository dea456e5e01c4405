#include "daemon/files/expectations.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/bytes.h"
#include "base/log.h"
#include "daemon/files/announce.h"
#include "store/cluster.h"

namespace sallyport::daemon {
namespace {

using store::Unit;

constexpr std::array<std::string_view, 7> day_names{"mon", "tue", "wed", "thu",
                                                    "fri", "sat", "sun"};
/// After a long time off: no more than this many occurrences of each are looked at.
constexpr int most_catch_up = 31;

std::size_t weekday_of(base::Instant at) {
  const std::chrono::weekday day{std::chrono::floor<std::chrono::days>(at)};
  return day.iso_encoding() - 1;
}

bool parse_days(std::string_view text, std::array<bool, 7>& days) {
  if (text == "daily") {
    days.fill(true);
    return true;
  }
  if (text == "weekdays") {
    std::fill_n(days.begin(), 5, true);
    return true;
  }
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    std::string_view name = text.substr(0, comma);
    while (!name.empty() && name.front() == ' ') name.remove_prefix(1);
    while (!name.empty() && name.back() == ' ') name.remove_suffix(1);
    const auto day = std::find(day_names.begin(), day_names.end(), name);
    if (day == day_names.end()) return false;
    days[static_cast<std::size_t>(day - day_names.begin())] = true;
    if (comma == std::string_view::npos) return true;
    text.remove_prefix(comma + 1);
  }
  return false;
}

std::optional<base::Seconds> parse_time(std::string_view text) {
  int hour = 0;
  int minute = 0;
  if (text.size() != 5 || text[2] != ':') return std::nullopt;
  const auto first = std::from_chars(text.data(), text.data() + 2, hour);
  const auto second = std::from_chars(text.data() + 3, text.data() + 5, minute);
  if (first.ec != std::errc() || first.ptr != text.data() + 2 || second.ec != std::errc() ||
      second.ptr != text.data() + 5 || hour < 0 || hour > 23 || minute < 0 || minute > 59) {
    return std::nullopt;
  }
  return base::Seconds{hour * 3600 + minute * 60};
}

std::string rule_words(const Expectation& expectation, const std::string& days,
                       const std::string& by) {
  std::string words = fmt::format(
      "{} by {} UTC, ",
      days == "weekdays" ? "on weekdays" : (days == "daily" ? "every day" : "on " + days), by);
  if (!expectation.most_files) {
    words += fmt::format("at least {}", expectation.least_files);
  } else if (*expectation.most_files == expectation.least_files) {
    words += fmt::format("exactly {}", expectation.least_files);
  } else {
    words += fmt::format("{} to {}", expectation.least_files, *expectation.most_files);
  }
  words += expectation.least_files == 1 && (!expectation.most_files || *expectation.most_files == 1)
               ? " file"
               : " files";
  if (expectation.least_bytes > 0) {
    words += fmt::format(" of at least {} bytes", expectation.least_bytes);
  }
  return words;
}

std::string setting_of(const Expectation& expectation) {
  return "expectation." + expectation.id();
}

/// How far it has been looked, and how many files were missing there.
struct Seen {
  base::Instant until{};
  std::int64_t missing = 0;
};

std::string text_of(const Seen& seen) {
  return fmt::format("{} {}", base::to_unix(seen.until), seen.missing);
}

Seen parse_seen(const std::string& text) {
  char* rest = nullptr;
  Seen seen;
  seen.until = base::from_unix(std::strtoll(text.c_str(), &rest, 10));
  seen.missing = std::strtoll(rest, nullptr, 10);  // 0 where an older version wrote it
  return seen;
}

}  // namespace

std::string Expectation::id() const {
  std::string text = partner + '/' + object + '/';
  for (const bool day : days) text += day ? '1' : '0';
  text += '/' + std::to_string(by.count());
  const base::Sha256 digest = base::sha256(text);
  return base::to_hex(digest).substr(0, 26);
}

base::Instant Expectation::next(base::Instant after) const {
  base::Instant at = base::start_of_day(after) + by;
  while (at <= after || !days[weekday_of(at)]) at += base::one_day;
  return at;
}

base::Instant Expectation::previous(base::Instant before) const {
  base::Instant at = base::start_of_day(before) + by;
  while (at >= before || !days[weekday_of(at)]) at -= base::one_day;
  return at;
}

std::optional<Expectation> parse_expectation(const TableEntry& entry, std::string& problem) {
  Expectation result;
  result.partner = entry.text("partner");
  result.object = entry.text("object");
  const std::string days = entry.text("days");
  const std::string by = entry.text("by");
  if (!parse_days(days, result.days)) {
    problem = "days must be weekdays, daily, or names such as \"mon,thu\"";
    return std::nullopt;
  }
  const auto time = parse_time(by);
  if (!time) {
    problem = "by must be a time such as 06:00";
    return std::nullopt;
  }
  result.by = *time;
  result.least_files = entry.number("min_files", 1);
  if (entry.has("max_files")) result.most_files = entry.number("max_files");
  const std::int64_t bytes = entry.number("min_bytes", 0);
  if (result.least_files < 0 || bytes < 0 ||
      (result.most_files && *result.most_files < result.least_files)) {
    problem = "min_files and min_bytes must not be negative, max_files not less than min_files";
    return std::nullopt;
  }
  result.least_bytes = static_cast<std::uint64_t>(bytes);
  result.words = rule_words(result, days, by);
  return result;
}

std::string judge(const Expectation& expectation, const store::ReceivedCount& found,
                  std::int64_t late) {
  const std::int64_t files = found.files - late;
  std::string words;
  const auto add = [&words](const std::string& text) {
    words += (words.empty() ? "" : "; ") + text;
  };
  if (files <= 0 && expectation.least_files > 0) {
    add("no file had arrived");
  } else if (files < expectation.least_files) {
    add(fmt::format("only {} of {} files had arrived", files, expectation.least_files));
  }
  if (expectation.most_files && files > *expectation.most_files) {
    add(fmt::format("{} files had arrived, at most {} were expected", files,
                    *expectation.most_files));
  }
  if (found.too_small > 0) {
    add(fmt::format("{} of {} files had less than {} bytes", found.too_small, found.files,
                    expectation.least_bytes));
  }
  return words;
}

std::vector<Expectation> ExpectationWork::configured() {
  std::vector<Expectation> result;
  std::string problems;
  for (const TableEntry& entry : context_.config.get()->files.expectations) {
    std::string problem;
    if (auto expectation = parse_expectation(entry, problem)) {
      result.push_back(std::move(*expectation));
    } else {
      problems += (problems.empty() ? "" : "; ") + entry.position + ": " + problem;
    }
  }
  context_.health.set("files.expectations", !problems.empty(),
                      "An expectation of the configuration is not looked at: " + problems);
  return result;
}

std::optional<base::Instant> ExpectationWork::earliest() {
  const auto expectations = configured();
  if (expectations.empty()) return std::nullopt;
  const base::Instant now = context_.now();
  std::optional<base::Instant> first;
  context_.store.read([&](Unit& unit) {
    first.reset();
    for (const Expectation& expectation : expectations) {
      // One that was never looked at has to be noted now, so that its first occurrence counts.
      const auto seen = store::get_setting(unit, setting_of(expectation));
      const base::Instant due = seen ? expectation.next(parse_seen(*seen).until) : now;
      if (!first || due < *first) first = due;
    }
  });
  return first;
}

bool ExpectationWork::run_pass(base::Instant now) {
  for (const Expectation& expectation : configured()) {
    const auto seen = context_.store.read(
        [&](Unit& unit) { return store::get_setting(unit, setting_of(expectation)); });
    if (!seen) {
      context_.store.write([&](Unit& unit) {
        store::put_setting(unit, setting_of(expectation), text_of({now, 0}));
      });
      continue;
    }
    auto [last, missing] = parse_seen(*seen);
    base::Instant oldest = now;
    for (int i = 0; i < most_catch_up; ++i) oldest = expectation.previous(oldest);
    last = std::max(last, oldest - base::Seconds{1});
    for (base::Instant at = expectation.next(last); at <= now; at = expectation.next(at)) {
      look_at(expectation, at, missing, now);
    }
  }
  return false;
}

void ExpectationWork::look_at(const Expectation& expectation, base::Instant occurrence,
                              std::int64_t& missing, base::Instant now) {
  const base::Instant from = expectation.previous(occurrence);
  const base::Instant nearer = from + (occurrence - from) / 2;
  const auto config = context_.config.get();
  std::string finding;
  std::int64_t missing_now = 0;
  context_.store.write([&](Unit& unit) {
    finding.clear();
    const auto count = [&](base::Instant start, base::Instant end) {
      return store::count_received(unit, expectation.partner, expectation.object, start, end,
                                   expectation.least_bytes);
    };
    // What was not even there to be expected is not missing.
    const auto partner = store::find_partner(unit, expectation.partner);
    const bool expected = partner && partner->active;
    const store::ReceivedCount found = count(from, occurrence);
    const std::int64_t late = std::min(missing, count(from, nearer).files);
    missing_now =
        expected ? std::max<std::int64_t>(0, expectation.least_files - (found.files - late)) : 0;
    store::put_setting(unit, setting_of(expectation), text_of({occurrence, missing_now}));
    if (!expected) return;
    finding = judge(expectation, found, late);
    if (finding.empty()) return;
    notify::Facts facts;
    facts.kind = notify::Kind::expectation_missed;
    facts.happened_at = now;
    facts.deadline = occurrence;
    facts.expectation = notify::ExpectationFacts{expectation.object, expectation.words, finding};
    announce_facts(unit, *config, *partner, std::move(facts), "expectation", expectation.id(),
                   occurrence, true);
  });
  missing = missing_now;
  if (finding.empty()) return;
  base::log_notice("expectation.missed",
                   {{"partner", expectation.partner}, {"object", expectation.object}},
                   "expected {}: {}", expectation.words, finding);
  context_.waker.wake("outbox");
}

}  // namespace sallyport::daemon

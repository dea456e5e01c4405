#include "daemon/hook/hook_message.h"

#include <algorithm>
#include <charconv>

namespace sallyport::daemon {
namespace {

constexpr std::string_view fact_prefix = "SALLYPORT_";
constexpr std::string_view limit_prefix = "limit=";
constexpr std::string_view exit_prefix = "exit ";
constexpr std::string_view signal_prefix = "signal ";
constexpr std::string_view timeout_line = "timeout";
constexpr std::string_view refused_prefix = "refused ";

bool starts_with(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

template <class Number>
std::optional<Number> whole_number(std::string_view text, Number least, Number most) {
  Number value{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || stop != end || value < least || value > most) return std::nullopt;
  return value;
}

bool is_fact(std::string_view entry) {
  const std::size_t equals = entry.find('=');
  if (equals == entry.npos || equals <= fact_prefix.size()) return false;
  const std::string_view name = entry.substr(0, equals);
  return starts_with(name, fact_prefix) && std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
         });
}

}  // namespace

std::string encode(const HookRequest& request) {
  std::string bytes = std::string(limit_prefix) + std::to_string(request.limit.count());
  bytes += '\0';
  for (const std::string& fact : request.facts) {
    bytes += fact;
    bytes += '\0';
  }
  bytes += '\0';
  return bytes;
}

bool is_whole_hook_request(std::string_view bytes) {
  return bytes.size() >= 2 && bytes.substr(bytes.size() - 2) == std::string_view("\0\0", 2);
}

std::optional<HookRequest> decode_hook_request(std::string_view bytes) {
  if (!is_whole_hook_request(bytes) || bytes.size() > hook_request_limit) return std::nullopt;
  bytes.remove_suffix(1);
  HookRequest request;
  bool has_limit = false;
  while (!bytes.empty()) {
    const std::string_view entry = bytes.substr(0, bytes.find('\0'));
    bytes.remove_prefix(entry.size() + 1);
    if (!has_limit) {
      if (!starts_with(entry, limit_prefix)) return std::nullopt;
      const auto seconds =
          whole_number<std::int64_t>(entry.substr(limit_prefix.size()), 1, hook_longest.count());
      if (!seconds) return std::nullopt;
      request.limit = std::chrono::seconds{*seconds};
      has_limit = true;
      continue;
    }
    if (!is_fact(entry)) return std::nullopt;
    request.facts.emplace_back(entry);
  }
  if (!has_limit) return std::nullopt;
  return request;
}

std::string encode(const HookOutcome& outcome) {
  std::string line;
  if (!outcome.refused.empty()) {
    line = std::string(refused_prefix) + outcome.refused;
    std::replace(line.begin(), line.end(), '\n', ' ');
  } else if (outcome.timed_out) {
    line = timeout_line;
  } else if (outcome.exit_code) {
    line = std::string(exit_prefix) + std::to_string(*outcome.exit_code);
  } else {
    line = std::string(signal_prefix) + std::to_string(outcome.signal);
  }
  return line + "\n" + outcome.output.substr(0, hook_output_limit);
}

std::optional<HookOutcome> decode_hook_outcome(std::string_view bytes) {
  const std::size_t end = bytes.find('\n');
  if (end == bytes.npos) return std::nullopt;
  const std::string_view line = bytes.substr(0, end);
  HookOutcome outcome;
  outcome.output = std::string(bytes.substr(end + 1, hook_output_limit));
  if (line == timeout_line) {
    outcome.timed_out = true;
    return outcome;
  }
  if (starts_with(line, refused_prefix) && line.size() > refused_prefix.size()) {
    outcome.refused = std::string(line.substr(refused_prefix.size()));
    return outcome;
  }
  if (starts_with(line, exit_prefix)) {
    outcome.exit_code = whole_number(line.substr(exit_prefix.size()), 0, 255);
    if (outcome.exit_code) return outcome;
  }
  if (starts_with(line, signal_prefix)) {
    if (const auto number = whole_number(line.substr(signal_prefix.size()), 1, 255)) {
      outcome.signal = *number;
      return outcome;
    }
  }
  return std::nullopt;
}

}  // namespace sallyport::daemon

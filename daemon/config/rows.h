// Builders of option rows, one for each type of value. Only option_table.cc needs them.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/config/options.h"

namespace sallyport::daemon::rows {

/// The name of an option and how to reach its member, of a constant Config too.
#define SALLYPORT_AT(path)           \
#path, [](auto& config) -> auto& { \
    return config.path;              \
  }

/// When a change takes effect. each_file: as live, and looked up for each file, so that it can be
/// set for an object of a partner, too; what a session reads at its login cannot.
enum When { restart, live, each_file };

/// What a text must be: nullopt if it is.
using Check = Problem (*)(const std::string& text);
Problem anything(const std::string& text);
Problem absolute_path(const std::string& text);  ///< or empty
Problem not_empty(const std::string& text);
Problem identifier(const std::string& text);  ///< letters, digits and -_. of at most 64
Problem mail_address(const std::string& text);
Problem listen_address(const std::string& text);  ///< "127.0.0.1:8480", "[::1]:0", or empty
Problem ip_range(const std::string& text);
Problem http_url(const std::string& text);
Problem name_pattern(const std::string& text);
Problem object_name(const std::string& text);
Problem virtual_directory(const std::string& text);
Problem credential(const std::string& text);  ///< name of a systemd credential, or absolute path

// What each type of value reads and prints.
Problem read(const RawValue& raw, bool& value);
Problem read(const RawValue& raw, std::int64_t& value);
Problem read_size(const RawValue& raw, std::uint64_t& value);
Problem read(const RawValue& raw, base::Seconds& value);
Problem read(const RawValue& raw, base::Period& value);
Problem read(const RawValue& raw, std::string& value);
Problem read(const RawValue& raw, std::vector<std::string>& value);
Problem read(const RawValue& raw, std::vector<base::Seconds>& value);
std::string toml_text(std::string_view text);
std::string print_size(std::uint64_t bytes);
std::string print_list(const std::vector<std::string>& texts);
std::string print_list(const std::vector<base::Seconds>& lengths);

template <class Access>
Option make(std::string_view name, Access at, std::string type, std::string bounds, When when,
            std::string_view help) {
  Option row;
  row.name = name;
  row.type = std::move(type);
  row.bounds = std::move(bounds);
  row.help = help;
  row.live = when != restart;
  row.per_object = when == each_file;
  row.copy = [at](const Config& from, Config& to) { at(to) = at(from); };
  return row;
}

template <class Access>
Option flag(std::string_view name, Access at, When when, std::string_view help) {
  Option row = make(name, at, "true or false", "", when, help);
  row.take = [at](const RawValue& raw, Config& config) { return read(raw, at(config)); };
  row.print = [at](const Config& config) { return std::string(at(config) ? "true" : "false"); };
  return row;
}

template <class Access>
Option number(std::string_view name, Access at, std::int64_t least, std::int64_t most, When when,
              std::string_view help) {
  const std::string bounds = std::to_string(least) + " to " + std::to_string(most);
  Option row = make(name, at, "number", bounds, when, help);
  row.take = [at, least, most, bounds](const RawValue& raw, Config& config) -> Problem {
    std::int64_t value = 0;
    if (auto problem = read(raw, value)) return problem;
    if (value < least || value > most) return "must be " + bounds;
    auto& member = at(config);
    member = static_cast<std::remove_reference_t<decltype(member)>>(value);
    return std::nullopt;
  };
  row.print = [at](const Config& config) { return std::to_string(at(config)); };
  return row;
}

template <class Access>
Option size(std::string_view name, Access at, std::uint64_t least, std::uint64_t most, When when,
            std::string_view help) {
  const std::string bounds = print_size(least) + " to " + print_size(most);
  Option row = make(name, at, "size", bounds, when, help);
  row.take = [at, least, most, bounds](const RawValue& raw, Config& config) -> Problem {
    std::uint64_t value = 0;
    if (auto problem = read_size(raw, value)) return problem;
    if (value < least || value > most) return "must be " + bounds;
    at(config) = value;
    return std::nullopt;
  };
  row.print = [at](const Config& config) { return print_size(at(config)); };
  return row;
}

template <class Access>
Option duration(std::string_view name, Access at, base::Seconds least, base::Seconds most,
                When when, std::string_view help) {
  const std::string bounds = base::format_duration(least) + " to " + base::format_duration(most);
  Option row = make(name, at, "length of time", bounds, when, help);
  row.take = [at, least, most, bounds](const RawValue& raw, Config& config) -> Problem {
    base::Seconds value{0};
    if (auto problem = read(raw, value)) return problem;
    if (value < least || value > most) return "must be " + bounds;
    at(config) = value;
    return std::nullopt;
  };
  row.print = [at](const Config& config) { return toml_text(base::format_duration(at(config))); };
  return row;
}

/// Lengths of time before a deadline, longest first, or after an instant, shortest first.
template <class Access>
Option offsets(std::string_view name, Access at, base::Seconds most, When when,
               std::string_view help, bool longest_first = true) {
  const std::string bounds = "1 to 8 of 1h to " + base::format_duration(most) +
                             (longest_first ? ", longest first" : ", shortest first");
  Option row = make(name, at, "list of lengths of time", bounds, when, help);
  row.take = [at, most, bounds, longest_first](const RawValue& raw, Config& config) -> Problem {
    std::vector<base::Seconds> values;
    if (auto problem = read(raw, values)) return problem;
    bool good = !values.empty() && values.size() <= 8;
    for (std::size_t i = 0; good && i < values.size(); ++i) {
      good = values[i] >= std::chrono::hours{1} && values[i] <= most &&
             (i == 0 || (longest_first ? values[i] < values[i - 1] : values[i] > values[i - 1]));
    }
    if (!good) return "must be " + bounds;
    at(config) = std::move(values);
    return std::nullopt;
  };
  row.print = [at](const Config& config) { return print_list(at(config)); };
  return row;
}

/// A calendar period between P1D and P10Y.
template <class Access>
Option period(std::string_view name, Access at, When when, std::string_view help) {
  Option row = make(name, at, "ISO 8601 period", "P1D to P10Y", when, help);
  row.take = [at](const RawValue& raw, Config& config) -> Problem {
    base::Period value;
    if (auto problem = read(raw, value)) return problem;
    const base::Instant origin{};
    const auto length = base::add(origin, value) - origin;
    if (length < base::one_day || length > base::add(origin, {10, 0, 0, 0}) - origin) {
      return "must be P1D to P10Y";
    }
    at(config) = value;
    return std::nullopt;
  };
  row.print = [at](const Config& config) { return toml_text(base::format_period(at(config))); };
  return row;
}

template <class Access>
Option text(std::string_view name, Access at, std::string type, Check check, When when,
            std::string_view help) {
  Option row = make(name, at, std::move(type), "", when, help);
  row.take = [at, check](const RawValue& raw, Config& config) -> Problem {
    std::string value;
    if (auto problem = read(raw, value)) return problem;
    if (!value.empty() || check == not_empty) {
      if (auto problem = check(value)) return problem;
    }
    at(config) = std::move(value);
    return std::nullopt;
  };
  row.print = [at](const Config& config) { return toml_text(at(config)); };
  return row;
}

template <class Access>
Option choice(std::string_view name, Access at, std::vector<std::string> choices, When when,
              std::string_view help) {
  std::string type = "one of ";
  for (const std::string& one : choices) type += (&one == choices.data() ? "" : ", ") + one;
  Option row = make(name, at, type, "", when, help);
  row.take = [at, type, choices](const RawValue& raw, Config& config) -> Problem {
    std::string value;
    if (auto problem = read(raw, value)) return problem;
    for (const std::string& one : choices) {
      if (one == value) {
        at(config) = std::move(value);
        return std::nullopt;
      }
    }
    return "must be " + type;
  };
  row.print = [at](const Config& config) { return toml_text(at(config)); };
  return row;
}

template <class Access>
Option list(std::string_view name, Access at, std::string type, Check check, When when,
            std::string_view help) {
  Option row = make(name, at, "list of " + type, "", when, help);
  row.take = [at, check](const RawValue& raw, Config& config) -> Problem {
    std::vector<std::string> values;
    if (auto problem = read(raw, values)) return problem;
    for (const std::string& value : values) {
      if (auto problem = check(value)) return "has " + toml_text(value) + ", which " + *problem;
    }
    at(config) = std::move(values);
    return std::nullopt;
  };
  row.print = [at](const Config& config) { return print_list(at(config)); };
  return row;
}

struct Column {
  std::string name;
  enum Type { text, number, flag, list } type = text;
  bool required = false;
};
Problem read_entries(const RawValue& raw, const std::vector<Column>& columns,
                     std::vector<TableEntry>& entries);

/// An array of tables: [[notify.webhook]].
template <class Access>
Option entries(std::string_view name, Access at, std::vector<Column> columns, When when,
               std::string_view help) {
  Option row = make(name, at, "tables", "", when, help);
  row.take = [at, columns](const RawValue& raw, Config& config) -> Problem {
    std::vector<TableEntry> values;
    if (auto problem = read_entries(raw, columns, values)) return problem;
    at(config) = std::move(values);
    return std::nullopt;
  };
  row.print = [](const Config&) { return std::string(); };
  return row;
}

}  // namespace sallyport::daemon::rows

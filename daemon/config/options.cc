#include "daemon/config/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <map>

#include "base/file_io.h"
#include "daemon/config/nearest.h"
#include "daemon/config/toml.h"
#include "daemon/net/ip.h"

namespace sallyport::daemon {
namespace {

std::string nearest_option(std::string_view name) {
  std::string_view best;
  std::size_t least = name.size();
  const std::string_view leaf = name.substr(name.rfind('.') + 1);
  for (const Option& option : option_table()) {
    const std::string_view other = option.name.substr(option.name.rfind('.') + 1);
    // A right name in a wrong section is nearer than a wrong name.
    const std::size_t far = leaf == other ? 1 : typing_distance(name, option.name);
    if (far < least) {
      least = far;
      best = option.name;
    }
  }
  if (best.empty() || least > 2 + name.size() / 3) return "";
  return fmt::format("; did you mean '{}'?", best);
}

std::string nearest_section(std::string_view name) {
  std::vector<std::string> sections;
  for (const Option& option : option_table()) {
    if (const std::size_t dot = option.name.find('.'); dot != option.name.npos) {
      sections.emplace_back(option.name.substr(0, dot));
    }
  }
  return did_you_mean(name, sections);
}

bool is_section(std::string_view name) {
  const std::string prefix = std::string(name) + ".";
  const auto& table = option_table();
  return std::any_of(table.begin(), table.end(), [&](const Option& option) {
    return option.name.substr(0, prefix.size()) == prefix;
  });
}

using Lines = std::map<std::string, unsigned, std::less<>>;

void apply(const RawTable& table, const std::string& prefix, const std::string& file,
           Config& config, Lines& lines, std::vector<std::pair<unsigned, std::string>>& problems) {
  const auto complain = [&](unsigned line, const std::string& what) {
    problems.emplace_back(line, fmt::format("{}:{}: {}", file, line, what));
  };
  for (const auto& [key, raw] : table) {
    const std::string name = prefix + key;
    const auto& rows = option_table();
    const auto row = std::find_if(rows.begin(), rows.end(),
                                  [&](const Option& option) { return option.name == name; });
    if (row != rows.end()) {
      lines[name] = raw.line;
      if (const auto problem = row->take(raw, config)) {
        complain(raw.line, fmt::format("{} {}", name, *problem));
      }
      continue;
    }
    const auto* inner = std::get_if<std::shared_ptr<RawTable>>(&raw.value);
    if (is_section(name)) {
      if (inner != nullptr) {
        apply(**inner, name + ".", file, config, lines, problems);
      } else {
        complain(raw.line,
                 fmt::format("'{}' is a section: its options stand below a line [{}]", name, name));
      }
    } else if (inner != nullptr) {
      complain(raw.line, fmt::format("unknown section '{}'{}", name, nearest_section(name)));
    } else {
      complain(raw.line, fmt::format("unknown option '{}'{}", name, nearest_option(name)));
    }
  }
}

bool is_loopback(const std::string& listen) {
  std::string host = listen.substr(0, listen.rfind(':'));
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  return any_contains({"127.0.0.0/8", "::1"}, host);
}

// A severity's deadline is "at once" or lies within the range of the exposure rules.
bool is_exposure_delay(Seconds delay) {
  return delay == Seconds{0} || delay >= 2 * base::one_day;
}

// What no single option can tell. Each problem has the options that it is about: the first of them
// that stands in the file gives the line.
class WholeCheck {
 public:
  WholeCheck(const std::string& file, const Lines& lines) : file_(file), lines_(lines) {}

  void refuse(std::initializer_list<std::string_view> options, std::string_view what) {
    for (const std::string_view option : options) {
      if (const auto line = lines_.find(option); line != lines_.end()) {
        problems.push_back(fmt::format("{}:{}: {}", file_, line->second, what));
        return;
      }
    }
    problems.push_back(fmt::format("{}: {}", file_, what));
  }

  std::vector<std::string> problems;

 private:
  const std::string& file_;
  const Lines& lines_;
};

void check_whole(const Config& config, WholeCheck& check) {
  if (!config.http.listen.empty() && config.http.certificate_file.empty() &&
      !is_loopback(config.http.listen)) {
    check.refuse({"http.listen"},
                 "http.listen is not a loopback address, which needs http.certificate_file and "
                 "http.private_key_file");
  }
  if (config.http.certificate_file.empty() != config.http.private_key_file.empty()) {
    check.refuse({"http.certificate_file", "http.private_key_file"},
                 "http.certificate_file and http.private_key_file belong together");
  }
  if (!config.http.client_ca_file.empty() && config.http.certificate_file.empty()) {
    check.refuse({"http.client_ca_file"}, "http.client_ca_file needs http.certificate_file");
  }
  if (config.store.driver == "sqlite" && config.store.shared) {
    check.refuse({"store.shared"}, "store.shared needs store.driver = \"mysql\"");
  }
  if (!config.smtp.user.empty() && config.smtp.password_file.empty()) {
    check.refuse({"smtp.user"}, "smtp.user needs smtp.password_file");
  }
  if (!config.files.webhook_url.empty() && config.files.webhook_secret_file.empty()) {
    check.refuse({"files.webhook_url"}, "files.webhook_url needs files.webhook_secret_file");
  }
  if (!config.files.hook.empty() && !config.files.hook_socket.empty()) {
    check.refuse({"files.hook_socket"}, "files.hook and files.hook_socket exclude each other");
  }
  if (config.backup.target == "s3" &&
      (config.backup.s3_endpoint.empty() || config.backup.s3_bucket.empty() ||
       config.backup.s3_credentials_file.empty())) {
    check.refuse({"backup.target"},
                 "backup.target = \"s3\" needs backup.s3_endpoint, backup.s3_bucket and "
                 "backup.s3_credentials_file");
  }
  if (config.notify.retry_most < config.notify.retry_first) {
    check.refuse({"notify.retry_most", "notify.retry_first"},
                 "notify.retry_most is less than notify.retry_first");
  }
  const auto deadline = [&](std::string_view option, Seconds delay) {
    if (!is_exposure_delay(delay)) {
      check.refuse({option}, fmt::format("{} must be \"0\" (at once) or 2d to 30d", option));
    }
  };
  deadline("keys.exposure_critical", config.keys.exposure_critical);
  deadline("keys.exposure_high", config.keys.exposure_high);
  deadline("keys.exposure_medium", config.keys.exposure_medium);
  deadline("keys.exposure_low", config.keys.exposure_low);
  deadline("keys.exposure_warn", config.keys.exposure_warn);
}

std::string wrapped(std::string_view text, std::string_view prefix, std::size_t width) {
  std::string out;
  std::string line(prefix);
  while (!text.empty()) {
    const std::size_t space = text.find(' ');
    const std::string_view word = text.substr(0, space);
    if (line.size() > prefix.size() && line.size() + 1 + word.size() > width) {
      out += line + "\n";
      line = prefix;
    }
    if (line.size() > prefix.size()) line += ' ';
    line += word;
    text = space == text.npos ? std::string_view{} : text.substr(space + 1);
  }
  return out + line + "\n";
}

std::string_view section_of(std::string_view name) {
  const std::size_t dot = name.find('.');
  return dot == name.npos ? std::string_view{} : name.substr(0, dot);
}

}  // namespace

std::string TableEntry::text(const std::string& column, std::string otherwise) const {
  const auto found = values.find(column);
  const auto* got = found == values.end() ? nullptr : std::get_if<std::string>(&found->second);
  return got == nullptr ? std::move(otherwise) : *got;
}
std::int64_t TableEntry::number(const std::string& column, std::int64_t otherwise) const {
  const auto found = values.find(column);
  const auto* got = found == values.end() ? nullptr : std::get_if<std::int64_t>(&found->second);
  return got == nullptr ? otherwise : *got;
}
bool TableEntry::flag(const std::string& column, bool otherwise) const {
  const auto found = values.find(column);
  const auto* got = found == values.end() ? nullptr : std::get_if<bool>(&found->second);
  return got == nullptr ? otherwise : *got;
}
std::vector<std::string> TableEntry::list(const std::string& column) const {
  const auto found = values.find(column);
  if (found == values.end()) return {};
  const auto* got = std::get_if<std::vector<std::string>>(&found->second);
  return got == nullptr ? std::vector<std::string>{} : *got;
}

Config parse_config(std::string_view text, const std::string& name) {
  Config config;
  std::vector<std::pair<unsigned, std::string>> found;
  Lines lines;
  apply(read_toml(text, name), "", name, config, lines, found);
  std::stable_sort(found.begin(), found.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string> problems;
  for (auto& one : found) problems.push_back(std::move(one.second));
  // Options that depend on each other are only looked at when each is right.
  if (problems.empty()) {
    WholeCheck whole(name, lines);
    check_whole(config, whole);
    problems = std::move(whole.problems);
  }
  if (!problems.empty()) throw ConfigError(fmt::format("{}", fmt::join(problems, "\n")));
  config.source_file = name;
  return config;
}

Config load_config(const std::string& path) {
  std::string text;
  try {
    text = base::read_file(path, 1 << 20);
  } catch (const base::Error& error) {
    throw ConfigError(fmt::format("Cannot read the configuration: {}", error.what()));
  }
  return parse_config(text, path);
}

Config reloaded(const Config& now, Config next, std::vector<std::string>& need_restart) {
  for (const Option& option : option_table()) {
    if (option.live) continue;
    if (option.print(now) != option.print(next)) {
      need_restart.emplace_back(option.name);
      option.copy(now, next);
    }
  }
  return next;
}

std::string example_config() {
  std::string out =
      "# Configuration of sallyportd. Every option is shown with its default; remove the '#' in\n"
      "# front of an option to change it. 'sallyportd --check-config --config FILE' checks a "
      "file;\n"
      "# options marked (reload) take effect with 'systemctl reload sallyportd', the others with "
      "a\n"
      "# restart. Lengths of time are \"90s\", \"10min\", \"2h\", \"7d\"; sizes are bytes or \"64 "
      "MiB\".\n"
      "# Secrets are never written here: name a file, or a systemd credential.\n";
  const Config defaults;
  std::string_view section;
  for (const Option& option : option_table()) {
    const std::string_view its = section_of(option.name);
    if (its != section) {
      section = its;
      out += fmt::format("\n[{}]\n", section);
    }
    out += "\n";
    std::string help(option.help);
    std::string facts = option.type;
    if (!option.bounds.empty()) facts += ", " + option.bounds;
    if (option.live) facts += " (reload)";
    out += wrapped(help, "# ", 100) + wrapped(facts, "#   ", 100);
    const std::string_view leaf = its.empty() ? option.name : option.name.substr(its.size() + 1);
    const std::string value = option.print(defaults);
    out += value.empty() ? fmt::format("#[[{}]]\n", option.name)
                         : fmt::format("#{} = {}\n", leaf, value);
  }
  return out;
}

std::string manual_options() {
  std::string out;
  const Config defaults;
  std::string_view section;
  const auto escaped = [](std::string_view text) {
    std::string result;
    for (const char c : text) {
      if (c == '\\') {
        result += "\\e";
      } else if (c == '-') {
        result += "\\-";
      } else if ((c == '.' || c == '\'') && result.empty()) {
        result += "\\&";
        result += c;
      } else {
        result += c;
      }
    }
    return result;
  };
  for (const Option& option : option_table()) {
    const std::string_view its = section_of(option.name);
    if (its != section) {
      section = its;
      out += fmt::format(".SS [{}]\n", section);
    }
    const std::string value = option.print(defaults);
    out += fmt::format(".TP\n.B {}\n{}\n", escaped(option.name), escaped(option.help));
    out += fmt::format("{}{}{}", escaped(option.type), option.bounds.empty() ? "" : "; ",
                       escaped(option.bounds));
    if (!value.empty()) out += fmt::format("; default {}", escaped(value));
    if (option.live) out += "; takes effect on reload";
    if (option.per_object) out += "; also for an object of a partner";
    out += ".\n";
  }
  return out;
}

}  // namespace sallyport::daemon

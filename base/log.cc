#include "base/log.h"

#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <systemd/sd-journal.h>

#include <array>
#include <atomic>
#include <boost/log/attributes/value_extraction.hpp>
#include <boost/log/core.hpp>
#include <boost/log/sinks/basic_sink_backend.hpp>
#include <boost/log/sinks/sync_frontend.hpp>
#include <boost/log/sources/record_ostream.hpp>
#include <boost/log/sources/severity_logger.hpp>
#include <boost/log/utility/manipulators/add_value.hpp>
#include <boost/make_shared.hpp>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"

namespace sallyport::base {
namespace {

namespace logging = boost::log;
namespace sinks = boost::log::sinks;

std::atomic<Severity> threshold{Severity::info};
std::string identifier = "sallyport";

/// What a record carries besides its text. A view: it lives as long as the write_log() call, and
/// the sinks below are synchronous.
struct Details {
  Severity severity;
  std::string_view event;
  std::initializer_list<LogField> fields;
  std::string_view message;
};

std::string_view severity_name(Severity severity) {
  switch (severity) {
    case Severity::error:
      return "error";
    case Severity::warning:
      return "warning";
    case Severity::notice:
      return "notice";
    case Severity::info:
      return "info";
    case Severity::debug:
      return "debug";
  }
  return "info";
}

/// Control characters would let hostile text forge lines or drive a terminal.
void append_visible(std::string& line, std::string_view text) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F)
      line += fmt::format("\\x{:02x}", byte);
    else
      line += c;
  }
}

void append_json(std::string& line, std::string_view text) {
  line += '"';
  if (is_utf8(text)) {
    for (const char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      if (c == '"' || c == '\\')
        (line += '\\') += c;
      else if (byte < 0x20 || byte == 0x7F)
        line += fmt::format("\\u{:04x}", byte);
      else
        line += c;
    }
  } else {
    for (const char c : text) line += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
  }
  line += '"';
}

std::string timestamp() {
  const auto now = SystemClock{}.now_ms();
  std::string text = format_iso(std::chrono::floor<Seconds>(now));
  text.pop_back();
  return text + fmt::format(".{:03}Z", now.time_since_epoch().count() % 1000);
}

/// One write(2) a line, so that lines of several processes do not mix.
void write_line(std::string& line) {
  line += '\n';
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
}

void write_human(const Details& details) {
  static const bool colours = ::isatty(STDERR_FILENO) == 1;
  std::string line;
  if (colours) line += "\x1b[2m";
  line += timestamp();
  if (colours) line += "\x1b[0m";
  const std::string_view colour = details.severity == Severity::error     ? "\x1b[31m"
                                  : details.severity == Severity::warning ? "\x1b[33m"
                                                                          : "";
  line += ' ';
  if (colours) line += colour;
  line += severity_name(details.severity);
  if (colours && !colour.empty()) line += "\x1b[0m";
  line += ' ';
  line += details.event;
  line += ": ";
  append_visible(line, details.message);
  for (const LogField& field : details.fields) {
    line += ' ';
    line += field.name;
    line += '=';
    append_visible(line, field.value);
  }
  write_line(line);
}

void write_json(const Details& details) {
  std::string line = fmt::format("{{\"time\":\"{}\",\"severity\":\"{}\",\"program\":", timestamp(),
                                 severity_name(details.severity));
  append_json(line, identifier);
  line += ",\"event\":";
  append_json(line, details.event);
  line += ",\"message\":";
  append_json(line, details.message);
  for (const LogField& field : details.fields) {
    line += ',';
    append_json(line, field.name);
    line += ':';
    append_json(line, field.value);
  }
  line += '}';
  write_line(line);
}

/// The journal's native protocol: a field a value, of any bytes.
void write_journal(const Details& details) {
  std::vector<std::string> entries;
  entries.reserve(details.fields.size() + 4);
  entries.push_back(fmt::format("MESSAGE={}", details.message));
  entries.push_back(fmt::format("PRIORITY={}", static_cast<int>(details.severity)));
  entries.push_back(fmt::format("SYSLOG_IDENTIFIER={}", identifier));
  entries.push_back(fmt::format("SALLYPORT_EVENT={}", details.event));
  for (const LogField& field : details.fields) {
    std::string entry = "SALLYPORT_";
    for (const char c : field.name)
      entry += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    entries.push_back(entry + "=" + field.value);
  }
  std::vector<iovec> vectors;
  vectors.reserve(entries.size());
  for (std::string& entry : entries) vectors.push_back({entry.data(), entry.size()});
  ::sd_journal_sendv(vectors.data(), static_cast<int>(vectors.size()));
}

class Backend : public sinks::basic_sink_backend<sinks::synchronized_feeding> {
 public:
  explicit Backend(LogFormat format) : format_(format) {}

  void consume(const logging::record_view& record) {
    const auto details = logging::extract<const Details*>("Details", record);
    if (!details) return;
    switch (format_) {
      case LogFormat::journal:
        return write_journal(**details);
      case LogFormat::json:
        return write_json(**details);
      default:
        return write_human(**details);
    }
  }

 private:
  LogFormat format_;
};

/// systemd sets $JOURNAL_STREAM to the device and inode of the stream it connected to the journal.
bool stderr_is_journal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat status {};
  if (stream == nullptr || ::fstat(STDERR_FILENO, &status) != 0) return false;
  return fmt::format("{}:{}", status.st_dev, status.st_ino) == stream;
}

using Logger = logging::sources::severity_logger_mt<Severity>;

Logger& logger() {
  static Logger instance;
  return instance;
}

}  // namespace

void init_log(std::string_view program, LogFormat format, Severity least) {
  identifier = program;
  set_log_level(least);
  if (format == LogFormat::automatic)
    format = stderr_is_journal() ? LogFormat::journal : LogFormat::human;
  const auto core = logging::core::get();
  core->remove_all_sinks();
  core->add_sink(
      boost::make_shared<sinks::synchronous_sink<Backend>>(boost::make_shared<Backend>(format)));
  (void)logger();
}

void set_log_level(Severity least) noexcept {
  threshold.store(least, std::memory_order_relaxed);
}

bool log_enabled(Severity severity) noexcept {
  return severity <= threshold.load(std::memory_order_relaxed);
}

void write_log(Severity severity, std::string_view event, std::initializer_list<LogField> fields,
               std::string_view message) noexcept {
  try {
    const Details details{severity, event, fields, message};
    auto record = logger().open_record(logging::keywords::severity = severity);
    if (!record) return;
    logging::record_ostream stream(record);
    stream << logging::add_value("Details", &details);
    stream.flush();
    logger().push_record(std::move(record));
  } catch (...) {  // a log that cannot be written is dropped
  }
}

}  // namespace sallyport::base

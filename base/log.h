// Logging, by Boost.Log: human lines on a terminal, native journald fields under systemd, JSON
// lines on request. Events have stable names ("file.delivered") and fields; secrets never get here.
//
//   log_info("file.delivered", {{"partner", name}, {"bytes", size}}, "delivered {}", path);
//
// Thread-safe once init_log() has returned. Nothing here throws: a log that cannot be written is
// dropped. Never log between fork and exec, nor fork while another thread may log (only
// posix_spawn).
#pragma once

#include <fmt/format.h>

#include <concepts>
#include <initializer_list>
#include <string>
#include <string_view>

namespace sallyport::base {

/// As syslog(3) orders them.
enum class Severity { error = 3, warning = 4, notice = 5, info = 6, debug = 7 };

enum class LogFormat { automatic, human, journal, json };

struct LogField {
  std::string_view name;  ///< lower_snake_case; SALLYPORT_<NAME> in the journal
  std::string value;

  LogField(std::string_view field, std::string_view text) : name(field), value(text) {}
  LogField(std::string_view field, const std::string& text) : name(field), value(text) {}
  LogField(std::string_view field, const char* text) : name(field), value(text) {}
  LogField(std::string_view field, std::integral auto number)
      : name(field), value(std::to_string(number)) {}
};

/// Call once before any thread starts. `automatic`: journal when stderr is the journal's stream
/// ($JOURNAL_STREAM), else human. `program` is SYSLOG_IDENTIFIER.
void init_log(std::string_view program, LogFormat format, Severity least);
/// May be called at any time (reload).
void set_log_level(Severity least) noexcept;
[[nodiscard]] bool log_enabled(Severity severity) noexcept;

void write_log(Severity severity, std::string_view event, std::initializer_list<LogField> fields,
               std::string_view message) noexcept;

#define SALLYPORT_LOG_FUNCTION(name, severity)                                            \
  template <class... Args>                                                                \
  void name(std::string_view event, std::initializer_list<LogField> fields,               \
            fmt::format_string<Args...> text, Args&&... args) noexcept {                  \
    if (!log_enabled(severity)) return;                                                   \
    try {                                                                                 \
      write_log(severity, event, fields, fmt::format(text, std::forward<Args>(args)...)); \
    } catch (...) { /* out of memory: the record is dropped */                            \
    }                                                                                     \
  }
SALLYPORT_LOG_FUNCTION(log_error, Severity::error)
SALLYPORT_LOG_FUNCTION(log_warning, Severity::warning)
SALLYPORT_LOG_FUNCTION(log_notice, Severity::notice)
SALLYPORT_LOG_FUNCTION(log_info, Severity::info)
SALLYPORT_LOG_FUNCTION(log_debug, Severity::debug)
#undef SALLYPORT_LOG_FUNCTION

}  // namespace sallyport::base

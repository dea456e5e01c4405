#include "base/log.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "base/c_handle.h"

namespace sallyport::base {
namespace {

/// What `write` puts on standard error.
template <class Write>
std::string captured(Write write) {
  int ends[2];
  EXPECT_EQ(::pipe(ends), 0);
  UniqueFd reader(ends[0]);
  UniqueFd saved(::dup(STDERR_FILENO));
  ::dup2(ends[1], STDERR_FILENO);
  ::close(ends[1]);
  write();
  ::dup2(saved.get(), STDERR_FILENO);
  std::string text(4096, '\0');
  const ssize_t count = ::read(reader.get(), text.data(), text.size());
  text.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
  return text;
}

TEST(Log, WritesOneJsonObjectALine) {
  init_log("test", LogFormat::json, Severity::info);
  const std::string line = captured([] {
    log_info("file.delivered", {{"partner", "acme"}, {"bytes", 42}}, "delivered {}", "a\"b\nc");
  });
  EXPECT_NE(line.find("\"event\":\"file.delivered\""), std::string::npos) << line;
  EXPECT_NE(line.find("\"message\":\"delivered a\\\"b\\u000ac\""), std::string::npos) << line;
  EXPECT_NE(line.find("\"partner\":\"acme\",\"bytes\":\"42\""), std::string::npos) << line;
  EXPECT_EQ(line.find('\n'), line.size() - 1);
}

TEST(Log, KeepsHostileTextOnItsLine) {
  init_log("test", LogFormat::human, Severity::info);
  const std::string line = captured([] {
    log_warning("x.y", {{"name", "evil\n\x1b[31m"}}, "{}", "one\r\ntwo");
  });
  EXPECT_EQ(line.find('\n'), line.size() - 1) << line;
  EXPECT_NE(line.find("one\\x0d\\x0atwo"), std::string::npos) << line;
  EXPECT_EQ(line.find('\x1b'), std::string::npos) << line;
}

TEST(Log, DropsWhatIsBelowTheLevel) {
  init_log("test", LogFormat::human, Severity::warning);
  EXPECT_EQ(captured([] {
              log_info("x.y", {}, "quiet");
              log_error("x.z", {}, "loud");
            }).find("quiet"),
            std::string::npos);
}

}  // namespace
}  // namespace sallyport::base

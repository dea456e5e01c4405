#include "sftp/longname.h"

#include <fmt/format.h>

#include <array>
#include <ctime>

namespace sallyport::sftp {
namespace {

constexpr std::int64_t half_a_year = 365 * 24 * 3600 / 2;
constexpr std::array<std::string_view, 12> months{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                  "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

std::string mode_text(mode_t mode) {
  std::string text = S_ISDIR(mode) ? "drwxrwxrwx" : "-rwxrwxrwx";
  for (unsigned bit = 0; bit < 9; ++bit) {
    if ((mode & (0400U >> bit)) == 0) text[bit + 1] = '-';
  }
  return text;
}

}  // namespace

std::string long_name(std::string_view name, mode_t mode, std::uint64_t links,
                      std::string_view owner, std::uint64_t size, std::int64_t modified,
                      std::int64_t now) {
  const std::time_t seconds = modified;
  std::tm when{};
  // Not localtime_r: it would open the time zone's file from inside the sandbox.
  if (::gmtime_r(&seconds, &when) == nullptr) when.tm_mday = 1;
  const std::string_view month = months[static_cast<std::size_t>(when.tm_mon) % months.size()];
  const bool recent = modified <= now && now - modified < half_a_year;
  const std::string date =
      recent ? fmt::format("{} {:2} {:02}:{:02}", month, when.tm_mday, when.tm_hour, when.tm_min)
             : fmt::format("{} {:2}  {:4}", month, when.tm_mday, when.tm_year + 1900);
  return fmt::format("{} {:4} {:<8} {:<8} {:8} {} {}", mode_text(mode), links, owner, owner, size,
                     date, name);
}

}  // namespace sallyport::sftp

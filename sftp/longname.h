// The line of `ls -l` that SFTP version 3 sends along with each name. Pure; UTC.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace sallyport::sftp {

/// "-rw-r--r--    1 acme     acme         1234 Nov 22 14:30 a.pdf"; the year instead of the time
/// for what is older than half a year or in the future.
[[nodiscard]] std::string long_name(std::string_view name, mode_t mode, std::uint64_t links,
                                    std::string_view owner, std::uint64_t size,
                                    std::int64_t modified, std::int64_t now);

}  // namespace sallyport::sftp

#include "pgp/inspect.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <span>

#include "base/c_handle.h"
#include "base/error.h"
#include "base/file_io.h"
#include "pgp/content_scanner.h"

namespace sallyport::pgp {
namespace {

Inspection inspect_named(int fd, const std::string& what) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) throw base::SystemError(errno, "look at " + what);
  const auto size = static_cast<std::uint64_t>(status.st_size);

  ContentScanner scanner;
  std::vector<std::uint8_t> buffer(ContentScanner::head_size);
  std::uint64_t at = 0;
  while (at < size) {
    std::size_t filled = 0;
    while (filled < buffer.size()) {
      const ssize_t count = ::pread(fd, buffer.data() + filled, buffer.size() - filled,
                                    static_cast<off_t>(at + filled));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) throw base::SystemError(errno, "read " + what);
      if (count == 0) break;
      filled += static_cast<std::size_t>(count);
    }
    if (filled == 0) break;  // it has become shorter
    scanner.feed(std::span(buffer).first(filled));
    at += filled;
    const std::uint64_t skipped = std::min(scanner.skippable(), size - at);
    scanner.skip(skipped);
    at += skipped;
  }
  return scanner.finish();
}

}  // namespace

std::string_view name(Kind kind) noexcept {
  switch (kind) {
    case Kind::plain:
      return "plain";
    case Kind::encrypted:
      return "encrypted";
    case Kind::signed_message:
      return "signed";
    case Kind::clearsigned:
      return "clearsigned";
    case Kind::detached_signature:
      return "detached signature";
    case Kind::public_key:
      return "public key";
    case Kind::secret_key:
      return "secret key";
  }
  return "plain";
}

Inspection inspect(int fd) {
  return inspect_named(fd, "descriptor " + std::to_string(fd));
}

Inspection inspect(const std::filesystem::path& path) {
  const base::UniqueFd file = base::open_file(path, O_RDONLY);
  return inspect_named(file.get(), path.string());
}

}  // namespace sallyport::pgp

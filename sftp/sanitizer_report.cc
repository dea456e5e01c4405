#include "sftp/sanitizer_report.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)

#include <dlfcn.h>
#include <fcntl.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>

#include "base/error.h"

namespace sallyport::sftp {

void open_sanitizer_report() {
  const char* path = std::getenv("SALLYPORT_SESSION_REPORTS");
  if (path == nullptr) return;
  const int file = ::open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (file < 0) throw base::SystemError(errno, "open the file for a sanitizer's reports");
  // Each of the compiler's libraries has a report, and the function that places it, of its own.
  for (const char* library : {"libasan.so.8", "libubsan.so.1", "libtsan.so.2"}) {
    void* loaded = ::dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
    if (loaded == nullptr) continue;
    using Place = void (*)(void*);
    if (const auto place = reinterpret_cast<Place>(::dlsym(loaded, "__sanitizer_set_report_fd")))
      place(reinterpret_cast<void*>(static_cast<std::intptr_t>(file)));
  }
}

}  // namespace sallyport::sftp

#else

namespace sallyport::sftp {

void open_sanitizer_report() {}

}  // namespace sallyport::sftp

#endif

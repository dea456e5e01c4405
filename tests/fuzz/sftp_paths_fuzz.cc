// Any bytes as a path, relative to any other: what comes out must be absolute, without a way up,
// and must mean itself.
#include <cstdlib>
#include <string_view>

#include "sftp/areas.h"

using namespace sallyport::sftp;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const std::size_t cut = size == 0 ? 0 : data[0] % size;
  const auto base = VirtualPath::resolve("/", all.substr(0, cut));
  const auto path = VirtualPath::resolve(base ? base->text() : "/", all.substr(cut));
  if (!path) return 0;
  const std::string& text = path->text();
  if (text.empty() || text.front() != '/' || text.find('\0') != std::string::npos) std::abort();
  if (text.size() > 1 && text.back() == '/') std::abort();
  for (std::size_t i = 0; i < path->depth(); ++i) {
    const std::string_view part = path->part(i);
    if (part.empty() || part == "." || part == ".." || part.find('/') != std::string_view::npos)
      std::abort();
    if (part.size() > 255) std::abort();
  }
  if (!path->part(path->depth()).empty()) std::abort();
  const auto again = VirtualPath::resolve("/anywhere", text);
  if (!again || again->text() != text || again->depth() != path->depth()) std::abort();
  SessionPolicy policy;
  if (path->area() == Area::shared && allowed(Operation::look, *path, policy)) std::abort();
  if (path->area() == Area::archive && allowed(Operation::write, *path, policy)) std::abort();
  if (path->area() == Area::outgoing && allowed(Operation::rename, *path, policy)) std::abort();
  const std::string name(path->name());
  if (!matches("*", name) ||
      !matches(name.find_first_of("*?") == std::string::npos ? name : "*", name))
    std::abort();
  return 0;
}

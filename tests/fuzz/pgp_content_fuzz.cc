// Any bytes as a file that a partner sent: the report must not depend on how they come in pieces,
// whole or with what may be left out left out, and must agree with itself.
#include <algorithm>
#include <cstdlib>
#include <span>

#include "pgp/content_scanner.h"

using namespace sallyport::pgp;

namespace {

Inspection scan(std::span<const std::uint8_t> data, std::size_t step, bool skips) {
  ContentScanner scanner;
  std::size_t at = 0;
  while (at < data.size()) {
    const std::size_t wanted = at == 0 ? ContentScanner::head_size : step;
    const std::size_t count = std::min(wanted, data.size() - at);
    scanner.feed(data.subspan(at, count));
    at += count;
    if (!skips) continue;
    const std::uint64_t over = std::min<std::uint64_t>(scanner.skippable(), data.size() - at);
    scanner.skip(over);
    at += static_cast<std::size_t>(over);
  }
  return scanner.finish();
}

bool same(const Inspection& a, const Inspection& b) {
  return a.kind == b.kind && a.armoured == b.armoured && a.recipients == b.recipients &&
         a.has_password == b.has_password && a.has_integrity == b.has_integrity &&
         a.is_complete == b.is_complete && a.has_extra_data == b.has_extra_data &&
         a.is_malformed == b.is_malformed && a.is_supported == b.is_supported;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::uint8_t> all(data, size);
  const Inspection whole = scan(all, size + 1, false);
  if (!same(whole, scan(all, 1, false)) || !same(whole, scan(all, 4096, true))) std::abort();
  if (whole.kind == Kind::plain && !whole.recipients.empty()) std::abort();
  if (whole.kind != Kind::encrypted && whole.has_integrity) std::abort();
  for (const std::string& key_id : whole.recipients) {
    if (key_id.size() != 16) std::abort();
  }
  return 0;
}

// Any bytes as a session's list of intents, and as the name of one: what is read from it must be
// what a session could have written, and be written as the same again.
#include <cstdlib>
#include <string_view>

#include "sftp/intents.h"

using namespace sallyport::sftp;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const IntentsPart part = parse_intents(text);
  if (part.heading.size() > size || part.intents.size() > intents_of_a_part) std::abort();
  std::string written = part.heading + "\n";
  for (const Intent& intent : part.intents) {
    if (!is_id(intent.file_id) || !is_incoming_file(intent.path)) std::abort();
    written += intent_line(intent);
  }
  if (part.heading.find('\n') != std::string::npos) std::abort();
  if (parse_intents(written).intents != part.intents) std::abort();
  // Without its last byte the last line is none.
  written.pop_back();
  if (!part.intents.empty() && parse_intents(written).intents.size() != part.intents.size() - 1)
    std::abort();
  const auto name = parse_intents_name(text);
  if (name && (name->part == 0 || intents_name(name->session_id, name->part) != text)) std::abort();
  return 0;
}

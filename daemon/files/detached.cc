#include "daemon/files/detached.h"

#include "daemon/files/names.h"

namespace sallyport::daemon {
namespace {

using store::File;
using store::FileState;
using store::Unit;

constexpr std::string_view ending = ".sig";

std::string path_of(const base::UniqueFd& fd) {
  return "/proc/self/fd/" + std::to_string(fd.get());
}

}  // namespace

std::optional<std::string> name_of_signed(std::string_view signature_name) {
  if (!signature_name.ends_with(ending)) return std::nullopt;
  signature_name.remove_suffix(ending.size());
  if (!split_name(signature_name)) return std::nullopt;
  return std::string(signature_name);
}

std::optional<File> find_waiting(const FileContext& context, const File& beside,
                                 const std::string& name) {
  store::FileFilter filter;
  filter.partner = beside.partner;
  filter.object = beside.object;
  filter.direction = store::Direction::inbound;
  filter.state = FileState::received;
  filter.name = name;
  auto found =
      context.store.read([&](Unit& unit) { return store::list_files(unit, filter, nullptr, 2); });
  for (File& file : found) {
    // A filter takes an empty object for any.
    if (file.object == beside.object) return std::move(file);
  }
  return std::nullopt;
}

std::optional<DetachedVerdict> verify_by_waiting_signature(const FileContext& context,
                                                           const File& file,
                                                           const pgp::Acceptance& acceptance) {
  auto signature = find_waiting(context, file, file.name + std::string(ending));
  if (!signature) return std::nullopt;
  const Directory spool = context.spool(file.partner);
  const auto original = spool.open_file(file.spool_name);
  const auto signature_fd = spool.open_file(signature->spool_name);
  if (!original || !signature_fd) return std::nullopt;
  pgp::Acceptance detached = acceptance;
  detached.encryption = pgp::Encryption::optional;
  DetachedVerdict result;
  const Directory staging = context.inbound_staging();
  result.data = staging.make_file(file.id, 0600);
  staging.remove_file(file.id);
  copy_content(original->get(), result.data.get(), join(spool.path(), file.spool_name));
  result.verdict =
      context.pgp.verify_detached(path_of(result.data), path_of(*signature_fd), detached);
  result.signature = std::move(*signature);
  return result;
}

}  // namespace sallyport::daemon

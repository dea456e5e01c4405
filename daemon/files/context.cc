#include "daemon/files/context.h"

#include <chrono>

#include "base/error.h"
#include "daemon/config/options.h"
#include "daemon/files/names.h"

namespace sallyport::daemon {

std::optional<base::Instant> FileContext::pgp_now() const {
  using namespace std::chrono;
  const auto machine = floor<seconds>(system_clock::now());
  const auto ours = clock.now();
  const auto apart = ours > machine ? ours - machine : machine - ours;
  if (apart <= 2s) return std::nullopt;
  return ours;
}

store::Partner FileContext::partner(std::string_view name) const {
  auto found = store.read([&](store::Unit& unit) { return store::find_partner(unit, name); });
  if (found) return std::move(*found);
  store::Partner bare;
  bare.name = name;
  return bare;
}

PartnerPolicy FileContext::policy(const store::Partner& of, std::string_view object) const {
  return policy_for(*config.get(), of, object);
}

Directory FileContext::partner_directory(std::string_view name) const {
  const Directory root = Directory::open(config.get()->gateway.partners_root);
  auto found = is_component(name) ? root.find(name) : std::nullopt;
  if (!found) {
    throw base::Error("The directory of partner " + std::string(name) + " is missing below " +
                      root.path() + "; restore it from your backup of the machine");
  }
  return std::move(*found);
}

Directory FileContext::spool(std::string_view name) const {
  return partner_directory(name).make("spool", shared_directory_mode);
}

Directory FileContext::staging(std::string_view name) const {
  return partner_directory(name).make("staging", shared_directory_mode);
}

Directory FileContext::inbound_staging() const {
  // What is made here gets the applications' group by the set-group-id bit: the daemon's sandbox
  // does not let it give files away.
  return Directory::open(config.get()->files.inbound).make(".staging", 02700);
}

Directory FileContext::inbound(std::string_view partner, std::string_view object,
                               std::string_view sub_folders) const {
  return Directory::open(config.get()->files.inbound)
      .make(join(join(partner, object), sub_folders), shared_directory_mode);
}

Directory FileContext::tree(std::string_view partner, std::string_view virtual_directory) const {
  return partner_directory(partner).make("tree" + std::string(virtual_directory),
                                         shared_directory_mode);
}

}  // namespace sallyport::daemon

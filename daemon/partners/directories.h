// The directories of a partner: <partners_root>/<name>/{tree,staging,spool} and the folders of the
// tree (spec/gateway.md 2), shared by group with sallyport-sftp.
//
// Thread-safe. Failures: base::Error with what to do.
#pragma once

#include <string>
#include <string_view>

#include "base/c_handle.h"
#include "daemon/config/config.h"

namespace sallyport::daemon {

/// Makes what is missing and leaves what is there; existing folders of objects that the policy no
/// longer has stay too.
void make_partner_directories(const Config& config, std::string_view name,
                              const PartnerPolicy& policy);

/// O_PATH descriptor of <partners_root>/<name>: what a session gets.
[[nodiscard]] base::UniqueFd open_partner_directory(const Config& config, std::string_view name);

/// What lies in a partner's folders: for quotas. More than any quota allows if a folder cannot be
/// looked into, for a partner could make one so.
struct Usage {
  std::uint64_t bytes = 0;
  std::uint64_t files = 0;
};
[[nodiscard]] Usage measure_usage(const Config& config, std::string_view name);

}  // namespace sallyport::daemon
